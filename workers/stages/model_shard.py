"""One shard of a kind's work on the network itself: images and labels go to the sandboxed child, arrays come back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits import kind as kind_named
from app.audits.base import ModelStageSpec
from app.audits.pixels import LIST
from app.services import keys
from app.settings import get_settings
from app.store.images import DatasetImages
from app.store.places import get_artifacts, get_blobs
from workers import warm
from workers.labels import labels_between
from workers.run_plan import RunPlan, load_run, model_stage
from workers.sandbox import SandboxCrashed, load_array
from workers.stages.predict import ask_child, halving
from workers.work import Work

RUN_SHARD = "app.loaders.models.model_shard:run_shard"
RUN_PIXELS = "app.loaders.models.pixel_shard:run_shard"


def run(work: Work) -> dict[str, Any]:
    """Write the shard's artifact, unless it is there."""
    start, stop, store = work.args["start"], work.args["stop"], get_artifacts()
    key = keys.shard_key(work.line, work.args["base"], start, stop)
    if not store.has(key):
        plan = load_run(work.job.id)
        kind, stage = model_stage(work.line)
        _compute(work, plan, (key, start, stop), stage, plan.kind_params(kind_named(kind)))
    work.count(stop - start)
    return {}


def _compute(
    work: Work, plan: RunPlan, shard: tuple[str, int, int], stage: ModelStageSpec, params: dict[str, Any]
) -> None:
    key, start, stop = shard
    files = [get_blobs().local(row.sha256) for row in plan.rows.checkpoints]
    child = warm.model_child(plan.model_hash, files, work.device)
    folder = Path(tempfile.mkdtemp(dir=child.folder))
    try:
        payload = {
            **common_payload(work, plan, folder, range(start, stop), labels_between(plan, start, stop)),
            **_networks(stage, files, plan, start),
            **_fitted(stage, work.args["base"], folder),
            "function": stage.function,
            "params": {name: params[name] for name in stage.params},
        }
        function = RUN_PIXELS if stage.reads == "pixels" else RUN_SHARD
        seconds = get_settings().retrain_seconds if stage.slow else None
        answer = halving(
            lambda size: ask_child(work, child, function, {**payload, "batch_size": size}, seconds=seconds), work.log
        )
        _publish(key, folder / "out", stop - start, answer)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def common_payload(
    work: Work, plan: RunPlan, folder: Path, rows: Sequence[int], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """What every request about some rows of the data set says; images and labels are laid into `folder`."""
    images, ranges = DatasetImages(plan.folder, get_blobs()).pack(rows, folder)
    np.save(folder / "labels.npy", labels)
    return {
        "spec": plan.rows.version.spec,
        "images": [str(images)],
        "ranges": str(ranges),
        "labels": str(folder / "labels.npy"),
        "seed": plan.rows.run.seed,
        "output": str(folder / "out"),
        "device": work.device,
        "max_pixels": get_settings().max_pixels,
    }


def _fitted(stage: ModelStageSpec, base: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What was fitted before, where the child may read it."""
    if stage.fit is None:
        return {}
    shutil.copytree(get_artifacts().local(keys.fit_key(base)), folder / "fitted")
    return {"fitted": str(folder / "fitted")}


def _networks(stage: ModelStageSpec, files: list[Path], plan: RunPlan, start: int) -> dict[str, Any]:
    """Every checkpoint to look into, or the last one to predict with and where the shard's rows stand."""
    if stage.reads == "graphs":
        return {"files": [str(file) for file in files]}
    return {"file": str(files[-1]), "start": start, "split": plan.range("audited")}


def _publish(key: str, output: Path, rows: int, answer: dict[str, Any]) -> None:
    arrays = answer.get("arrays")
    if not isinstance(arrays, dict) or not arrays:
        raise SandboxCrashed("The sandboxed process described its arrays wrongly.")
    with get_artifacts().write(key) as folder:
        for name, (shape, dtype) in arrays.items():
            load_array(output, f"{name}.npy", (shape[0] if name.startswith(LIST) else rows, *shape[1:]), dtype)
            shutil.copyfile(output / f"{name}.npy", folder / f"{name}.npy")
