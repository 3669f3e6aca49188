"""What smoothing says of each image as a file. Imports no torch."""

from __future__ import annotations

from app.audits.base import RunFile, RunReader
from app.audits.drawn import drawn_file
from app.audits.smoothing.figures import KIND, STAGE
from app.audits.smoothing.schema import SmoothingSummary
from app.audits.stress_pages import measured


def files(reader: RunReader) -> list[RunFile]:
    """Return what each variant says of each drawn image."""
    summary = measured(reader, KIND, SmoothingSummary)
    if summary is None:
        return []
    variants = ", ".join(
        f"{place} σ = {one.sigma}{', a copy trained with noise' if one.copied else ''}"
        for place, one in enumerate(summary.variants)
    )
    arrays = {
        "labels": "int32 [m]: true class",
        "base": f"int32 [m, variants]: class without noise; variants: {variants}",
        "taken": "int32 [m, variants]: class of the smoothed network",
        "radius": f"float32 [m, variants]: certified L2 radius at confidence 1 - {summary.alpha}; NaN: it abstains",
        "decided": "int8 [m, variants, 1 + radii]: 1 certified, 0 refuted, -1 open, at radius 0 and "
        + ", ".join(summary.radii),
        "hits": "int32 [m, variants]: noisy copies that voted for that class",
        "used": "int32 [m, variants]: noisy copies that were drawn",
        "noisy": "float32 [m, variants]: share of the first copies taken for the label",
    }
    return [drawn_file(reader, KIND, STAGE, "What smoothing says of each drawn image", arrays)]
