"""`faultline demo`: a real audit of the shipped classifier on the shipped scenes, then stress tests, served."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from app.cli.demo_runs import Demo, audit, stress
from app.cli.processes import supervised
from app.cli.server import run_server
from app.errors import FaultlineError, UserError
from app.services import accounts, queue
from app.services.reports.share import share
from app.services.reports.snapshot import make_report
from app.settings import get_settings
from app.store.models import AuditRun, Project, User
from app.store.repositories import accounts as people
from app.store.repositories import projects, reports
from app.store.session import transaction
from app.web.reader import LiveReader

EMAIL, PASSWORD = "demo@localhost", "faultline-demo"
"""Known to everybody: the demo listens on this machine only."""
PROJECT = "Scenes (demo)"
SHARE_DAYS = 365
STOP_SECONDS = 5


def demo(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 0,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the dashboard afterwards.")] = True,
    encoder: Annotated[
        str, typer.Option(help="Another encoder, such as open_clip:ViT-B-32/laion2b_s34b_b79k.")
    ] = "scenes",
    stress_tests: Annotated[
        bool, typer.Option("--stress/--no-stress", help="Then run the stress tests, while the report can be read.")
    ] = True,
) -> None:
    """Audit the demo's classifier and serve the dashboard with the finished report open to browse."""
    os.environ.setdefault("FAULTLINE_HOME", str(Path.cwd() / ".faultline"))
    get_settings.cache_clear()
    at = port or get_settings().port
    if serve:
        _require_free(at)
    queue.prepare()
    stopped = threading.Event()

    def between() -> None:
        if stopped.is_set():
            raise _Stopped

    with transaction() as session:
        made = Demo(*_owner(session), encoder, between)
    with supervised():
        if not serve:
            audit(made)
            if stress_tests:
                stress(made)
            return
        telling = threading.Thread(target=_run_and_tell, args=(made, at, stress_tests), daemon=True)
        telling.start()
        try:
            run_server("127.0.0.1", at)
        finally:
            stopped.set()
            telling.join(STOP_SECONDS)


class _Stopped(Exception):
    """The server has ended, so that nobody waits for the runs; the next start goes on with them."""


def _run_and_tell(demo: Demo, port: int, stress_tests: bool) -> None:
    """Both runs, each with its link as soon as it is done; the dashboard stays open where one fails."""
    root = f"http://127.0.0.1:{port}"
    try:
        _audit_and_tell(demo, root)
        if stress_tests:
            _stress_and_tell(demo, root)
    except _Stopped:
        return
    except FaultlineError as error:
        typer.echo(f"\n{error}", err=True)


def _audit_and_tell(demo: Demo, root: str) -> None:
    started = time.monotonic()
    run = audit(demo)
    with transaction() as session:
        made = reports.reports_of(session, run.id)
        here = session.get_one(AuditRun, run.id)
        report = made[0] if made else make_report(session, here, demo.user, LiveReader(session, here))
        _, token = share(session, report, demo.user, SHARE_DAYS)
    typer.echo(f"\nReady after {time.monotonic() - started:.0f} s.")
    typer.echo(f"  The report, without an account:  {root}/shared/{token}")
    typer.echo(f"  The run in the dashboard:        {root}/runs/{run.id}")
    typer.echo(f"  Sign in as {EMAIL} with the password {PASSWORD}. Stop with Ctrl-C.\n")


def _stress_and_tell(demo: Demo, root: str) -> None:
    started = time.monotonic()
    run = stress(demo)
    typer.echo(f"\nStress tests after {time.monotonic() - started:.0f} s.")
    typer.echo(f"  How easily it breaks:            {root}/runs/{run.id}/robustness")


def _owner(session: Session) -> tuple[User, Project]:
    user = people.by_email(session, EMAIL)
    if user is None:
        if not accounts.is_empty(session):
            raise UserError("This home is set up already. Give the demo a home of its own with FAULTLINE_HOME.")
        user = accounts.create_owner(session, email=EMAIL, name="Demo", password=PASSWORD, project=PROJECT)
    project = next(p.project for p in projects.of_user(session, user.id) if p.project.name == PROJECT)
    return user, project


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UserError(f"Port {port} is taken, perhaps by another Faultline. Choose another with --port.")
