"""This process's artifact store and blob store, at the configured place."""

from __future__ import annotations

from functools import lru_cache

from app.settings import get_settings
from app.store.artifacts import ArtifactStore
from app.store.blobs import BlobStore


@lru_cache
def get_artifacts() -> ArtifactStore:
    """Return the artifact store."""
    settings = get_settings()
    return ArtifactStore(f"{settings.resolved_store_url}/artifacts", settings.home / "cache" / "artifacts")


@lru_cache
def get_blobs() -> BlobStore:
    """Return the blob store."""
    settings = get_settings()
    return BlobStore(f"{settings.resolved_store_url}/blobs", settings.home / "cache" / "blobs")
