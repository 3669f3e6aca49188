"""`faultline audit`."""

from __future__ import annotations

import json
from typing import Annotated, NamedTuple

import typer
from sqlalchemy.orm import Session

from app.cli.actor import ProjectOption, actor, prepare
from app.cli.find import find_dataset, find_version
from app.cli.runs import show
from app.cli.waiting import wait
from app.errors import UserError
from app.services.budgets import with_budget, with_settings
from app.services.request_audit import RunRequest, find_parts, notes, request_audit
from app.store.models import Dataset
from app.store.repositories import datasets
from app.store.session import transaction

TRAIN_NAMES = ("train", "training")
AUDIT_NAMES = ("test", "testing", "val", "valid", "validation", "dev", "all")


def audit(
    model: Annotated[str, typer.Argument(help="Model's name or id (id:7); name@2 is its version 2.")],
    dataset: Annotated[str, typer.Argument(help="Data set's name or id (id:7).")],
    kind: Annotated[list[str], typer.Option("--kind", help="Audit kind; may be repeated; none: the cheap ones.")] = [],  # noqa: B006 - typer reads it
    split: Annotated[str, typer.Option(help="Split to audit; empty: test, else validation.")] = "",
    train_split: Annotated[
        str, typer.Option(help="Training split in the same data set; empty: train, if there is one.")
    ] = "",
    encoder: Annotated[
        str, typer.Option(help="scenes, open_clip:<model>/<pretrained>, local-dir:<folder>, penultimate or given.")
    ] = "",
    params: Annotated[str, typer.Option(help='Parameters by kind, as JSON: {"slices": {"fdr": 0.1}}.')] = "{}",
    settings: Annotated[
        list[str], typer.Option("--set", help="One parameter, such as attacks.radii=2/255,8/255; may be repeated.")
    ] = [],  # noqa: B006 - typer reads it
    budget: Annotated[
        str, typer.Option(help="quick, standard or thorough, for every kind that has budgets; empty: their defaults.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    project: ProjectOption = "",
    waits: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the run to end, and show what it found.")
    ] = True,
) -> None:
    """Audit a model on a data set."""
    prepare()
    with transaction() as session:
        who = actor(session, project)
        version = find_version(session, who.project.id, model)
        data = find_dataset(session, who.project.id, dataset)
        splits = _splits(session, data, split, train_split)
        request = RunRequest(
            model_version_id=version.id,
            dataset_id=data.id,
            split=splits.audited,
            train_split=splits.train,
            kinds=kind,
            params=with_settings(with_budget(_params(params), kind, budget), settings),
            encoder=encoder,
            seed=seed,
        )
        run = request_audit(session, who.project.id, who.user, request)
        said = notes(session, find_parts(session, who.project.id, request), run.encoder, run.params)
    typer.echo(f"Run {run.id}: {run.name}")
    for note in said:
        typer.echo(f"  note: {note}")
    if waits:
        wait("run", run.id)
        show(run.id)


class Splits(NamedTuple):
    """Which split is audited, and which trained the model."""

    audited: str
    train: str


def _splits(session: Session, dataset: Dataset, audited: str, train: str) -> Splits:
    names = [split.name for split in datasets.splits(session, dataset.id)]
    train = train or next((name for name in names if name.lower() in TRAIN_NAMES), "")
    audited = audited or next((name for wanted in AUDIT_NAMES for name in names if name.lower() == wanted), "")
    if not audited:
        raise UserError(f"Say which split to audit with --split; “{dataset.name}” has {', '.join(names)}.")
    return Splits(audited, "" if train == audited else train)


def _params(text: str) -> dict[str, dict[str, object]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"--params is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise UserError('--params takes an object of kinds, such as {"slices": {"fdr": 0.1}}.')
    return found
