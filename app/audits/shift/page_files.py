"""Both sets, image by image, as a file. Imports no torch."""

from __future__ import annotations

from functools import partial

import numpy as np

from app.audits.base import RunArrays, RunFile, RunReader
from app.audits.shift.schema import ShiftSummary
from app.audits.stress_pages import measured
from app.errors import NotFound

NAME, TITLE = "shift.npz", "Both sets, image by image"
TEXT = """What is known of the images of both sets.

second_rows         int64 [m]: rows of the second data set, from 0
second_labels       int32 [m]: true class in the model's numbering, -1 where there is none
second_predictions  int32 [m]: predicted class, -1 where there is none
second_confidence   float32 [m]: largest probability
first_scores        float32 [n]: how much an audited image looks like the second set (held-out log-odds)
second_scores       float32 [m]: the same of the second set; both only where there are embeddings
images_rows [n]: the audited images, rows of the data set from 0; images_ids.json: their ids
"""
_SECOND = ("rows", "labels", "predictions", "confidence")


def files(reader: RunReader) -> list[RunFile]:
    """Return what is known of each image of both sets."""
    if measured(reader, "shift", ShiftSummary) is None:
        return []
    return [RunFile(NAME, TITLE, partial(_read, reader))]


def _read(reader: RunReader) -> RunArrays:
    arrays = {f"second_{name}": reader.array("shift", "accuracy", name) for name in _SECOND}
    try:
        arrays |= {f"{name}_scores": reader.array("shift", "space", name) for name in ("first", "second")}
    except NotFound:
        return RunArrays(TEXT, arrays, {})
    count = len(arrays["first_scores"])
    return RunArrays(TEXT, arrays, {"images": reader.split_start + np.arange(count, dtype=np.int64)})
