"""A home of its own for each test: database, stores, caches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import audits
from tests.workers.home import fresh_home
from tests.workers.trivial import AUDIT


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty, migrated installation on SQLite."""
    with fresh_home(tmp_path, monkeypatch) as folder:
        yield folder


@pytest.fixture
def trivial(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register the trivial audit kind; return its name."""
    monkeypatch.setitem(audits.kinds(), AUDIT.name, AUDIT)
    return AUDIT.name
