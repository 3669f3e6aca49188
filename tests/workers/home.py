"""Points this process at an installation of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.services import queue
from app.settings import get_settings
from app.store.places import get_artifacts, get_blobs
from app.store.session import get_engine
from workers.stages import answer

CACHED = (get_settings, get_artifacts, get_blobs, get_engine, queue.client, answer._inputs)


@contextmanager
def fresh_home(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Iterator[Path]:
    """Yield `folder` as the home of an empty, migrated installation."""
    monkeypatch.setenv("FAULTLINE_HOME", str(folder))
    monkeypatch.setenv("FAULTLINE_DEVICE", "cpu")
    for name, value in settings.items():
        monkeypatch.setenv(f"FAULTLINE_{name.upper()}", value)
    _forget()
    try:
        queue.prepare()
        yield folder
    finally:
        get_engine().dispose()
        _forget()


def _forget() -> None:
    for function in CACHED:
        function.cache_clear()
