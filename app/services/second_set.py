"""The second data set that a kind compares the audited one with: which it is, and whether it is fit for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from app.audits import kind as kind_named
from app.audits.base import AuditKind
from app.audits.splits import named_split
from app.errors import FieldError
from app.loaders.datasets.report import compare_classes
from app.services import fit
from app.store.models import Checkpoint, Dataset, DatasetSplit, ModelVersion
from app.store.repositories import datasets, registry

_NAMED = 6
_CHOOSE = "Choose a data set and split of this project to compare with."


class SecondSet(NamedTuple):
    """A second data set's split."""

    dataset: Dataset
    split: DatasetSplit


class Wanted(NamedTuple):
    """What the second set is compared with, and by which model."""

    version: ModelVersion
    checkpoints: Sequence[Checkpoint]
    dataset: Dataset
    audited: DatasetSplit
    encoder: str


def second_sets(
    session: Session,
    version: ModelVersion,
    dataset: Dataset,
    audited: DatasetSplit,
    encoder: str,
    params: Mapping[str, Mapping[str, Any]],
) -> dict[str, SecondSet]:
    """Return the second sets that the chosen kinds name, by kind, once all that they need is known to be there.

    Raises:
        FieldError: one is missing, empty, of another project, the audited one, of other classes, or unfit.
    """
    wanted = Wanted(version, registry.checkpoints(session, version.id), dataset, audited, encoder)
    found = {}
    for name, own in params.items():
        kind = kind_named(name)
        if kind.second_set:
            found[name] = _existing(session, kind, str(own.get(kind.second_set) or ""), dataset.project_id)
            require(kind, found[name], wanted)
    return found


def require(kind: AuditKind, second: SecondSet, wanted: Wanted) -> None:
    """Look whether a second set can be compared with the audited one.

    Raises:
        FieldError: it cannot.
    """
    field = f"{kind.name}.{kind.second_set}"
    name = f"“{second.dataset.name}” / {second.split.name}"
    if second.split.stop <= second.split.start:
        raise FieldError(field, f"{name} has no rows. {_CHOOSE}")
    if _place(second.dataset, second.split) == _place(wanted.dataset, wanted.audited):
        raise FieldError(
            field, f"{name} is the audited split itself: nothing can have shifted. Choose another data set or split."
        )
    _require_classes(field, second.dataset, wanted)
    try:
        if wanted.version.format != "predictions" and kind.needs_predictions and not fit.has_images(second.dataset):
            raise FieldError(field, f"“{second.dataset.name}” has no images, so the model has nothing to look at.")
        fit.require_predictions(wanted.version, wanted.checkpoints, second.dataset, second.split)
        fit.require_distinct(wanted.version, (wanted.dataset, wanted.audited), second)
        fit.require_embeddings(wanted.encoder, wanted.version, second.dataset, [kind.name])
    except FieldError as error:
        raise FieldError(field, error.message) from error


def class_notes(second: SecondSet, version: ModelVersion, dataset: Dataset) -> list[str]:
    """Return sentences on how the second set's labels are read; empty where its classes are the audited ones."""
    here, name = second.dataset.classes, f"“{second.dataset.name}” / {second.split.name}"
    if not any(second.split.label_counts):
        return [f"{name} has no labels: only what needs none is said of it, such as the estimated accuracy."]
    classes = list(version.spec.get("classes") or dataset.classes)
    found, missing = compare_classes(here, classes), [name for name in dataset.classes if name not in here]
    notes = [item.sentence for item in found.items if item.kind == "class_by_position"]
    if missing:
        notes.append(f"{name} has no image of {_some(missing)}; those classes are not compared.")
    if not notes and [name for name in here if name in dataset.classes] != list(dataset.classes):
        notes.append(f"{name} lists its classes in another order or spelling; they are matched by name.")
    return notes


def _existing(session: Session, kind: AuditKind, text: str, project_id: int) -> SecondSet:
    field, named = f"{kind.name}.{kind.second_set}", named_split(text)
    if named is None:
        raise FieldError(field, f"“{kind.title}” needs a second data set. {_CHOOSE}")
    dataset = datasets.get(session, named.dataset_id)
    if dataset is None or dataset.project_id != project_id:
        raise FieldError(field, f"There is no such data set in this project. {_CHOOSE}")
    if dataset.status != "succeeded":
        raise FieldError(field, f"“{dataset.name}” is not imported; open it to see why.")
    split = datasets.split(session, dataset.id, named.split)
    if split is None:
        there = ", ".join(f"“{entry.name}”" for entry in datasets.splits(session, dataset.id))
        raise FieldError(field, f"“{dataset.name}” has no split “{named.split}”; it has {there or 'none'}.")
    return SecondSet(dataset, split)


def _place(dataset: Dataset, split: DatasetSplit) -> tuple[str, int, int]:
    """Equal for two splits that hold the very same rows, also where one data set was imported twice."""
    return dataset.data_hash or f"#{dataset.id}", split.start, split.stop


def _require_classes(field: str, second: Dataset, wanted: Wanted) -> None:
    classes = list(wanted.version.spec.get("classes") or wanted.dataset.classes)
    unknown = compare_classes(second.classes, classes).missing_in_model
    if not unknown:
        return
    missing = [name for name in classes if name not in second.classes]
    lacks = f" and lacks {_some(missing)}" if missing else ""
    raise FieldError(
        field,
        f"The classes differ: “{second.name}” has {_some(unknown)}, unknown to the model and to “{wanted.dataset.name}”"
        f"{lacks}. Name its classes as the model does ({_some(classes)}), or leave the others' images out.",
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(f"“{name}”" for name in names[:_NAMED]) + more
