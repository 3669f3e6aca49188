"""Stage `memorise`: how much each training image's own prediction needs it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Result
from app.audits.datamodels.schema import Memory
from app.audits.datamodels.subsets import roles
from app.audits.retraining import Retrained, read_retrained
from app.numerics.attribution.subset_influence import memorisation

STRONG = 1.0
"""Log-odds; an image is memorised when it loses more, beyond two standard errors."""
_ENTRIES = 2**22


def memorise(inputs: Inputs) -> Result:
    """Measure memorisation (Feldman, Zhang 2020), in log-odds, over one network of each subset.

    Table `train`: a row for each training image: `memorisation`, its standard `error`, the mean margin `with` and
    `without` the image, null where all networks saw it, or none; and how many networks saw it (`inside`) and
    did not (`outside`).
    """
    found = read_retrained(inputs, "plan", "retrain")
    if found is None or inputs.train is None:
        return Result(summary={})
    alone = np.flatnonzero(roles(found.models).repeat == 0)
    columns = _columns(inputs, found, alone)
    values = columns["memorisation"]
    there = np.isfinite(values)
    strong = int((values[there] - 2 * columns["error"][there] > STRONG).sum())
    mean = float(values[there].mean()) if there.any() else 0.0
    table = {name: pa.array(array, from_pandas=True) for name, array in columns.items()}
    manifest = inputs.train.manifest
    return Result(
        summary={"memory": Memory(rows=int(there.sum()), mean=mean, strong=strong).model_dump(mode="json")},
        tables={"train": pa.table({"row": manifest["row"], "label": manifest["label"], **table})},
    )


_NAMES = ("memorisation", "error", "with", "without", "inside", "outside")


def _columns(inputs: Inputs, found: Retrained, alone: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    rows, parts = found.own.shape[1], []
    size = max(1, _ENTRIES // max(len(alone), 1))
    for start in range(0, rows, size):
        inputs.progress(start / rows, "Comparing networks with and without each image")
        some = slice(start, start + size)
        masks, own = found.masks[alone, some], np.array(found.own[alone, some])
        parts.append(memorisation(torch.from_numpy(masks), torch.from_numpy(own)))
    joined = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
    return {
        name: column.astype(np.float32 if column.dtype.kind == "f" else np.int32)
        for name, column in zip(_NAMES, joined, strict=True)
    }
