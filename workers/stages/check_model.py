"""Checks an uploaded model: what its file says, then a first inference on images; both in a sandboxed child."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from app.errors import UserError
from app.loaders.models.predictions_ids import IDS_FILE
from app.loaders.models.spec import Inspection, ModelSpec
from app.services import keys
from app.settings import get_settings
from app.store.images import DatasetImages
from app.store.models import Checkpoint, Dataset, DatasetSplit, ModelVersion
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import subjects
from app.store.session import reading, transaction
from workers import warm
from workers.sandbox import Sandbox, SandboxTimeout, load_array
from workers.work import Work

INSPECT = "app.loaders.models.inspect:inspect_file"
SMOKE = "app.loaders.models.smoke:smoke"
LIST_IDS = "app.loaders.models.predictions_ids:list_ids"
SAMPLE = 256
"""Images of the smoke run, spread evenly over the split."""


class Sample(NamedTuple):
    """Rows of a data set that the smoke run uses."""

    dataset: Dataset
    rows: list[int]


def inspect(work: Work) -> dict[str, Any]:
    """Read what the file says of itself, and fill in what the person did not state."""
    work.begin(1)
    version, checkpoints = _load(work)
    file = get_blobs().local(checkpoints[-1].sha256)
    child = warm.new_sandbox([file], "cpu")
    try:
        payload = {"file": str(file), "architecture": _named(version)}
        # A network may run here already, to see what it returns; it may also never end.
        answer = _ask(work, child, INSPECT, payload)
        walls = dict(child.measures)
    finally:
        warm.drop(child)
    inspection = Inspection.model_validate(answer)
    spec = _completed(version, inspection)
    _write(work, checkpoints, spec, {"inspection": inspection.model_dump(mode="json") | {"containment": walls}})
    for warning in inspection.warnings:
        work.log(warning, "warning")
    work.end()
    return {}


def smoke(work: Work) -> dict[str, Any]:
    """Run the model on images of the data set that its owner names, or on noise; a table is only read."""
    work.begin(1)
    version, checkpoints = _load(work)
    spec = ModelSpec.model_validate(version.spec)
    if spec.format == "predictions":
        _keep_ids(work, checkpoints[-1], spec)
    else:
        sample = _sample(version)
        report = _run(work, checkpoints[-1], version, sample)
        _write(work, checkpoints, _settled(version, spec, report, sample), {"smoke": report})
        for warning in report.get("warnings", []):
            work.log(warning, "warning")
    work.end()
    return {}


def _run(work: Work, checkpoint: Checkpoint, version: ModelVersion, sample: Sample | None) -> dict[str, Any]:
    file = get_blobs().local(checkpoint.sha256)
    child = warm.new_sandbox([file], work.device)
    try:
        payload: dict[str, Any] = {"file": str(file), "spec": version.spec, "device": work.device}
        payload |= {"max_pixels": get_settings().max_pixels, "claimed_accuracy": version.claim.get("accuracy")}
        if sample:
            payload |= _pack(child, sample)
        report = _ask(work, child, SMOKE, payload)
        return report | {"containment": dict(child.measures)}
    finally:
        warm.drop(child)


def _ask(work: Work, child: Sandbox, function: str, payload: dict[str, Any]) -> dict[str, Any]:
    seconds = get_settings().smoke_seconds
    try:
        return child.request(function, payload, timeout=seconds, should_stop=work.stopped)
    except SandboxTimeout as error:
        raise UserError(
            f"The network did not finish its first images within {seconds:g} s and was stopped. Does it end for every "
            "input? If it is only slow, an administrator can give it more time (FAULTLINE_SMOKE_SECONDS)."
        ) from error


def _keep_ids(work: Work, checkpoint: Checkpoint, spec: ModelSpec) -> None:
    """Store which examples a table speaks of, so that an audit of others can be refused before it is queued."""
    key, store, file = keys.prediction_ids_key(checkpoint.sha256), get_artifacts(), get_blobs().local(checkpoint.sha256)
    child = warm.new_sandbox([file], "cpu")
    try:
        output = child.folder / "out"
        payload = {"file": str(file), "output": str(output), "classes": list(spec.classes)}
        answer = child.request(LIST_IDS, payload, should_stop=work.stopped)
        ids = load_array(output, IDS_FILE, (int(answer["ids"]),), "uint64")
        with store.write(key) as folder:
            np.save(folder / IDS_FILE, ids)
    finally:
        warm.drop(child)
    work.log(f"The table has predictions for {len(ids):,} examples")


def _pack(child: Sandbox, sample: Sample) -> dict[str, Any]:
    """Write the sample's images for the child: one file, its ends, and the class name of each."""
    folder = get_artifacts().local(sample.dataset.artifact_key)
    images = DatasetImages(folder, get_blobs())
    ends = [0]
    with (child.folder / "images.bin").open("wb") as target:
        for row in sample.rows:
            target.write(images.original(row))
            ends.append(target.tell())
    np.save(child.folder / "ends.npy", np.array(ends, np.uint64))
    labels = pq.read_table(folder / "manifest.parquet", columns=["label"])["label"].take(sample.rows).to_pylist()
    classes = sample.dataset.classes
    return {
        "images": [str(child.folder / "images.bin")],
        "ranges": str(child.folder / "ends.npy"),
        "labels": [classes[label] if label is not None and label >= 0 else "" for label in labels],
        "dataset_classes": classes,
    }


