"""A run's labels in the model's numbering."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.loaders.datasets.report import compare_classes
from workers.run_plan import RunPlan


def labels_between(plan: RunPlan, start: int, stop: int) -> NDArray[np.int64]:
    """Labels of the rows [start, stop) of the data set in the model's numbering, −1 where there is none."""
    table = pq.read_table(
        plan.folder / "manifest.parquet",
        columns=["row", "label"],
        filters=[("row", ">=", start), ("row", "<", stop)],
        memory_map=True,
    )
    return to_model_labels(plan, table["label"]).astype(np.int64)


def to_model_labels(plan: RunPlan, column: pa.ChunkedArray) -> NDArray[np.int32]:
    """A column of the data set's labels in the model's numbering, −1 where there is none."""
    mapping = compare_classes(plan.rows.dataset.classes, plan.classes).mapping
    # The last entry serves the label −1 of unlabelled rows.
    to_model = np.array([*mapping, -1], np.int32)
    labels: NDArray[np.int32] = to_model[pc.fill_null(column, -1).to_numpy()]
    return labels
