"""One fixture: import sources and look at what came out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from dataset_import import Import, Imported

from app.loaders.datasets.ingest import ingest
from app.loaders.datasets.publish import publish
from app.loaders.datasets.request import IngestResult
from app.store.blobs import BlobStore
from app.store.images import DatasetImages


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
