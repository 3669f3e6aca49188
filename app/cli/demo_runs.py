"""The demo's two runs: the audit of the shipped classifier, then the same under stress; nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import typer

from app.audits import kinds
from app.cli.follow import follow
from app.resources import resource
from app.services.budgets import with_budget
from app.services.import_dataset import DatasetRequest, import_dataset
from app.services.local_files import keep_file, note_files
from app.services.register_model import ModelRequest, register_model, stored
from app.services.request_audit import RunRequest, request_audit
from app.store.models import AuditRun, Project, User
from app.store.repositories import datasets, jobs, registry, runs
from app.store.session import reading, transaction

MODEL, DATASET = "Scenes classifier", "Scenes"
STRESSED = "Scenes classifier under stress"
BUDGET = "quick"
CHOSEN: Mapping[str, Mapping[str, Any]] = {
    "attacks": {"radii": ["2/255"]},
    "certificates": {"radii": ["1/510", "1/255"]},
    "smoothing": {"sigmas": ["0.06"], "radii": ["0.03", "0.06", "0.12"]},
}
"""Changes so small that the demo's classifier, which was not trained to stand any, withstands some of them."""


class Demo(NamedTuple):
    """Whose the demo is, what it is made with, and what is asked before each look at a job; that may raise."""

    user: User
    project: Project
    encoder: str
    between: Callable[[], None]


def audit(demo: Demo) -> AuditRun:
    """Import, check and audit what has not been done before, and return the finished run."""
    return _finished(demo, _request_of(demo, _kinds(stress_tests=False)), "Auditing the classifier")


def stress(demo: Demo) -> AuditRun:
    """Audit it once more with every stress test, and return the finished run; what the first audit did is kept.

    The slices come along, so that each test is told for them too. The second set is the training split: its planted
    short cuts are what shifted.
    """
    request = _request_of(demo, [*_kinds(stress_tests=False), *_kinds(stress_tests=True)])
    request.name = STRESSED
    second = {
        name: {kind.second_set: f"{request.dataset_id}/train"} for name, kind in kinds().items() if kind.second_set
    }
    request.params = with_budget({**CHOSEN, **second}, request.kinds, BUDGET)
    return _finished(demo, request, f"Stress tests, {BUDGET} budget")


def _kinds(*, stress_tests: bool) -> list[str]:
    """The kinds that cost little, or the stress tests."""
    return sorted(name for name, kind in kinds().items() if (kind.stress_test if stress_tests else kind.by_default))


def _request_of(demo: Demo, chosen: Sequence[str]) -> RunRequest:
    dataset_id = _dataset(demo)
    return RunRequest(
        model_version_id=_version(demo, dataset_id),
        dataset_id=dataset_id,
        split="test",
        train_split="train",
        encoder=demo.encoder,
        kinds=list(chosen),
    )


def _finished(demo: Demo, request: RunRequest, what: str) -> AuditRun:
    """The newest finished run of those kinds; else the one that is under way, or a new one, once it has ended."""
    with transaction() as session:
        done = runs.finished_like(session, request.model_version_id, request.dataset_id, request.encoder, request.kinds)
        run = done or request_audit(session, demo.project.id, demo.user, request)
    if not done:
        typer.echo(f"→ {what}")
        follow("run", run.id, demo.between)
    return run


def _dataset(demo: Demo) -> int:
    with reading() as session:
        found = next(iter(datasets.named(session, demo.project.id, DATASET)), None)
    if found and found.status == "succeeded":
        return found.id
    if found and found.status in jobs.ACTIVE:
        typer.echo("→ Going on with the import of the scenes")
        follow("dataset", found.id, demo.between)
        return found.id
    typer.echo("→ Importing the scenes")
    kept = [keep_file(resource("demo") / "scenes.parquet")]
    with transaction() as session:
        files = note_files(session, demo.project.id, demo.user, kept)
        made = import_dataset(session, demo.project.id, demo.user, DatasetRequest(name=DATASET), files)
    follow("dataset", made.id, demo.between)
    return made.id


def _version(demo: Demo, dataset_id: int) -> int:
    with reading() as session:
        model = registry.model_by_name(session, demo.project.id, MODEL)
        known = [v for v in registry.versions(session, model.id) if v.status == "succeeded"] if model else []
    if known:
        return known[0].id
    typer.echo("→ Checking the classifier in the sandbox")
    folder = resource("demo") / "classifier"
    described = json.loads((folder / "model.json").read_text())
    kept = [keep_file(path) for path in sorted(folder.glob("checkpoint-*.safetensors"))]
    with transaction() as session:
        uploads = note_files(session, demo.project.id, demo.user, kept)
        version = register_model(
            session,
            demo.project.id,
            demo.user,
            _model_request(described, dataset_id, model.id if model else None),
            stored(uploads),
        )
    follow("model_version", version.id, demo.between)
    return version.id


def _model_request(described: dict[str, Any], dataset_id: int, model_id: int | None) -> ModelRequest:
    spec, claimed = described["spec"], described["claimed_accuracy"]
    trained = {"train_dataset_id": dataset_id, "train_split": described["training_split"]}
    claim = {"accuracy": claimed["value"], "dataset_id": dataset_id, "split": claimed["split"]} | trained
    claim["recipe"] = described.get("recipe")
    fields = {name: spec[name] for name in ("architecture", "preprocessing", "classes", "outputs")}
    named = {"model_id": model_id} if model_id else {"name": MODEL}
    return ModelRequest.model_validate(fields | named | {"claim": claim})
