"""Stage `memorise`: how much each training image's own prediction needs it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Result
from app.audits.datamodels.schema import Memory
from app.audits.retraining import Retrained, read_retrained
from app.numerics.attribution.subset_influence import memorisation

BLOCK = 4096


def memorise(inputs: Inputs) -> Result:
    """Measure memorisation (Feldman, Zhang 2020), in log-odds.

    Table `train`: a row for each training image: `memorisation`, its standard `error`, and the mean margin `with` and
    `without` the image; null where all networks saw it, or none.
    """
    found = read_retrained(inputs, "plan", "retrain")
    if found is None or inputs.train is None:
        return Result(summary={})
    columns = {name: np.full(found.own.shape[1], np.nan, np.float32) for name in _NAMES}
    for start in range(0, found.own.shape[1], BLOCK):
        inputs.progress(start / found.own.shape[1], "Comparing networks with and without each image")
        some = slice(start, start + BLOCK)
        for name, values in _block(found, some).items():
            columns[name][some] = values
    manifest, values = inputs.train.manifest, columns["memorisation"]
    there = np.isfinite(values)
    strong = int((values[there] - 2 * columns["error"][there] > 1).sum())
    mean = float(values[there].mean()) if there.any() else 0.0
    table = {name: pa.array(array, from_pandas=True) for name, array in columns.items()}
    return Result(
        summary={"memory": Memory(rows=int(there.sum()), mean=mean, strong=strong).model_dump(mode="json")},
        tables={"train": pa.table({"row": manifest["row"], "label": manifest["label"], **table})},
    )


_NAMES = ("memorisation", "error", "with", "without")


def _block(found: Retrained, some: slice) -> dict[str, NDArray[np.float32]]:
    masks, own = torch.from_numpy(found.masks[:, some]), torch.from_numpy(np.array(found.own[:, some]))
    inside, outside = _moments(own.double(), masks), _moments(own.double(), ~masks)
    error = (inside[1] + outside[1]).sqrt()
    parts = (memorisation(masks, own), error, inside[0], outside[0])
    return {name: part.float().numpy() for name, part in zip(_NAMES, parts, strict=True)}


def _moments(values: torch.Tensor, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of the chosen entries of each column, and its variance; NaN below one and two of them."""
    count = chosen.sum(dim=0)
    mean = (values * chosen).sum(dim=0) / count
    spread = ((values - mean).square() * chosen).sum(dim=0) / torch.where(count > 1, count - 1, torch.nan)
    return mean, spread / count
