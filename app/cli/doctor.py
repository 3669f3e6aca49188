"""`faultline doctor`: what works on this machine, and what is contained."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.cli.processes import worker_command
from app.services import queue
from app.settings import Settings, get_settings
from app.store.repositories import workers as worker_rows
from app.store.session import answering, reading

LOW_DISK = 5 * 2**30


def doctor(
    workers: Annotated[
        bool, typer.Option("--workers", help="Only ask whether workers are alive; exit 1 if none.")
    ] = False,
    here: Annotated[bool, typer.Option("--here", help="With --workers: only those of this machine count.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what works on this machine: database, store, workers, devices, encoder, containment of uploads."""
    queue.prepare()
    if workers:
        raise typer.Exit(0 if _alive(socket.gethostname() if here else None) else 1)
    findings = _examine(get_settings())
    if as_json:
        typer.echo(json.dumps(findings, indent=1))
    else:
        _show(findings)
    raise typer.Exit(0 if findings["ok"] else 1)


def _examine(settings: Settings) -> dict[str, Any]:
    disk = shutil.disk_usage(settings.home)
    worker_command()
    machine = _machine()
    return {
        "ok": machine["containment"]["complete"] and disk.free > LOW_DISK,
        "home": str(settings.home),
        "database": answering(),
        "store": settings.resolved_store_url,
        "free_bytes": disk.free,
        "workers_alive": _alive(),
        **machine,
    }


def _machine() -> dict[str, Any]:
    """Ask a process of its own, which may import torch and try to break out of the sandbox."""
    command = [sys.executable, "-m", "workers.doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        typer.echo(done.stderr, err=True)
        raise typer.Exit(1)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _alive(host: str | None = None) -> list[str]:
    with reading() as session:
        return [w.executor_id for w in worker_rows.alive(session) if host in {None, w.host}]


def _show(findings: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    containment = findings["containment"]
    held = [name for name, yes in containment["held"].items() if not yes]
    lines = {
        "home": findings["home"],
        "database": findings["database"],
        "store": findings["store"],
        "free disk": f"{findings['free_bytes'] / 2**30:.0f} GiB"
        + ("  LOW" if findings["free_bytes"] < LOW_DISK else ""),
        "workers": ", ".join(findings["workers_alive"]) or "none is running",
        "cores": findings["cores"],
        "GPUs": ", ".join(findings["devices"]) or "none; audits run on the CPU",
        "libraries": ", ".join(f"{name} {version}" for name, version in findings["libraries"].items()),
        "containment": "every attempt to break out failed" if not held else "NOT contained: " + ", ".join(held),
        **{f"  {name}": measure for name, measure in containment["measures"].items()},
    }
    for name, value in lines.items():
        table.add_row(name, str(value))
    Console().print(table)
