"""`faultline doctor --workers`, as a container's health check asks it."""

from __future__ import annotations

import socket
from pathlib import Path

from typer.testing import CliRunner

from app.cli import commands
from app.store.repositories import workers
from app.store.session import transaction


def status(*options: str) -> int:
    return CliRunner().invoke(commands, ["doctor", "--workers", *options]).exit_code


def announce(host: str) -> None:
    values = {"role": "cpu", "host": host, "process_id": 1, "device": "cpu", "version": "0"}
    with transaction() as session:
        workers.announce(session, f"{host}-cpu0", values)


def test_any_machine_s_worker_counts_unless_this_one_s_is_asked_for(installation: Path) -> None:
    assert status() == status("--here") == 1
    announce("elsewhere")
    assert status() == 0
    assert status("--here") == 1
    announce(socket.gethostname())
    assert status("--here") == 0
