"""The command line of workers: `python -m workers.main` supervises, `--role` runs one worker."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from app.settings import get_settings
from workers.logs import keep_log
from workers.sandbox.libc import PR_SET_PDEATHSIG, prctl
from workers.supervisor import Supervisor

ROLES = ("all", "control", "cpu", "gpu", "recover")


def main(arguments: list[str] | None = None) -> int:
    """Run a supervisor (no role), or one worker of a role, until told to stop."""
    options = parser().parse_args(arguments)
    keep_log(get_settings().home / "logs", f"{options.role or 'supervisor'}{options.index}")
    if options.parent and not _bind_to(options.parent):
        return 1
    if options.role is None:
        return Supervisor(get_settings()).run()
    from workers.worker import run_worker  # noqa: PLC0415 - the supervisor starts its workers before such imports

    return run_worker(options.role, options.index, options.executor)


def _bind_to(parent: int) -> bool:
    """Die with the parent; False when it is dead already."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def parser() -> argparse.ArgumentParser:
    """The command line of a worker process."""
    arguments = argparse.ArgumentParser(prog="python -m workers.main", description=__doc__)
    arguments.add_argument("--role", choices=ROLES, help="none: supervise all of this machine")
    arguments.add_argument("--index", type=int, default=0, help="number of this worker among those of its role")
    arguments.add_argument("--executor", default="", help="executor id, when it is not this machine's own")
    arguments.add_argument("--parent", type=int, default=0, help="process id of a supervisor to die with")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
