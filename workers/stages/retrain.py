"""Some networks trained anew: pixels are decoded once in the child's folder, rows go in, margins come out."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.retraining import MEASURED, RetrainPlan
from app.settings import get_settings
from app.store.images import DatasetImages
from app.store.places import get_artifacts, get_blobs
from workers import warm
from workers.labels import labels_between
from workers.retraining import models_key, planned_models
from workers.run_plan import RunPlan, load_run
from workers.sandbox import Sandbox, load_array
from workers.work import Work

DECODE = "app.loaders.models.retrain:decode"
TRAIN = "app.loaders.models.retrain:train_models"


def run(work: Work) -> dict[str, Any]:
    """Write the artifact of a range of networks (margins, right, own, what was measured), unless it is there."""
    start, stop = work.args["models"]
    plan = load_run(work.job.id)
    planned = planned_models(plan, work.args["plan"], work.line)
    key = models_key(plan, planned, work.device, start, stop)
    if not get_artifacts().has(key):
        _compute(work, plan, (planned.part(start, stop), planned.measures), key)
    work.count(stop - start)
    return {}


def _compute(work: Work, plan: RunPlan, asked: tuple[RetrainPlan, dict[str, Any]], key: str) -> None:
    planned, measures = asked
    file = get_blobs().local(plan.rows.checkpoints[-1].sha256)
    child = warm.model_child(
        plan.model_hash, [get_blobs().local(row.sha256) for row in plan.rows.checkpoints], work.device
    )
    train, audited = plan.range("train"), plan.range("audited")
    assert train is not None
    assert audited is not None
    folder = Path(tempfile.mkdtemp(dir=child.folder))
    try:
        labels = labels_between(plan, *audited)[planned.targets]
        for name, array in (("train", labels_between(plan, *train)), ("targets", labels), ("masks", planned.masks)):
            np.save(folder / f"{name}.npy", array)
        payload = {
            "file": str(file) if plan.spec.format == "safetensors" else None,
            "spec": plan.rows.version.spec | {"classes": plan.classes},
            "recipe": plan.recipe,
            "train": str(_pixels(work, child, plan, np.arange(*train))),
            "train_labels": str(folder / "train.npy"),
            "targets": str(_pixels(work, child, plan, audited[0] + planned.targets)),
            "target_labels": str(folder / "targets.npy"),
            "masks": str(folder / "masks.npy"),
            "seeds": planned.seeds.tolist(),
            "noise": [] if planned.noise is None else planned.noise.tolist(),
            "measures": {**measures, "rows": (audited[0] + planned.targets).tolist()} if measures else None,
            "output": str(folder / "out"),
            "device": work.device,
        }
        folder.chmod(0o777)
        seconds = get_settings().retrain_seconds
        answer = child.request(TRAIN, payload, timeout=seconds, on_progress=_told(work), should_stop=work.stopped)
        _publish(key, folder / "out", planned, answer.get("measured") or {})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pixels(work: Work, child: Sandbox, plan: RunPlan, rows: NDArray[np.int64]) -> Path:
    """The folder of these rows' pixels; the child decodes them when it meets them first."""
    named = hashlib.sha256(plan.data_hash.encode() + rows.tobytes()).hexdigest()[:20]
    target = child.folder / f"pixels-{named}"
    if not (target / "whole").exists():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        _decode(work, child, plan, (target, rows.tolist()))
        (target / "whole").touch()
    return target / "out"


def _decode(work: Work, child: Sandbox, plan: RunPlan, place: tuple[Path, Sequence[int]]) -> None:
    target, rows = place
    images, ranges = DatasetImages(plan.folder, get_blobs()).pack(rows, target)
    target.chmod(0o777)
    payload = {
        "images": [str(images)],
        "ranges": str(ranges),
        "preprocessing": plan.rows.version.spec["preprocessing"],
        "output": str(target / "out"),
        "max_pixels": get_settings().max_pixels,
    }
    seconds = get_settings().retrain_seconds
    answer = child.request(DECODE, payload, timeout=seconds, should_stop=work.stopped)
    images.unlink()
    if answer.get("unreadable"):
        work.log(
            f"{work.line}: {answer['unreadable']} of {len(rows):,} images cannot be read and are left out", "warning"
        )


def _told(work: Work) -> Callable[[dict[str, Any]], None]:
    say, first = work.saying(), work.args["models"][0]

    def told(news: dict[str, Any]) -> None:
        done = float(news.get("done", 0))
        say(f"model {first + int(done) + 1:,}, {100 * (done % 1):.0f} % of its epochs")

    return told


def _publish(key: str, output: Path, planned: RetrainPlan, measured: dict[str, Any]) -> None:
    models, rows = planned.masks.shape
    asked = (models, len(planned.targets))
    shapes = {"margins": (asked, "float32"), "right": (asked, "bool"), "own": ((models, rows), "float32")}
    extra = {f"{MEASURED}{name}": ((*asked, *shape[2:]), dtype) for name, (shape, dtype) in measured.items()}
    with get_artifacts().write(key) as folder:
        for name, (shape, dtype) in (shapes | extra).items():
            load_array(output, f"{name}.npy", shape, dtype)
            shutil.copyfile(output / f"{name}.npy", folder / f"{name}.npy")
