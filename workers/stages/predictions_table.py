"""Predictions-only models: the uploaded table is put in the data set's order, once, in a sandboxed child."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np

from app.services import keys
from app.store.artifacts import artifact_key
from app.store.places import get_artifacts, get_blobs
from workers import warm
from workers.run_plan import RunPlan
from workers.sandbox import load_array
from workers.work import Work

ALIGN = "app.loaders.models.predictions:align_predictions"


def write(work: Work, plan: RunPlan, key: str, start: int, stop: int) -> None:
    """Write the shard's artifact: logits.npy, NaN where the table has no row."""
    aligned = get_artifacts().local(_aligned(work, plan))
    logits = np.load(aligned / "logits.npy", mmap_mode="r")
    with get_artifacts().write(key) as folder:
        np.save(folder / "logits.npy", logits[start:stop])


def _aligned(work: Work, plan: RunPlan) -> str:
    parts = {"data": plan.data_hash, "model": plan.model_hash}
    key, store = artifact_key("predictions", keys.PREDICT_VERSION, **parts), get_artifacts()
    if store.has(key):
        return key
    file, manifest = get_blobs().local(plan.rows.checkpoints[-1].sha256), plan.folder / "manifest.parquet"
    child = warm.new_sandbox([file, manifest], "cpu")
    try:
        payload = {
            "file": str(file),
            "manifest": str(manifest),
            "output": str(child.folder / "out"),
            "classes": list(plan.spec.classes),
            "outputs": plan.spec.outputs if "outputs" in plan.rows.version.claim.get("given", []) else None,
        }
        answer = child.request(ALIGN, payload, should_stop=work.stopped)
        rows = plan.rows.dataset.rows
        load_array(child.folder / "out", "predictions.npy", (rows, len(plan.classes)), "float32")
        with store.write(key) as folder:
            shutil.copyfile(child.folder / "out" / "predictions.npy", folder / "logits.npy")
    finally:
        warm.drop(child)
    _tell(work, answer)
    return key


def _tell(work: Work, answer: dict[str, Any]) -> None:
    if answer.get("missing"):
        some = ", ".join(map(str, answer.get("missing_examples", [])))
        work.log(f"The table has no predictions for {answer['missing']:,} examples, such as {some}", "warning")
