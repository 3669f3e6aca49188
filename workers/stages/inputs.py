"""A run's splits as the stages of kinds read them: memory-mapped, labels in the model's numbering."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.audits.base import AuditKind, Inputs, Second, Split
from app.services import second_set
from app.store.places import get_artifacts
from workers import warm
from workers.labels import to_model_labels
from workers.run_plan import RunPlan

Role = Literal["audited", "train"]
ROLES: tuple[Role, ...] = ("audited", "train")


def load_inputs(
    plan: RunPlan,
    arrays: Mapping[str, str],
    kind: AuditKind,
    earlier: Mapping[str, str],
    device: str,
    progress: Callable[[float, str], None],
    model: Mapping[str, Mapping[str, str]] | None = None,
) -> Inputs:
    """Return what a stage of `kind` reads.

    `arrays` are the keys of the joined arrays, `earlier` of earlier stages, `model` of the kind's work on the network,
    by stage and role.
    """
    found = {role: load_split(plan, role, arrays[role], model or {}) for role in ROLES if role in arrays}
    beside = arrays.get(f"second@{kind.name}")
    speaks = kind.reads_sentences and plan.embeddings == "encoder"
    return Inputs(
        audited=found["audited"],
        train=found.get("train"),
        classes=plan.classes,
        params=kind.params.model_validate(plan.rows.run.params.get(kind.name, {})),
        seed=plan.rows.run.seed,
        device=device,
        encode_text=_encode_text(plan, device) if speaks else None,
        earlier={name: get_artifacts().local(key) for name, key in earlier.items()},
        progress=progress,
        encoder_words=warm.encoder(plan.encoder, device).words if speaks else None,
        second=_second(plan, plan.seconds[kind.name], beside) if beside else None,
    )


def load_split(plan: RunPlan, role: Role, key: str, model: Mapping[str, Mapping[str, str]] | None = None) -> Split:
    """Return a split; rows that are not audited have the label −1."""
    folder, rows = get_artifacts().local(key), plan.range(role)
    assert rows is not None
    audited: NDArray[np.bool_] = np.load(folder / "audited.npy")
    features = _mapped(folder / "features.npy")
    return Split(
        name=plan.split_name(role),
        manifest=_manifest(plan, rows, audited),
        embeddings=_embeddings(plan, folder, features, rows),
        logits=_mapped(folder / "logits.npy"),
        features=features,
        model={name: array for stage, keys in (model or {}).items() for name, array in _of_stage(stage, keys, role)},
        audited=audited,
    )


def _second(plan: RunPlan, own: RunPlan, key: str) -> Second:
    split = load_split(own, "audited", key)
    dataset, version = own.rows.dataset, plan.rows.version
    return Second(
        **{field.name: getattr(split, field.name) for field in fields(Split)},
        dataset_id=dataset.id,
        dataset=dataset.name,
        notes=tuple(second_set.class_notes(own.second, version, plan.rows.dataset)),
    )


def _of_stage(stage: str, keys: Mapping[str, str], role: Role) -> Iterator[tuple[str, NDArray[Any]]]:
    if role in keys:
        for path in sorted(get_artifacts().local(keys[role]).glob("*.npy")):
            # Copy on write: torch wants memory that could be written, and large arrays are not to be copied for that.
            yield f"{stage}.{path.stem}", np.load(path, mmap_mode="c")


def _manifest(plan: RunPlan, rows: tuple[int, int], audited: NDArray[np.bool_]) -> pa.Table:
    start, stop = rows
    # Row groups are ranges of rows, so that a small split of a large data set costs little.
    table = pq.read_table(
        plan.folder / "manifest.parquet", filters=[("row", ">=", start), ("row", "<", stop)], memory_map=True
    )
    labels = _labels(plan, table["label"], audited)
    return table.set_column(table.schema.get_field_index("label"), "label", pa.array(labels, pa.int32()))


def _labels(plan: RunPlan, column: pa.ChunkedArray, audited: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.where(audited, to_model_labels(plan, column), -1).astype(np.int32)


def _embeddings(
    plan: RunPlan, folder: Path, features: NDArray[np.float32] | None, rows: Sequence[int]
) -> NDArray[np.float32] | None:
    if plan.embeddings == "penultimate":
        return features
    if plan.embeddings == "given":
        given: NDArray[np.float32] = np.load(plan.folder / "embeddings.npy", mmap_mode="r")
        return given[rows[0] : rows[1]]
    return _mapped(folder / "embeddings.npy")


def _mapped(path: Path) -> NDArray[np.float32] | None:
    if not path.is_file():
        return None
    array: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return array


def _encode_text(plan: RunPlan, device: str) -> Callable[[Sequence[str]], NDArray[Any]] | None:
    if not warm.encoder(plan.encoder, device).reads_text:
        return None
    return lambda sentences: warm.encoder(plan.encoder, device).embed_text(sentences)
