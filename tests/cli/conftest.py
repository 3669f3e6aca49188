"""The finished run of the result pages, asked for on the command line by its owner."""

from __future__ import annotations

import pytest

from tests.web.conftest import Results, finished, results

__all__ = ["Results", "finished", "results"]


@pytest.fixture(autouse=True)
def operator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Act as the finished run's owner, where there is one."""
    if "results" in request.fixturenames:
        monkeypatch.setenv("FAULTLINE_USER", "ada@example.org")
