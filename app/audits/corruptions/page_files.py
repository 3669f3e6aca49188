"""The corrupted images as a file."""

from __future__ import annotations

from app.audits.base import RunFile, RunReader
from app.audits.corruptions.schema import CorruptionsSummary, cell_key
from app.audits.drawn import drawn_file
from app.audits.stress_pages import measured


def files(reader: RunReader) -> list[RunFile]:
    """Return what became of each corrupted image."""
    summary = measured(reader, "corruptions", CorruptionsSummary)
    if summary is None:
        return []
    columns = [cell_key(row.kind, severity) for row in summary.kinds for severity in summary.severities]
    arrays = {
        "labels": "int32 [m]: true class",
        "outcome": f"int8 [m, 1 + cells]: 1 right, 0 wrong; column 0: clean; then {', '.join(columns)}",
        "margin": "float16 [m, 1 + cells]: log-odds of the label against the others",
        "taken": "int32 [m, 1 + cells]: predicted class",
    }
    return [drawn_file(reader, "corruptions", "summarise", "What corruptions did to each drawn image", arrays)]
