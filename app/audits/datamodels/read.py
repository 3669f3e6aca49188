"""What panels read of a run's datamodels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from app.audits.base import RunReader
from app.audits.datamodels.kept import KeptDatamodel
from app.audits.datamodels.schema import DatamodelsSummary, Linear
from app.errors import NotFound

KIND = "datamodels"


def read_summary(reader: RunReader) -> DatamodelsSummary | None:
    """The run's summary; none where there are no datamodels."""
    raw = reader.summary(KIND)
    summary = DatamodelsSummary.model_validate(raw) if raw else None
    return None if summary is None or summary.unavailable or summary.best is None else summary


def read_model(method: Linear, summary: DatamodelsSummary, reader: RunReader) -> KeptDatamodel:
    """A datamodel that the stage `fit` kept."""
    return KeptDatamodel(method, summary.train_rows, lambda name: reader.array(KIND, "fit", name))


def read_train(reader: RunReader) -> tuple[np.ndarray, np.ndarray]:
    """Data set rows and labels of the training split."""
    table = reader.table(KIND, "fit", "train")
    return table["row"].to_numpy(), table["label"].to_numpy()


def read_table(reader: RunReader, stage: str, name: str) -> pa.Table | None:
    """A table of a stage; none where it wrote none."""
    try:
        return reader.table(KIND, stage, name)
    except NotFound:
        return None
