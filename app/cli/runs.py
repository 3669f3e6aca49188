"""`faultline runs …`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from app.audits.pieces import Estimate
from app.cli.actor import JsonOption, ProjectOption, actor, prepare
from app.cli.waiting import wait
from app.errors import NotFound
from app.services import request_audit
from app.store.models import AuditRun
from app.store.repositories import reports, runs
from app.store.session import reading, transaction
from app.web.reader import LiveReader
from app.web.robustness import Scorecard, TestLine, scorecard

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(project: ProjectOption = "", as_json: JsonOption = False) -> None:
    """List the runs, newest first."""
    prepare()
    with transaction() as session:
        found = runs.page(session, [actor(session, project).project.id], limit=1000)
    if as_json:
        typer.echo(json.dumps([_plain(item.run) for item in found], indent=1))
        return
    table = Table("id", "model", "data set", "split", "kinds", "status", box=None)
    for item in found:
        model = f"{item.model.name} v{item.version.number}"
        kinds = ", ".join(item.run.kinds)
        table.add_row(str(item.run.id), model, item.dataset.name, item.run.split, kinds, item.run.status)
    Console().print(table)


@app.command("show")
def show(run_id: int, as_json: JsonOption = False) -> None:
    """Show a run: its state, the findings that hold, and what its stress tests come to."""
    with reading() as session:
        run = _run(run_id)
        findings = reports.live_findings(session, run_id)
        _, _, version, dataset, _ = reports.run_parts(session, run)
        stress = _stress(session, run)
    classes = version.spec.get("classes") or dataset.classes
    if as_json:
        rows = [
            {
                "id": f.id,
                "class": _class(classes, f.class_index)[:-2],
                "title": f.title,
                "evidence": f.evidence,
                "metrics": f.metrics,
            }
            for f in findings
        ]
        lines = [line.model_dump(exclude={"href"}) for line in stress.lines] if stress else []
        whole = _plain(run) | {"summary": run.summary, "findings": rows, "robustness": lines}
        typer.echo(json.dumps(whole, indent=1))
        return
    confirmed = [finding for finding in findings if finding.evidence == "confirmed"]
    typer.echo(f"Run {run.id}: {run.status} {run.error}".rstrip())
    if run.status == "succeeded":
        typer.echo(f"{len(confirmed)} confirmed, {len(findings) - len(confirmed)} without enough evidence")
    for finding in confirmed:
        rate = finding.metrics.get("errors", {})
        numbers = "{value:.0%} wrong ({low:.0%}–{high:.0%}, n {n})".format(**rate) if rate else ""
        typer.echo(f"  {finding.id:>5}  {_class(classes, finding.class_index)}{finding.title}  {numbers}")
    for line in stress.lines if stress else ():
        _print_line(line)


@app.command("cancel")
def cancel(run_id: int) -> None:
    """Cancel a run; what it has finished stays and is used when it is resumed."""
    _run(run_id)
    with transaction() as session:
        request_audit.cancel(session, session.get_one(AuditRun, run_id), actor(session).user)
    typer.echo(f"Run {run_id} is being cancelled.")


@app.command("resume")
def resume(
    run_id: int, waits: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the run to end.")] = True
) -> None:
    """Take up a run that failed or was cancelled; finished shards are not repeated."""
    _run(run_id)
    with transaction() as session:
        request_audit.resume(session, session.get_one(AuditRun, run_id), actor(session).user)
    if waits:
        wait("run", run_id)


@app.command("again")
def again(
    run_id: int,
    seed: Annotated[int | None, typer.Option(help="Another seed; none: the run's own.")] = None,
    new_seed: Annotated[bool, typer.Option("--new-seed", help="Draw another seed.")] = False,
    waits: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the run to end.")] = True,
) -> None:
    """Start the same audit once more; what is in the store is not computed again."""
    _run(run_id)
    chosen = request_audit.another_seed() if new_seed and seed is None else seed
    with transaction() as session:
        run = request_audit.run_again(session, session.get_one(AuditRun, run_id), actor(session).user, chosen)
    typer.echo(f"Run {run.id}: {run.name}, seed {run.seed}")
    if waits:
        wait("run", run.id)
        show(run.id)


def _run(run_id: int) -> AuditRun:
    prepare()
    with reading() as session:
        run = runs.get(session, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}. `faultline runs list` lists them.")
    return run


def _stress(session: Session, run: AuditRun) -> Scorecard | None:
    """What its stress tests come to."""
    if run.status != "succeeded" or not run.scores_key:
        return None
    return scorecard(LiveReader(session, run), run.kinds)


def _print_line(line: TestLine) -> None:
    figure = "not measured" if line.estimate is None else _figure(line.estimate)
    typer.echo(f"{line.title}: {figure} {line.text}")
    if line.doubt:
        typer.echo(f"  doubt: {line.doubt}")
    if line.leaves_out:
        typer.echo(f"  leaves out: {line.leaves_out}")


def _figure(found: Estimate) -> str:
    whisker = "" if found.low is None or found.high is None else f"{found.low:.1%}–{found.high:.1%}, "
    return f"{found.value:.1%} ({whisker}n {found.n:,})"


def _class(classes: Sequence[str], index: int | None) -> str:
    return f"{classes[index]}: " if index is not None and 0 <= index < len(classes) else ""


def _plain(run: AuditRun) -> dict[str, object]:
    names = ("id", "name", "status", "split", "kinds", "params", "encoder", "seed", "error", "provenance")
    return {name: getattr(run, name) for name in names}
