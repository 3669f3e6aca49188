"""The same installation on SQLite with one worker, and on PostgreSQL with two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgres
from tests.acceptance.installation import Installation, installed


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        with installed(folder, "", workers=1) as made:
            yield made
        return
    with postgres.running() as server, installed(folder, server.new_database(), workers=2) as made:
        yield made
