"""`faultline models …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.cli.actor import JsonOption, ProjectOption, actor, prepare
from app.cli.find import find_dataset, find_version
from app.cli.waiting import wait
from app.errors import UserError
from app.loaders.models.recipe import Recipe, read_recipe
from app.services import register_model as service
from app.services.local_files import keep_file, note_files
from app.services.register_model import Claim, ModelRequest, proposal_of, register_model, stored
from app.store.models import ModelVersion
from app.store.repositories import registry
from app.store.session import transaction

app = typer.Typer(no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Name or id (id:7); name@2 is its version 2.")]

NORMALISE: dict[str, dict[str, tuple[float, ...]]] = {
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "cifar10": {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)},
    "half": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    "none": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
}


@app.command("add")
def add(
    files: Annotated[list[Path], typer.Argument(help="Checkpoints in order; the last one predicts.")],
    name: Annotated[str, typer.Option(help="Name of the model; an existing one gets a new version.")] = "",
    architecture: Annotated[
        str, typer.Option(help="timm:…, torchvision:…, cifar_resnet20, or a JSON file of layers.")
    ] = "",
    classes: Annotated[str, typer.Option(help="A text file with one class a line, or names with commas between.")] = "",
    size: Annotated[str, typer.Option(help="Input size: 224, or 224x160 (height x width).")] = "",
    normalise: Annotated[str, typer.Option(help="imagenet, cifar10, half, none, or mean/std as JSON.")] = "",
    preprocessing: Annotated[
        str, typer.Option(help="JSON of any field: resize, resize_to, crop, interpolation, …")
    ] = "{}",
    outputs: Annotated[str, typer.Option(help="logits or probabilities.")] = "",
    accuracy: Annotated[float | None, typer.Option(help="Accuracy that you claim, in [0, 1], on --dataset.")] = None,
    dataset: Annotated[
        str, typer.Option(help="Data set (name or id) of the claim, and of the smoke run's images.")
    ] = "",
    split: Annotated[str, typer.Option(help="Split of the claim.")] = "",
    recipe: Annotated[
        Path | None, typer.Option(help="A JSON file that says how it was trained: epochs, learning_rate, …")
    ] = None,
    project: ProjectOption = "",
    waits: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the check to end.")] = True,
) -> None:
    """Add a model, or a version of it."""
    prepare()
    request: dict[str, Any] = {
        "architecture": _text_or_file(architecture),
        "preprocessing": _preprocessing(size, normalise, preprocessing),
        "classes": _classes(classes),
        "outputs": outputs,
    }
    kept = [keep_file(path) for path in files]
    with transaction() as session:
        who = actor(session, project)
        sample = find_dataset(session, who.project.id, dataset).id if dataset else None
        request["claim"] = Claim(accuracy=accuracy, dataset_id=sample, split=split, recipe=_recipe(recipe))
        known = registry.model_by_name(session, who.project.id, name)
        named = {"model_id": known.id} if known else {"name": name or files[0].stem}
        uploads = note_files(session, who.project.id, who.user, kept)
        version = register_model(
            session, who.project.id, who.user, ModelRequest.model_validate(request | named), stored(uploads)
        )
    typer.echo(f"Model {version.model_id}, version {version.number}")
    if waits:
        wait("model_version", version.id)
        show(f"id:{version.model_id}", version.number, project)


@app.command("list")
def list_(project: ProjectOption = "", as_json: JsonOption = False) -> None:
    """List the models, newest first."""
    prepare()
    with transaction() as session:
        found = registry.page(session, [actor(session, project).project.id], limit=1000)
    if as_json:
        rows = [{"id": m.id, "name": m.name, "newest": _plain(v) if v else None} for m, v in found]
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table("id", "name", "newest version", "format", "status", box=None)
    for model, version in found:
        cells = (str(version.number), version.format, version.status) if version else ("", "", "")
        table.add_row(str(model.id), model.name, *cells)
    Console().print(table)


@app.command("show")
def show(
    name: NameArgument,
    number: Annotated[int, typer.Argument(help="Version; 0: the newest.")] = 0,
    project: ProjectOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a version: how it is fed, and what its smoke run said."""
    prepare()
    with transaction() as session:
        wanted = f"{name}@{number}" if number else name
        version = find_version(session, actor(session, project).project.id, wanted)
        model = registry.get_model(session, version.model_id)
    assert model is not None
    if as_json:
        typer.echo(json.dumps(_plain(version), indent=1))
        return
    typer.echo(f"{model.name} version {version.number}: {version.format}, {version.status} {version.error}")
    for line in _tried(version):
        typer.echo(f"  {line}")
    for warning in [*version.inspection.get("warnings", []), *version.smoke.get("warnings", [])]:
        typer.echo(f"  {warning}")


