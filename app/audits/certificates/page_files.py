"""What is proven and broken of each image as a file. Imports no torch."""

from __future__ import annotations

from app.audits.base import RunFile, RunReader
from app.audits.certificates.schema import BOUNDS, RADIUS, STEPS, CertificatesSummary
from app.audits.drawn import drawn_file
from app.audits.stress_pages import measured


def files(reader: RunReader) -> list[RunFile]:
    """Return what is known of each drawn image at each ε."""
    summary = measured(reader, "certificates", CertificatesSummary)
    if summary is None:
        return []
    levels = f"L∞ ε = {', '.join(level.text for level in summary.levels)}"
    steps = ", ".join(f"{place} {name}" for place, name in enumerate(STEPS[:RADIUS]))
    arrays = {
        "labels": "int32 [m]: true class",
        "right": "bool [m]: whether the unchanged image is right",
        "state": f"int8 [m, ε]: 1 proven, 0 broken or wrong, -1 neither; {levels}",
        "by": f"int8 [m, ε]: what decided it: {steps}; -1 nothing, -2 wrong when unchanged",
        "found": "int8 [m, ε]: the step that found a change which makes the network wrong, -1 none",
        "bounds": f"float32 [m, ε, 3]: least margin by {', '.join(BOUNDS)}; positive: proven; NaN: not asked",
        "complete": "int8 [m, ε]: complete verification: 1 safe, 2 unsafe, 0 out of time, 3 too large, 4 not replayed, "
        "-1 not asked",
        "margin": "float32 [m, 1 + ε]: the label's logit less the largest other, of the image and of what broke it",
        "taken": "int32 [m, 1 + ε]: predicted class there",
        "radius": "float32 [m]: an ε at which bounds prove the image, near the largest; NaN: not looked for",
    }
    title = "What is proven and what is broken of each drawn image"
    return [drawn_file(reader, "certificates", "summarise", title, arrays)]
