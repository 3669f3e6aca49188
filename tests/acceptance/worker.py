"""A worker of the acceptance tests: the real engine and processes, with a predict stage that needs no network.

Started as `python -m tests.acceptance.worker` with the arguments of `workers.main`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from app import audits
from app.services import keys
from app.settings import get_settings
from app.store.places import get_artifacts
from tests.workers.trivial import AUDIT
from workers import execute, supervisor
from workers.main import main, parser
from workers.work import Work


def predict(work: Work) -> dict[str, Any]:
    """Sleep as long as knobs.json says, die where it says so, write logits, and note the write."""
    home, start, stop = get_settings().home, work.args["start"], work.args["stop"]
    knobs = json.loads((home / "knobs.json").read_text())
    key = keys.shard_key("predict", work.args["base"], start, stop)
    if not get_artifacts().has(key):
        deadline = time.monotonic() + knobs["seconds"]
        while time.monotonic() < deadline:
            time.sleep(0.02)
            work.check()
        if start in knobs["poison"]:
            note(home, f"died {work.job.id} {start}")
            os.kill(os.getpid(), signal.SIGKILL)
        with get_artifacts().write(key) as folder:
            logits = np.random.default_rng(start).normal(size=(stop - start, 3)).astype(np.float32)
            np.save(folder / "logits.npy", logits)
        note(home, f"wrote {work.job.id} {start}")
    work.count(stop - start)
    return {}


def note(home: Path, line: str) -> None:
    """Append a line; short appends are atomic."""
    with (home / "notes.txt").open("a") as notes:
        notes.write(f"{line}\n")


if __name__ == "__main__":
    audits.kinds()[AUDIT.name] = dataclasses.replace(AUDIT, needs_embeddings=False)
    execute.STAGES["predict"] = "tests.acceptance.worker:predict"
    if parser().parse_args().role:
        from workers import worker

        worker.warm_up = lambda: None
        worker.LOCK_SECONDS = 3.0
    if parser().parse_args().role is None:
        sys.exit(supervisor.Supervisor(get_settings(), module="tests.acceptance.worker").run())
    sys.exit(main())
