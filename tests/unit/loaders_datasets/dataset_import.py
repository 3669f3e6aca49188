"""What an import gave, in the form in which tests ask about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from app.loaders.datasets.request import IngestResult
from app.store.images import DatasetImages


@dataclass
class Imported:
    """A published data set."""

    result: IngestResult
    folder: Path
    images: DatasetImages
    progress: list[dict[str, Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return pq.read_table(self.folder / "manifest.parquet").to_pylist()

    @property
    def labels(self) -> dict[str, str | None]:
        """Class name by path."""
        classes = [*self.result.classes, None]
        return {row["path"]: classes[row["label"]] for row in self.rows}

    @property
    def splits(self) -> dict[str, str]:
        return {row["path"]: row["split"] for row in self.rows}

    @property
    def aside(self) -> dict[str, str]:
        """Reason by path of what was set aside."""
        return {entry.path: entry.reason for entry in self.result.integrity.set_aside}

    @property
    def items(self) -> dict[str, Any]:
        return {item.kind: item for item in self.result.integrity.items}

    @property
    def embeddings(self) -> np.ndarray:
        return np.load(self.folder / "embeddings.npy")


Import = Callable[..., Imported]
