"""Predictions-only models: a table of scores in place of a network; called in the sandboxed child."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from app.loaders.models.table import BadTable, Columns, read_columns, read_scores, require_finite
from app.store.durable import new_array

_SUM_TOLERANCE = 0.01


class PredictionsRequest(BaseModel):
    """What `align_predictions` needs; paths are absolute and readable in the sandbox."""

    model_config = ConfigDict(extra="forbid")

    file: Path = Field(description="The table, CSV or Parquet.")
    manifest: Path = Field(description="The data set's manifest.parquet, of which example_id and row are read.")
    output: Path = Field(description="Folder for predictions.npy; made if missing.")
    classes: tuple[str, ...] = Field((), description="Class names in the model's order; empty: the table's columns.")
    outputs: Literal["logits", "probabilities"] | None = Field(None, description="Empty: found from the numbers.")


def align_predictions(payload: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write predictions.npy, logits float32 [N, C] in the order of the manifest; rows without prediction hold NaN.

    `payload` is a `PredictionsRequest`. Progress: `done`, `total`.

    Returns `rows`, `classes`, `outputs`, `matched`, `missing` (count), `missing_examples`, `unknown` (ids of the
    table that the data set lacks), `unknown_examples`.

    Raises:
        UserError: not a table of predictions, an id twice, no id in common, NaN, or rows that are no probabilities.
    """
    request = PredictionsRequest.model_validate(payload)
    columns = read_columns(request.file, request.classes)
    rows = _rows_by_id(request.manifest)
    request.output.mkdir(parents=True, exist_ok=True)
    joined = _Joined(request.output / "predictions.npy", rows)
    for ids, scores in read_scores(request.file, columns):
        joined.add(ids, scores, len(request.classes))
        progress({"done": joined.matched, "total": len(rows)})
    outputs = joined.finish(request.outputs)
    return {"rows": len(rows), "classes": _classes(columns, joined), "outputs": outputs, **joined.report()}


def _classes(columns: Columns, joined: _Joined) -> list[str]:
    return list(columns.classes) or [str(index) for index in range(joined.width)]


def _rows_by_id(manifest: Path) -> dict[str, int]:
    table = pyarrow.parquet.read_table(manifest, columns=["example_id", "row"])
    return dict(zip(table["example_id"].to_pylist(), table["row"].to_pylist(), strict=True))


@dataclass
class _Joined:
    """Scores put in the manifest's order, and what did not fit."""

    path: Path
    rows: dict[str, int]
    matched: int = 0
    width: int = 0
    probabilities: bool = True
    unknown: list[str] = field(default_factory=list)
    array: NDArray[np.float32] | None = None
    seen: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.seen = np.zeros(len(self.rows), bool)

    def add(self, ids: list[str], scores: NDArray[np.float32], classes: int) -> None:
        """Take in one part of the table."""
        self._check(ids, scores, classes)
        places = np.array([self.rows.get(name, -1) for name in ids])
        known = places >= 0
        self.unknown += [name for name, place in zip(ids, places, strict=True) if place < 0]
        target = places[known]
        counts = np.bincount(target, minlength=len(self.rows)) if len(target) else np.zeros(len(self.rows), int)
        if (counts > 1).any() or self.seen[target].any():
            twice = int(np.flatnonzero((counts > 1) | (self.seen & (counts > 0)))[0])
            name = next(name for name, row in self.rows.items() if row == twice)
            raise BadTable(f"The example {name!r} occurs twice in the table: give each example one row.")
        self.seen[target] = True
        self.matched += len(target)
        assert self.array is not None
        self.array[target] = scores[known]

    def finish(self, declared: str | None) -> str:
        """Bring probabilities to logits; return which of the two the table held."""
        if self.array is None or self.matched == 0:
            ours, theirs = next(iter(self.rows), ""), self.unknown[0] if self.unknown else ""
            raise BadTable(
                f"No example of the data set is in the table: ids here look like {ours!r}, there {theirs!r}."
            )
        if declared == "probabilities" and not self.probabilities:
            raise BadTable(
                "The numbers are declared as probabilities, but their rows do not sum to one. Choose logits."
            )
        found = declared or ("probabilities" if self.probabilities else "logits")
        if found == "probabilities":
            np.log(np.maximum(self.array, np.finfo(np.float32).tiny), out=self.array, where=~np.isnan(self.array))
        return found

    def report(self) -> dict[str, Any]:
        """What did not fit, in numbers and a few names."""
        absent = np.flatnonzero(~self.seen)
        names = {row: name for name, row in self.rows.items()} if len(absent) else {}
        return {
            "matched": self.matched,
            "missing": len(absent),
            "missing_examples": [names[int(row)] for row in absent[:5]],
            "unknown": len(self.unknown),
            "unknown_examples": self.unknown[:5],
        }

    def _check(self, ids: list[str], scores: NDArray[np.float32], classes: int) -> None:
        if self.array is None:
            self.width = scores.shape[1]
            shape = (len(self.rows), self.width)
            self.array = new_array(self.path, shape)
            self.array[:] = np.nan
        if scores.shape[1] != self.width or classes not in (0, self.width):
            raise BadTable(f"The table has {scores.shape[1]} numbers a row where {classes or self.width} are due.")
        require_finite(ids, scores)
        sums = np.abs(scores.sum(1) - 1) < _SUM_TOLERANCE
        self.probabilities = self.probabilities and bool((scores >= 0).all() and sums.all())
