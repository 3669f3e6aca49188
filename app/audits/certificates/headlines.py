"""What proofs come to, for the report card and the table of classes and slices. Imports no torch."""

from __future__ import annotations

from app.audits.base import RunReader
from app.audits.certificates.schema import (
    BROKEN,
    PROVEN,
    PROVEN_SCORE,
    UNBROKEN_SCORE,
    CertificatesSummary,
)
from app.audits.certificates.words import doubt, verdict
from app.audits.drawn import group_column
from app.audits.pieces import GroupColumn, Headline
from app.audits.stress_pages import measured, not_drawn, summary_of, unmeasured

TITLE = "Proofs"
STAGE = "summarise"


def headlines(reader: RunReader) -> list[Headline]:
    """The share that is proven at the largest ε, and what no attack broke."""
    summary = summary_of(reader, "certificates", CertificatesSummary)
    if summary is None or summary.unavailable:
        return unmeasured(TITLE, summary)
    last, others = summary.levels[-1], "; ".join(verdict(level) for level in summary.levels[:-1])
    text = f"proven to stay right at every change of up to L∞ ε = {last.text}; robust accuracy lies {verdict(last)}"
    return [
        Headline(
            title=TITLE,
            text=f"{text}; {others}" if others else text,
            estimate=last.bracket.proven,
            leaves_out="; ".join([*not_drawn(summary), summary.leaves_out]),
            doubt=doubt(summary),
        )
    ]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Both ends of the bracket of classes and slices, at the largest ε at which anything was proven."""
    summary = measured(reader, "certificates", CertificatesSummary)
    if summary is None:
        return []
    state = reader.array("certificates", STAGE, "state")[:, summary.shown]
    text = f"L∞ ε = {summary.levels[summary.shown].text}"
    return [
        group_column(
            reader, "certificates", STAGE, state == PROVEN, key="proven", title=f"Proven, {text}", score=PROVEN_SCORE
        ),
        group_column(
            reader, "certificates", STAGE, state != BROKEN, key="unbroken", title=f"Not broken, {text}",
            score=UNBROKEN_SCORE,
        ),
    ]  # fmt: skip