def _sample(version: ModelVersion) -> Sample | None:
    wanted = version.claim.get("dataset_id")
    if wanted is None:
        return None
    with reading() as session:
        dataset, splits = subjects.existing(session, Dataset, wanted), subjects.splits(session, wanted)
    split = _split(splits, version.claim.get("split", ""))
    if dataset.status != "succeeded" or split is None:
        return None
    rows = np.unique(np.linspace(split.start, split.stop - 1, min(SAMPLE, split.stop - split.start)).astype(int))
    images = DatasetImages(get_artifacts().local(dataset.artifact_key), get_blobs())
    return Sample(dataset, found) if (found := [int(row) for row in rows if images.has_image(int(row))]) else None


def _split(splits: list[DatasetSplit], name: str) -> DatasetSplit | None:
    """The split of that name; without a name, the last one (tests come after training)."""
    filled = [split for split in splits if split.stop > split.start]
    return next((split for split in filled if split.name == name), filled[-1] if filled and not name else None)


def _completed(version: ModelVersion, inspection: Inspection) -> ModelSpec:
    """The spec with what the file settles, wherever the person stated nothing."""
    spec, given = dict(version.spec), set(version.claim.get("given", []))
    spec["format"] = inspection.format
    spec["architecture"] = spec.get("architecture") or inspection.architecture or ""
    settled = {name: value for name, value in inspection.preprocessing.items() if f"preprocessing.{name}" not in given}
    spec["preprocessing"] = spec.get("preprocessing", {}) | settled
    if not spec.get("classes"):
        spec["classes"] = list(inspection.classes)
    if inspection.outputs and "outputs" not in given:
        spec["outputs"] = inspection.outputs
    spec["penultimate"] = inspection.penultimate
    try:
        return ModelSpec.model_validate(spec)
    except ValueError as error:
        asked = " ".join(question.text for question in inspection.questions)
        raise UserError(f"The file leaves something open: {asked or error}") from error


def _settled(version: ModelVersion, spec: ModelSpec, report: dict[str, Any], sample: Sample | None) -> ModelSpec:
    """The spec with what only running the model shows: logits or probabilities, and how many classes."""
    changes: dict[str, Any] = {}
    if "outputs" not in version.claim.get("given", []):
        changes["outputs"] = report["outputs"]
    if not spec.classes:
        named = sample.dataset.classes if sample else []
        changes["classes"] = named if len(named) == report["output_shape"][1] else report["classes"]
    return ModelSpec.model_validate(spec.model_dump(mode="json") | changes)


def _load(work: Work) -> tuple[ModelVersion, list[Checkpoint]]:
    with reading() as session:
        version = subjects.existing(session, ModelVersion, work.job.id)
        checkpoints = subjects.checkpoints(session, version.id)
    if not checkpoints:
        raise UserError("The model version has no file; upload one.")
    return version, checkpoints


def _named(version: ModelVersion) -> str | None:
    architecture = version.spec.get("architecture")
    return architecture if isinstance(architecture, str) and architecture else None


def _write(work: Work, checkpoints: list[Checkpoint], spec: ModelSpec, found: dict[str, Any]) -> None:
    stored = spec.model_dump(mode="json")
    values = {"spec": stored, "model_hash": keys.model_hash(stored, [row.sha256 for row in checkpoints]), **found}
    with transaction() as session:
        subjects.fill_version(session, work.job.id, values)
