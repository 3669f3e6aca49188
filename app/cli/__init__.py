"""The command line: the same services as the pages, for scripts and continuous integration."""

from __future__ import annotations

import sys

import typer

from app.cli import audits, datasets, demo, doctor, exports, models, runs, server
from app.errors import FaultlineError

app = typer.Typer(
    name="faultline",
    help="Find, understand and mend the failures of a vision model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models.app, name="models", help="Upload, list and show models.")
app.add_typer(datasets.app, name="datasets", help="Upload, list and show data sets.")
app.add_typer(runs.app, name="runs", help="List, show, cancel and resume audits.")
app.command("audit")(audits.audit)
app.command("export")(exports.export)
app.command("serve")(server.serve)
app.command("worker")(server.worker)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line; an error that Faultline raises on purpose is a sentence, not a traceback."""
    try:
        app()
    except FaultlineError as error:
        print(f"faultline: {error.message}", file=sys.stderr)  # noqa: T201 - the terminal is the page here
        sys.exit(1)
