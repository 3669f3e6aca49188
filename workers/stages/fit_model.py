"""What a kind's work on the network fits before its shards: a sample of training images goes to the sandboxed child."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits import kind as kind_named
from app.audits.base import FitSpec
from app.loaders.models.reasons import save_reason
from app.services import keys
from app.store.places import get_artifacts, get_blobs
from workers import warm
from workers.labels import labels_between
from workers.run_plan import RunPlan, load_run, model_stage
from workers.sandbox import SandboxCrashed, load_array
from workers.stages.model_shard import RUN_SHARD, common_payload
from workers.stages.predict import ask_child, halving
from workers.work import Work

UNLABELLED = "No image of the training split has a label, so there is nothing to fit on."


def run(work: Work) -> dict[str, Any]:
    """Write the artifact of what the stage's `FitSpec` returned, unless it is there."""
    kind, stage = model_stage(work.args["name"])
    assert stage.fit is not None
    store, key, plan = get_artifacts(), keys.fit_key(work.args["base"]), load_run(work.job.id)
    cached = store.has(key)
    if not cached:
        rows, labels = sample(plan, stage.fit)
        work.begin(total=len(rows))
        params = plan.kind_params(kind_named(kind))
        _compute(work, plan, key, stage.fit, (rows, labels), {name: params[name] for name in stage.params})
    work.end(key, cached=cached)
    return {"key": key}


def sample(plan: RunPlan, fit: FitSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labelled rows of the training split, at most as many as wanted, in order, and their labels."""
    train = plan.range("train")
    assert train is not None
    labels = labels_between(plan, *train)
    known = np.flatnonzero(labels >= 0)
    generator = np.random.default_rng([plan.rows.run.seed, 0xF17])
    places = np.sort(generator.permutation(known)[: fit.rows])
    return train[0] + places, labels[places]


def _compute(
    work: Work,
    plan: RunPlan,
    key: str,
    fit: FitSpec,
    sampled: tuple[NDArray[np.int64], NDArray[np.int64]],
    params: dict[str, Any],
) -> None:
    rows, labels = sampled
    files = [get_blobs().local(row.sha256) for row in plan.rows.checkpoints]
    child = warm.model_child(plan.model_hash, files, work.device)
    folder = Path(tempfile.mkdtemp(dir=child.folder))
    try:
        if not len(rows):
            _publish(key, folder, {"arrays": save_reason(folder, UNLABELLED, 1)})
            return
        payload = {
            **common_payload(work, plan, folder, rows.tolist(), labels),
            "files": [str(file) for file in files],
            "function": fit.function,
            "params": params,
        }
        told = _told(work)
        answer = halving(
            lambda size: ask_child(work, child, RUN_SHARD, {**payload, "batch_size": size}, told), work.log
        )
        _publish(key, folder / "out", answer)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told(work: Work) -> Callable[[dict[str, Any]], None]:
    say, rounds, last = work.counted(), 1, 0

    def told(news: dict[str, Any]) -> None:
        nonlocal rounds, last
        done = int(news.get("done", 0))
        rounds, last = rounds + (done <= last), done
        say(done, None, f"round {rounds} over the images")

    return told


def _publish(key: str, output: Path, answer: dict[str, Any]) -> None:
    arrays = answer.get("arrays")
    if not isinstance(arrays, dict) or not arrays:
        raise SandboxCrashed("The sandboxed process described its arrays wrongly.")
    with get_artifacts().write(key) as folder:
        for name, (shape, dtype) in arrays.items():
            load_array(output, f"{name}.npy", tuple(shape), dtype)
            shutil.copyfile(output / f"{name}.npy", folder / f"{name}.npy")
