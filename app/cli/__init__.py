"""The command line: the same services as the pages, for scripts and continuous integration."""

from __future__ import annotations

import sys

import typer
from pydantic import ValidationError

from app.cli.audits import audit
from app.cli.datasets import app as datasets
from app.cli.demo import demo
from app.cli.doctor import doctor
from app.cli.exports import export
from app.cli.models import app as models
from app.cli.runs import app as runs
from app.cli.server import serve, worker
from app.cli.users import app as users
from app.errors import FaultlineError, FieldError

commands = typer.Typer(
    name="faultline",
    help="Find, understand and mend the failures of a vision model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.add_typer(models, name="models", help="Upload, list, show, cancel and retry models.")
commands.add_typer(datasets, name="datasets", help="Upload, list, show, cancel and retry data sets.")
commands.add_typer(runs, name="runs", help="List, show, cancel, resume and repeat audits.")
commands.add_typer(users, name="users", help="List accounts, set a forgotten password anew.")
commands.command("audit")(audit)
commands.command("export")(export)
commands.command("serve")(serve)
commands.command("worker")(worker)
commands.command("demo")(demo)
commands.command("doctor")(doctor)


def main() -> None:
    """Run the command line; what a person did wrong is answered with a sentence, not a traceback."""
    try:
        commands()
    except (FaultlineError, ValidationError, OSError) as error:
        print(f"faultline: {sentence(error)}", file=sys.stderr)  # noqa: T201 - the terminal is the page here
        sys.exit(1)


def sentence(error: FaultlineError | ValidationError | OSError) -> str:
    """Say what is wrong; a field inside of others, such as `slices.fdr`, is named."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}."
    named = isinstance(error, FieldError) and "." in error.field
    return f"{error.field}: {error.message}" if named else error.message  # type: ignore[attr-defined]
