"""`faultline demo`: a real audit of the shipped classifier on the shipped scenes, served with its report."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from sqlalchemy.orm import Session

from app.cli.follow import follow
from app.cli.processes import supervised
from app.cli.server import run_server
from app.errors import UserError
from app.resources import resource
from app.services import accounts, queue
from app.services.import_dataset import DatasetRequest, import_dataset
from app.services.local_files import keep_file, note_files
from app.services.register_model import ModelRequest, register_model, stored
from app.services.reports.share import share
from app.services.reports.snapshot import make_report
from app.services.request_audit import RunRequest, request_audit
from app.settings import get_settings
from app.store.models import AuditRun, Project, User
from app.store.repositories import accounts as people
from app.store.repositories import datasets, jobs, projects, registry, reports, runs
from app.store.session import reading, transaction
from app.web.reader import LiveReader

EMAIL, PASSWORD = "demo@localhost", "faultline-demo"
"""Known to everybody: the demo listens on this machine only."""
PROJECT, MODEL, DATASET = "Scenes (demo)", "Scenes classifier", "Scenes"
SHARE_DAYS = 365


class Owner(NamedTuple):
    """Who owns the demo, and where it lives."""

    user: User
    project: Project


def demo(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 0,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the dashboard afterwards.")] = True,
    encoder: Annotated[
        str, typer.Option(help="Another encoder, such as open_clip:ViT-B-32/laion2b_s34b_b79k.")
    ] = "scenes",
) -> None:
    """Audit the demo's classifier and serve the dashboard with the finished report open to browse."""
    os.environ.setdefault("FAULTLINE_HOME", str(Path.cwd() / ".faultline"))
    get_settings.cache_clear()
    at = port or get_settings().port
    if serve:
        _require_free(at)
    queue.prepare()
    with transaction() as session:
        owner = _owner(session)
    with supervised():
        if not serve:
            _audit(owner, encoder)
            return
        threading.Thread(target=_audit_and_tell, args=(owner, encoder, at), daemon=True).start()
        run_server("127.0.0.1", at)


def _audit_and_tell(owner: Owner, encoder: str, port: int) -> None:
    started = time.monotonic()
    run = _audit(owner, encoder)
    root = f"http://127.0.0.1:{port}"
    with transaction() as session:
        made = reports.reports_of(session, run.id)
        here = session.get_one(AuditRun, run.id)
        report = made[0] if made else make_report(session, here, owner.user, LiveReader(session, here))
        _, token = share(session, report, owner.user, SHARE_DAYS)
    typer.echo(f"\nReady after {time.monotonic() - started:.0f} s.")
    typer.echo(f"  The report, without an account:  {root}/shared/{token}")
    typer.echo(f"  The run in the dashboard:        {root}/runs/{run.id}")
    typer.echo(f"  Sign in as {EMAIL} with the password {PASSWORD}. Stop with Ctrl-C.")


def _audit(owner: Owner, encoder: str) -> AuditRun:
    """Import, check and audit what has not been done before, and return the finished run."""
    dataset_id = _dataset(owner)
    version_id = _version(owner, dataset_id)
    with transaction() as session:
        request = RunRequest(
            model_version_id=version_id, dataset_id=dataset_id, split="test", train_split="train", encoder=encoder
        )
        finished = runs.finished_like(session, version_id, dataset_id, encoder)
        run = finished or request_audit(session, owner.project.id, owner.user, request)
    if not finished:
        typer.echo("→ Auditing the classifier")
        follow("run", run.id)
    return run


def _owner(session: Session) -> Owner:
    user = people.by_email(session, EMAIL)
    if user is None:
        if not accounts.is_empty(session):
            raise UserError("This home is set up already. Give the demo a home of its own with FAULTLINE_HOME.")
        user = accounts.create_owner(session, email=EMAIL, name="Demo", password=PASSWORD, project=PROJECT)
    project = next(p.project for p in projects.of_user(session, user.id) if p.project.name == PROJECT)
    return Owner(user, project)


def _dataset(owner: Owner) -> int:
    with reading() as session:
        found = next(iter(datasets.named(session, owner.project.id, DATASET)), None)
    if found and found.status == "succeeded":
        return found.id
    if found and found.status in jobs.ACTIVE:
        typer.echo("→ Going on with the import of the scenes")
        follow("dataset", found.id)
        return found.id
    typer.echo("→ Importing the scenes")
    kept = [keep_file(resource("demo") / "scenes.parquet")]
    with transaction() as session:
        files = note_files(session, owner.project.id, owner.user, kept)
        made = import_dataset(session, owner.project.id, owner.user, DatasetRequest(name=DATASET), files)
    follow("dataset", made.id)
    return made.id


def _version(owner: Owner, dataset_id: int) -> int:
    with reading() as session:
        model = registry.model_by_name(session, owner.project.id, MODEL)
        known = [v for v in registry.versions(session, model.id) if v.status == "succeeded"] if model else []
    if known:
        return known[0].id
    typer.echo("→ Checking the classifier in the sandbox")
    folder = resource("demo") / "classifier"
    described = json.loads((folder / "model.json").read_text())
    kept = [keep_file(path) for path in sorted(folder.glob("checkpoint-*.safetensors"))]
    with transaction() as session:
        uploads = note_files(session, owner.project.id, owner.user, kept)
        version = register_model(
            session,
            owner.project.id,
            owner.user,
            _request(described, dataset_id, model.id if model else None),
            stored(uploads),
        )
    follow("model_version", version.id)
    return version.id


def _request(described: dict[str, Any], dataset_id: int, model_id: int | None) -> ModelRequest:
    spec, claimed = described["spec"], described["claimed_accuracy"]
    trained = {"train_dataset_id": dataset_id, "train_split": described["training_split"]}
    claim = {"accuracy": claimed["value"], "dataset_id": dataset_id, "split": claimed["split"]} | trained
    claim["recipe"] = described.get("recipe")
    fields = {name: spec[name] for name in ("architecture", "preprocessing", "classes", "outputs")}
    named = {"model_id": model_id} if model_id else {"name": MODEL}
    return ModelRequest.model_validate(fields | named | {"claim": claim})


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UserError(f"Port {port} is taken, perhaps by another Faultline. Choose another with --port.")
