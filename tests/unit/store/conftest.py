"""Stores on a local folder and on a remote file system."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from app.store.artifacts import ArtifactStore
from app.store.blobs import BlobStore


@pytest.fixture(params=["local", "remote"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A local folder, then a bucket of fsspec's in-memory file system."""
    if request.param == "local":
        yield str(tmp_path / "store with spaces é")
        return
    bucket = f"/{uuid.uuid4().hex}"
    yield f"memory:/{bucket}"
    filesystem = fsspec.filesystem("memory")
    if filesystem.exists(bucket):
        filesystem.rm(bucket, recursive=True)


@pytest.fixture
def artifacts(root: str, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(root, tmp_path / "cache")


@pytest.fixture
def blobs(root: str, tmp_path: Path) -> BlobStore:
    return BlobStore(root, tmp_path / "cache")
