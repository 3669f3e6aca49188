"""One shard of predictions: the images go to the sandboxed child, logits and features come back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.services import keys
from app.settings import get_settings
from app.store.images import DatasetImages
from app.store.places import get_artifacts, get_blobs
from workers import warm
from workers.run_plan import RunPlan, load_run
from workers.sandbox import Sandbox, SandboxCrashed, SandboxMemory, load_array
from workers.work import Work

PREDICT = "app.loaders.models.predict:predict_shard"
_SAID = 5


def run(work: Work) -> dict[str, Any]:
    """Write the shard's artifact (logits.npy, features.npy), unless it is there."""
    start, stop, store = work.args["start"], work.args["stop"], get_artifacts()
    key = keys.shard_key("predict", work.args["base"], start, stop)
    if not store.has(key):
        plan = load_run(work.job.id).of_line(work.line)
        if plan.spec.format == "predictions":
            from workers.stages import predictions_table  # noqa: PLC0415 - for models that stay at home only

            predictions_table.write(work, plan, key, start, stop)
        else:
            _predict(work, plan, key, start, stop)
    work.count(stop - start)
    return {}


def _predict(work: Work, plan: RunPlan, key: str, start: int, stop: int) -> None:
    checkpoints = [get_blobs().local(row.sha256) for row in plan.rows.checkpoints]
    child = warm.model_child(plan.model_hash, checkpoints, work.device)
    folder = Path(tempfile.mkdtemp(dir=child.folder))
    try:
        images, ranges = DatasetImages(plan.folder, get_blobs()).pack_rows(start, stop, folder)
        payload = {
            "file": str(checkpoints[-1]),
            "spec": plan.rows.version.spec,
            "images": [str(images)],
            "ranges": str(ranges),
            "output": str(folder / "out"),
            "device": work.device,
            "max_pixels": get_settings().max_pixels,
        }
        answer = halving(lambda size: ask_child(work, child, PREDICT, {**payload, "batch_size": size}), work.log)
        _publish(key, folder / "out", stop - start, answer)
        for row in answer["unreadable"][:_SAID]:
            work.log(f"predict: row {start + row['row']:,} is not audited: {row['message']}", "warning")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ask_child(
    work: Work,
    child: Sandbox,
    function: str,
    payload: dict[str, Any],
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Call a function in the child that writes into the folder `payload["output"]`; a cancel ends the wait.

    `seconds` replaces the longest time that a request may take.
    """
    # The folder's owner is the child's user; what this process made there must be writable for it.
    Path(payload["output"]).parent.chmod(0o777)
    return child.request(function, payload, on_progress=on_progress, should_stop=work.stopped, timeout=seconds)


def halving(ask: Callable[[int], dict[str, Any]], say: Callable[[str], None]) -> dict[str, Any]:
    """Call `ask(batch_size)`, with half the batch each time that the child's memory does not suffice.

    Raises:
        SandboxMemory: not even a batch of one fits.
    """
    size = get_settings().batch_size
    while True:
        try:
            return ask(size)
        except SandboxMemory as error:
            if size == 1:
                raise
            size //= 2
            say(f"Out of memory; going on with batches of {size}. {error.message}")


def _publish(key: str, output: Path, rows: int, answer: dict[str, Any]) -> None:
    wanted = {"logits": answer["classes"]} | ({"features": answer["features"]} if answer["features"] else {})
    if not all(isinstance(width, int) for width in wanted.values()):
        raise SandboxCrashed("The sandboxed process described its arrays wrongly.")
    with get_artifacts().write(key) as folder:
        for name, width in wanted.items():
            load_array(output, f"{name}.npy", (rows, width), "float32")
            shutil.copyfile(output / f"{name}.npy", folder / f"{name}.npy")
