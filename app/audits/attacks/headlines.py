"""What attacks come to, for the report card and the table of classes and slices. Imports no torch."""

from __future__ import annotations

from app.audits.attacks.budgets import EFFORTS
from app.audits.attacks.schema import AttacksSummary
from app.audits.attacks.words import NORMS
from app.audits.base import RunReader
from app.audits.drawn import group_column
from app.audits.pieces import GroupColumn, Headline
from app.audits.stress_pages import measured, not_drawn, summary_of, unmeasured

TITLE = "Adversarial attacks"
SCORE = "attacks_withstood"


def headlines(reader: RunReader) -> list[Headline]:
    """The share that withstands all attacks at the largest ε."""
    summary = summary_of(reader, "attacks", AttacksSummary)
    if summary is None or summary.unavailable:
        return unmeasured(TITLE, summary)
    level = summary.levels[-1]
    return [
        Headline(
            title=TITLE,
            text=f"stay right under every attack that ran, {NORMS[summary.norm]} ε = {level.text}",
            estimate=level.robust,
            leaves_out=_left_out(summary),
            doubt=next((f"{sign.title}: {sign.text}" for sign in summary.signs if not sign.ok), ""),
        )
    ]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Classes and slices under attack at the largest ε."""
    summary = measured(reader, "attacks", AttacksSummary)
    if summary is None:
        return []
    title = f"Right under attack, {NORMS[summary.norm]} ε = {summary.levels[-1].text}"
    values = reader.array("attacks", "summarise", "outcome")[:, -1]
    return [group_column(reader, "attacks", "summarise", values, key="robust", title=title, score=SCORE)]


def _left_out(summary: AttacksSummary) -> str:
    every = "attacks with gradients" if summary.no_gradients else EFFORTS[summary.budget].leaves_out
    return "; ".join([*not_drawn(summary), every])
