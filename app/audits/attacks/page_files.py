"""The attacked images as a file. Imports no torch."""

from __future__ import annotations

from app.audits.attacks.schema import NAMES, SIGNS, AttacksSummary
from app.audits.attacks.words import NORMS
from app.audits.base import RunFile, RunReader
from app.audits.drawn import drawn_file
from app.audits.stress_pages import measured


def files(reader: RunReader) -> list[RunFile]:
    """Return what became of each attacked image."""
    summary = measured(reader, "attacks", AttacksSummary)
    if summary is None:
        return []
    levels = f"column 0: unchanged; then {NORMS[summary.norm]} ε = {', '.join(level.text for level in summary.levels)}"
    names = ", ".join(f"{place} {name}" for place, name in enumerate(NAMES))
    arrays = {
        "labels": "int32 [m]: true class",
        "outcome": f"int8 [m, 1 + ε]: 1 right, 0 wrong; {levels}",
        "margin": "float32 [m, 1 + ε]: the label's logit less the largest other, at the most harmful image found",
        "taken": "int32 [m, 1 + ε]: predicted class there",
        "by": f"int8 [m, ε]: what broke it: {names}; -1 nothing, -2 wrong when unchanged",
        "signs": f"int8 [m, {len(SIGNS)}]: {', '.join(SIGNS)}; 1 yes, 0 no, -1 not asked",
    }
    return [drawn_file(reader, "attacks", "summarise", "What attacks did to each attacked image", arrays)]
