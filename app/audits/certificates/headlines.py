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

TITLE = "Proofs"
STAGE = "summarise"


def headlines(reader: RunReader) -> list[Headline]:
    """The share that is proven at the largest ε, and what no attack broke."""
    raw = reader.summary("certificates")
    if not raw:
        return []
    summary = CertificatesSummary.model_validate(raw)
    if summary.unavailable:
        return [Headline(title=TITLE, text=summary.unavailable)]
    last, others = summary.levels[-1], "; ".join(verdict(level) for level in summary.levels[:-1])
    text = f"proven to stay right at every change of up to L∞ ε = {last.text}; robust accuracy lies {verdict(last)}"
    return [
        Headline(
            title=TITLE,
            text=f"{text}; {others}" if others else text,
            estimate=last.bracket.proven,
            leaves_out=_left_out(summary),
            doubt=doubt(summary),
        )
    ]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Both ends of the bracket of classes and slices, at the largest ε at which anything was proven."""
    raw = reader.summary("certificates")
    if not raw or raw.get("unavailable"):
        return []
    summary = CertificatesSummary.model_validate(raw)
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


def _left_out(summary: CertificatesSummary) -> str:
    drawn = summary.of_rows - summary.rows
    images = [f"{drawn:,} of {summary.of_rows:,} images"] if drawn else []
    return "; ".join([*images, summary.leaves_out])
