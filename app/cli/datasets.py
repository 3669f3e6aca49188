"""`faultline datasets …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.cli.actor import JsonOption, ProjectOption, actor, prepare
from app.cli.find import find_dataset
from app.cli.waiting import wait
from app.errors import UserError
from app.loaders.datasets.request import Columns, Format, ImportOptions, Layout
from app.services import import_dataset as service
from app.services.import_dataset import DatasetRequest, import_dataset
from app.services.local_files import keep_file, note_files
from app.store.models import Dataset
from app.store.repositories import datasets
from app.store.session import transaction

app = typer.Typer(no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Name or id (id:7).")]


@app.command("add")
def add(
    files: Annotated[list[Path], typer.Argument(help="Archive, CSV, Parquet or WebDataset shards.")] = [],  # noqa: B006 - typer reads it
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "",
    url: Annotated[str, typer.Option(help="A folder or URL below the server's import roots.")] = "",
    form: Annotated[Format, typer.Option("--format", help="auto reads the structure from the bytes.")] = "auto",
    layout: Annotated[Layout, typer.Option(help="Of folders: class, or split/class.")] = "auto",
    path_column: Annotated[str, typer.Option(help="Column of image paths.")] = "",
    label_column: Annotated[str, typer.Option(help="Column of labels.")] = "",
    split_column: Annotated[str, typer.Option(help="Column of splits.")] = "",
    id_column: Annotated[str, typer.Option(help="Column of example ids.")] = "",
    embedding_column: Annotated[str, typer.Option(help="Column of embeddings.")] = "",
    images: Annotated[bool, typer.Option(help="--no-images imports a table's rows without their images.")] = True,
    split: Annotated[str, typer.Option(help="Split of rows for which the source names none.")] = "all",
    project: ProjectOption = "",
    waits: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the import to end.")] = True,
) -> None:
    """Add a data set."""
    if not files and not url:
        raise UserError("Name a file (zip, tar, CSV or Parquet), or a folder on the server with --url.")
    prepare()
    columns = Columns(
        path=path_column, label=label_column, split=split_column, id=id_column, embedding=embedding_column
    )
    options = ImportOptions(
        format=form, layout=layout, columns=columns, images="auto" if images else "none", split=split
    )
    request = DatasetRequest(name=name or (files[0].stem if files else Path(url).name), url=url, options=options)
    kept = [keep_file(path) for path in files]
    with transaction() as session:
        who = actor(session, project)
        uploads = note_files(session, who.project.id, who.user, kept)
        dataset = import_dataset(session, who.project.id, who.user, request, uploads)
    typer.echo(f"Data set {dataset.id}: {dataset.name}")
    if waits:
        wait("dataset", dataset.id)
        show(f"id:{dataset.id}", project)


@app.command("list")
def list_(project: ProjectOption = "", as_json: JsonOption = False) -> None:
    """List the data sets, newest first."""
    prepare()
    with transaction() as session:
        found = datasets.page(session, [actor(session, project).project.id], limit=1000)
    if as_json:
        typer.echo(json.dumps([_plain(dataset) for dataset in found], indent=1))
        return
    table = Table("id", "name", "rows", "classes", "status", box=None)
    for dataset in found:
        table.add_row(str(dataset.id), dataset.name, f"{dataset.rows:,}", str(len(dataset.classes)), dataset.status)
    Console().print(table)


@app.command("show")
def show(name: NameArgument, project: ProjectOption = "", as_json: JsonOption = False) -> None:
    """Show a data set's splits and its integrity report."""
    prepare()
    with transaction() as session:
        dataset = find_dataset(session, actor(session, project).project.id, name)
        splits = datasets.splits(session, dataset.id)
    if as_json:
        typer.echo(json.dumps(_plain(dataset) | {"integrity": dataset.integrity}, indent=1))
        return
    typer.echo(f"{dataset.name}: {dataset.rows:,} rows, {len(dataset.classes)} classes, {dataset.status}")
    for split in splits:
        typer.echo(f"  {split.name}: {split.stop - split.start:,} rows")
    for item in dataset.integrity.get("items", []):
        typer.echo(f"  {item.get('severity', '')}: {item.get('sentence', '')}")


@app.command("cancel")
def cancel(name: NameArgument, project: ProjectOption = "") -> None:
    """Cancel an import; its files are kept, and `retry` reads them again."""
    prepare()
    with transaction() as session:
        who = actor(session, project)
        dataset = find_dataset(session, who.project.id, name)
        service.cancel(session, dataset, who.user)
    typer.echo(f"The import of data set {dataset.id} is cancelled.")


@app.command("retry")
def retry(
    name: NameArgument,
    project: ProjectOption = "",
    waits: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the import to end.")] = True,
) -> None:
    """Read the source of a failed or cancelled import once more, without sending it again."""
    prepare()
    with transaction() as session:
        who = actor(session, project)
        copy = service.import_again(session, find_dataset(session, who.project.id, name), who.user)
    typer.echo(f"Data set {copy.id}: {copy.name}")
    if waits:
        wait("dataset", copy.id)
        show(f"id:{copy.id}", project)


def _plain(dataset: Dataset) -> dict[str, object]:
    names = ("id", "name", "status", "rows", "classes", "data_hash", "error")
    return {name: getattr(dataset, name) for name in names}