@app.command("cancel")
def cancel(name: NameArgument, project: ProjectOption = "") -> None:
    """Cancel the check of a version; its files are kept, and `retry` checks them again."""
    prepare()
    with transaction() as session:
        who = actor(session, project)
        version = find_version(session, who.project.id, name)
        service.cancel(session, version, who.user)
    typer.echo(f"The check of model {version.model_id}, version {version.number} is cancelled.")


@app.command("retry")
def retry(
    name: NameArgument,
    project: ProjectOption = "",
    waits: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the check to end.")] = True,
) -> None:
    """Check the files of a failed or cancelled version once more, without sending them again."""
    prepare()
    with transaction() as session:
        who = actor(session, project)
        made = service.check_again(session, find_version(session, who.project.id, name), who.user)
    typer.echo(f"Model {made.model_id}, version {made.number}")
    if waits:
        wait("model_version", made.id)
        show(f"id:{made.model_id}", made.number, project)


def _tried(version: ModelVersion) -> list[str]:
    """What the smoke run saw, in sentences."""
    smoke, lines = version.smoke, []
    if "input_shape" in smoke:
        speed = f", {smoke['milliseconds']:.1f} ms an image" if "milliseconds" in smoke else ""
        lines.append(f"input {_shape(smoke['input_shape'])}, output {_shape(smoke['output_shape'])}{speed}")
    if seen := smoke.get("accuracy"):
        low, high = seen["interval"]
        claimed = f"; claimed {smoke['claimed']:.1%}" if smoke.get("claimed") is not None else ""
        lines.append(f"accuracy {seen['accuracy']:.1%} ({low:.1%}–{high:.1%}, n {seen['n']}){claimed}")
    if changes := proposal_of(version):
        told = ", ".join(f"{name} = {value}" for name, value in changes.items())
        lines.append(f"proposed instead: {told}; the version's page accepts it")
    return lines


def _shape(sides: list[int]) -> str:
    return " × ".join(str(side) for side in sides)


def _plain(version: ModelVersion) -> dict[str, object]:
    names = ("id", "model_id", "number", "status", "format", "spec", "inspection", "smoke", "model_hash", "error")
    return {name: getattr(version, name) for name in names}


def _text_or_file(text: str) -> str:
    return Path(text).read_text() if text.endswith(".json") and Path(text).is_file() else text


def _recipe(path: Path | None) -> Recipe | None:
    return read_recipe(path.read_text()) if path else None


def _classes(text: str) -> list[str]:
    if text and Path(text).is_file():
        return [line.strip() for line in Path(text).read_text().splitlines() if line.strip()]
    return [name.strip() for name in text.split(",") if name.strip()]


def _preprocessing(size: str, normalise: str, more: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    try:
        if size:
            sides = [int(side) for side in size.lower().split("x")]
            fields["size"] = (sides[0], sides[-1])
        if normalise:
            fields |= NORMALISE[normalise] if normalise in NORMALISE else json.loads(normalise)
        more_fields: dict[str, Any] = json.loads(more)
        return fields | more_fields
    except (ValueError, TypeError) as error:
        raise UserError(
            f"--size takes 224 or 224x160, --normalise one of {', '.join(NORMALISE)} or JSON, "
            f"--preprocessing JSON ({error})."
        ) from error
