"""Joins what retrained networks gave into arrays over networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from app.audits.base import Result
from app.audits.retraining import MEASURED
from app.services import keys
from app.store.artifacts import artifact_key
from app.store.durable import reserve
from app.store.places import get_artifacts
from workers.retraining import folder_of, models_key, planned_models, ranges
from workers.run_plan import load_run
from workers.stages import results
from workers.work import Work

ARRAYS = {"margins": np.float32, "right": np.bool_, "own": np.float32}


def run(work: Work) -> dict[str, Any]:
    """Write `models`, `margins`, `right`, `own` and what was measured, see `app.audits.retraining`; return the key."""
    plan, store = load_run(work.job.id), get_artifacts()
    rows = plan.range("train")
    assert rows is not None
    planned = planned_models(plan, work.args["plan"], work.args["line"])
    there = [some for some in ranges(plan, len(planned)) if some not in work.args["aside"]]
    parts = [models_key(plan, planned, work.device, *some) for some in there]
    key = artifact_key("join-retrained", keys.ASSEMBLE_VERSION, models=there, parts=parts, plan=work.args["plan"])
    if not store.has(key):
        models = np.concatenate([np.arange(*some) for some in there] or [np.zeros(0, np.int64)])
        widths = {"margins": len(planned.targets), "right": len(planned.targets), "own": rows[1] - rows[0]}
        with store.write(key) as folder:
            results.save(Result(summary={}, details={"models": models}), folder)
            folders = [folder_of(plan, planned, work.device, some) for some in there]
            for name, dtype in ARRAYS.items():
                paths = [part / f"{name}.npy" for part in folders]
                _join(folder / f"{name}.npy", paths, (len(models), widths[name]), dtype)
            for path in sorted(folders[0].glob(f"{MEASURED}*.npy")) if folders else []:
                np.save(folder / path.name, np.concatenate([np.load(part / path.name) for part in folders]))
    work.end(key)
    return {"key": key}


def _join(target: Path, parts: list[Path], shape: tuple[int, int], dtype: type[np.generic]) -> None:
    if not parts:
        np.save(target, np.zeros(shape, dtype))
        return
    joined, done = np.lib.format.open_memmap(target, mode="w+", dtype=dtype, shape=shape), 0
    reserve(target)
    for path in parts:
        part = np.load(path, mmap_mode="r")
        joined[done : done + len(part)] = part
        done += len(part)
    joined.flush()
