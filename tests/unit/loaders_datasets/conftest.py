"""One fixture: import sources and look at what came out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from app.loaders.datasets.ingest import ingest
from app.loaders.datasets.publish import publish
from app.loaders.datasets.request import IngestResult
from app.store.blobs import BlobStore
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


@pytest.fixture
def run_import(tmp_path: Path) -> Import:
    """Return `run_import(*paths, within=[], limits={}, **options)`."""
    count = 0

    def run(*paths: Path, within: tuple[Path, ...] = (), limits: dict | None = None, **options: Any) -> Imported:
        nonlocal count
        count += 1
        output, news = tmp_path / f"out-{count}", []
        payload = {
            "sources": [{"path": str(path), "name": path.name} for path in paths],
            "output": str(output),
            "within": [str(path) for path in within],
            "limits": limits or {},
            "options": options,
        }
        result = IngestResult.model_validate(ingest(payload, news.append))
        blobs = BlobStore(str(tmp_path / "blobs"), tmp_path / "cache")
        publish(output, blobs)
        return Imported(result, output, DatasetImages(output, blobs), news)

    return run
