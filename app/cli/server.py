"""`faultline serve` and `faultline worker`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Annotated

import typer
import uvicorn

from app.cli.processes import supervised, worker_command
from app.services import queue
from app.settings import get_settings


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 0,
    workers: Annotated[bool, typer.Option(help="Start this machine's workers too.")] = True,
) -> None:
    """Serve the dashboard, with this machine's workers."""
    queue.prepare()
    with supervised() if workers else nullcontext():
        run_server(host, port)


def run_server(host: str = "", port: int = 0) -> None:
    """Serve until told to stop."""
    settings = get_settings()
    address, at = host or settings.host, port or settings.port
    typer.echo(f"Faultline is at http://{'127.0.0.1' if address == '0.0.0.0' else address}:{at}{settings.root_path}")  # noqa: S104
    uvicorn.run("app.main:serving", factory=True, host=address, port=at, log_level="warning", proxy_headers=True)


def worker(
    role: Annotated[
        str, typer.Option(help="control, cpu, gpu or all; empty: supervise all that this machine has.")
    ] = "",
    index: Annotated[int, typer.Option(help="Number of this worker among those of its role.")] = 0,
) -> None:
    """Run a worker on this machine, on the configured database and store."""
    command = worker_command()
    if role:
        command += ["--role", role, "--index", str(index)]
    os.execv(command[0], command)  # noqa: S606 - our own module, and the process becomes the worker
