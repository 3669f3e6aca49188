"""`faultline export`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from app.cli.actor import actor, prepare
from app.errors import NotFound, UserError
from app.services.array_file import npz_pieces
from app.services.reports.schema import ReportContent
from app.services.reports.scores import published_scores
from app.services.reports.snapshot import CONTENT, make_report, read_report, report_folder
from app.store.models import AuditRun
from app.store.places import get_artifacts
from app.store.repositories import runs
from app.store.session import reading, transaction
from app.web.pages.results_files import files_of
from app.web.reader import LiveReader
from app.web.report_file import report_html


def export(
    run_id: int,
    to: Annotated[Path, typer.Option(help="Folder to write into; made if need be.")],
    title: Annotated[str, typer.Option(help="Title of the report.")] = "",
) -> None:
    """Write report.html, report.json with its JSON Schema, scores.parquet, and the kinds' files of a finished run."""
    if to.exists() and not to.is_dir():
        raise UserError(f"{to} is a file; name a folder with --to.")
    prepare()
    with transaction() as session:
        run = runs.get(session, run_id)
        if run is None:
            raise NotFound(f"There is no run {run_id}. `faultline runs list` lists them.")
        report = make_report(session, run, actor(session).user, LiveReader(session, run), title)
    folder, content = report_folder(report), read_report(report)
    to.mkdir(parents=True, exist_ok=True)
    (to / "report.html").write_bytes(report_html(content, report.content_hash, folder))
    shutil.copyfile(folder / CONTENT, to / "report.json")
    (to / "report.schema.json").write_text(json.dumps(ReportContent.model_json_schema(), indent=1))
    shutil.copyfile(published_scores(run, content), to / "scores.parquet")
    for name in ("report.html", "report.json", "report.schema.json", "scores.parquet", *_numbers(run, to)):
        typer.echo(f"{to / name}  {(to / name).stat().st_size:,} bytes")


def _numbers(run: AuditRun, to: Path) -> list[str]:
    """Write the files of the run's kinds; return their names."""
    with reading() as session:
        reader = LiveReader(session, run)
        manifest = get_artifacts().local(reader.dataset.artifact_key) / "manifest.parquet"
        found = files_of(reader)
        for one in found:
            with (to / one.name).open("wb") as target:
                target.writelines(npz_pieces(one.read(), manifest))
    return [one.name for one in found]
