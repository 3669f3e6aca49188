"""What is certified of each image against patches as a file. Imports no torch."""

from __future__ import annotations

from app.audits.base import RunFile, RunReader
from app.audits.drawn import drawn_file
from app.audits.patches.schema import METHODS, PatchesSummary
from app.audits.patches.words import NAMES, size_text
from app.audits.stress_pages import measured


def files(reader: RunReader) -> list[RunFile]:
    """Return what each defence says of each drawn image."""
    summary = measured(reader, "patches", PatchesSummary)
    if summary is None:
        return []
    methods = ", ".join(f"{place} {NAMES[name]}" for place, name in enumerate(METHODS))
    sizes = ", ".join(size_text(size) for size in summary.sizes)
    arrays = {
        "labels": "int32 [m]: true class",
        "clean": "int32 [m]: class that the model predicts without a defence",
        "defended": f"int32 [m, {len(METHODS)}, sizes]: class that the defended model predicts; sizes: {sizes}",
        "certified": f"int8 [m, {len(METHODS)}, sizes]: 1 right whatever a patch shows, 0 not, -1 not run; {methods}",
        "vote": f"float32 [m, {len(METHODS)}]: share of the bands that vote for the label; NaN where none vote",
    }
    title = "What each defence certifies of each drawn image"
    return [drawn_file(reader, "patches", "summarise", title, arrays)]
