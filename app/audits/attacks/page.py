"""Panels of the kind `attacks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, Field

from app.audits.attacks.budgets import EFFORTS
from app.audits.attacks.page_groups import GroupLine, classes, part_panel, slices
from app.audits.attacks.page_image import image_panel, triples
from app.audits.attacks.schema import FAB, NAMES, SQUARE, AttacksSummary, Level, Sign
from app.audits.attacks.standing import Standing, standing
from app.audits.attacks.words import NORMS, sentences
from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import NO_SLICES
from app.audits.pieces import Estimate
from app.audits.stress_pages import panels_for, summary_of
from app.audits.triples import Triple

KIND = "attacks"
ORDER = 62
MOST, MOST_IN_REPORT = 12, 4
"""Images that broke worst, as many as are shown."""
_PARTS: Mapping[str, Callable[[Subject, AttacksSummary, RunReader], Panel | None]] = {
    "image": image_panel,
    "class": part_panel,
    "slice": part_panel,
}


class LevelRow(BaseModel):
    """All attacks at one ε."""

    text: str
    robust: Estimate
    broken: list[int] = Field(description="Images that each attack was the first to break, in the table's order.")


class RunAttacks(BaseModel):
    """How a run's model stands attacks."""

    unavailable: str
    sentences: list[str] = Field(description="How it was measured and what was left out.")
    norm: str
    clean: Estimate | None
    levels: list[LevelRow]
    attacks: list[str] = Field(description="Attacks that ran, in their order.")
    signs: list[Sign]
    doubts: int
    slices: list[GroupLine]
    no_slices: str
    classes: list[GroupLine]
    of_classes: int
    triples: list[Triple]
    standing: Standing | None = Field(description="Among published rows; none for a data set that has none.")


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    return panels_for(subject, summary_of(reader, KIND, AttacksSummary), reader, _run_panel, _PARTS)


def _run_panel(subject: Subject, summary: AttacksSummary, reader: RunReader) -> Panel:
    live = subject.type == "robustness" and not summary.unavailable
    found = slices(reader) if live else []
    attacks = _ran(summary)
    context = RunAttacks(
        unavailable=summary.unavailable,
        sentences=[] if summary.unavailable else sentences(summary),
        norm=NORMS[summary.norm],
        clean=summary.clean,
        levels=[_level(level, attacks) for level in summary.levels],
        attacks=list(attacks),
        signs=sorted(summary.signs, key=lambda sign: sign.ok),
        doubts=sum(not sign.ok for sign in summary.signs),
        slices=found,
        no_slices="" if found or not live else NO_SLICES,
        classes=classes(summary, reader),
        of_classes=summary.of_classes,
        triples=[] if summary.unavailable else triples(summary, reader, MOST if live else MOST_IN_REPORT),
        standing=None if summary.unavailable else standing(summary, reader.classes),
    )
    return Panel(KIND, "Adversarial attacks", "attacks/run.html", context, ORDER)


def _ran(summary: AttacksSummary) -> tuple[str, ...]:
    if summary.no_gradients:
        return NAMES[SQUARE:]
    return NAMES if EFFORTS[summary.budget].fab else tuple(name for i, name in enumerate(NAMES) if i != FAB)


def _level(level: Level, attacks: tuple[str, ...]) -> LevelRow:
    return LevelRow(text=level.text, robust=level.robust, broken=[level.broken_by.get(name, 0) for name in attacks])
