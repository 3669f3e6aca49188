"""This process's artifact store and blob store, at the configured place."""

from __future__ import annotations

from functools import lru_cache

from app.settings import get_settings
from app.store.artifacts import ArtifactStore
from app.store.blobs import BlobStore
from app.store.cache import Cache


@lru_cache
def get_artifacts() -> ArtifactStore:
    """Return the artifact store."""
    settings = get_settings()
    place = f"{settings.resolved_store_url}/artifacts"
    return ArtifactStore(place, settings.home / "cache" / "artifacts", get_cache())


@lru_cache
def get_blobs() -> BlobStore:
    """Return the blob store."""
    settings = get_settings()
    return BlobStore(f"{settings.resolved_store_url}/blobs", settings.home / "cache" / "blobs", get_cache())


def get_cache() -> Cache:
    """Return the cache that both keep, where the store is remote."""
    settings = get_settings()
    return Cache(settings.home / "cache", settings.cache_bytes)
