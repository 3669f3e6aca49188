"""Whether a model, a data set and an encoder can make an audit together; asked before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from app.audits import kind as kind_named
from app.errors import FieldError, UserError
from app.loaders import encoder_names
from app.loaders.datasets.report import compare_classes
from app.loaders.models.predictions_ids import IDS_FILE, hashed
from app.services import keys
from app.store.manifest import example_ids, hashes
from app.store.models import Checkpoint, Dataset, DatasetSplit, ModelVersion
from app.store.places import get_artifacts


def require_encoder(encoder: str) -> None:
    """Look whether an encoder exists on this installation.

    Raises:
        FieldError: it does not.
    """
    try:
        encoder_names.require_known(encoder)
    except UserError as error:
        raise FieldError("encoder", error.message) from error


def require_embeddings(encoder: str, version: ModelVersion, dataset: Dataset, kinds: Sequence[str]) -> None:
    """Look whether the model or the data set brings the embeddings that the audit takes from it.

    Raises:
        FieldError: it brings none.
    """
    if not any(kind_named(name).needs_embeddings for name in kinds):
        return
    if encoder == "penultimate" and not _shows_features(version):
        why = "is a table of predictions" if version.format == "predictions" else "hides its penultimate layer"
        raise FieldError("encoder", f"This model {why}: it has no features of its own. Choose another encoder.")
    if encoder == "given" and "embeddings.npy" not in _names(dataset):
        raise FieldError(
            "encoder",
            f"“{dataset.name}” brought no embeddings of its own: its table has no column of them. "
            "Choose an encoder, or import it again with the column named.",
        )


def can_embed(encoder: str, version: ModelVersion, dataset: Dataset) -> bool:
    """Whether a data set's rows can be embedded: the encoder has pictures to look at, or the embeddings are there."""
    if encoder == "penultimate":
        return _shows_features(version)
    return "embeddings.npy" in _names(dataset) if encoder == "given" else has_images(dataset)


def require_images(encoder: str, version: ModelVersion, dataset: Dataset, kinds: Sequence[str]) -> None:
    """Look whether a data set without images is asked for what only images can give.

    Raises:
        FieldError: it is.
    """
    wanted = [kind_named(name) for name in kinds]
    predicts = any(kind.needs_predictions for kind in wanted) and version.format != "predictions"
    embeds = any(kind.needs_embeddings for kind in wanted) and encoder not in encoder_names.OF_THE_RUN
    if not (predicts or embeds) or has_images(dataset):
        return
    if predicts:
        message = "so the model has nothing to look at. Choose a table of predictions for it, or another data set."
        raise FieldError("model_version_id", f"“{dataset.name}” has no images, {message}")
    raise FieldError("encoder", f"“{dataset.name}” has no images to embed. Choose the embeddings that it brought.")


_GIVES_NO_ARCHITECTURE = {
    "predictions": "A table of predictions",
    "torchscript": "A TorchScript file",
    "export": "A file of torch.export",
    "onnx": "An ONNX file",
}


def why_not_retrained(version: ModelVersion, dataset: Dataset) -> str:
    """Say why a version's network cannot be trained anew on a data set; empty where nothing speaks against it."""
    recipe = version.claim.get("recipe")
    if not recipe:
        return (
            "The model version carries no training recipe, so nothing can be retrained: add a version with one, or "
            "set the number of retrained models to 0."
        )
    if version.format in _GIVES_NO_ARCHITECTURE and not recipe.get("architecture"):
        return (
            f"{_GIVES_NO_ARCHITECTURE[version.format]} does not say how to build the network anew: add the "
            "architecture to the training recipe, or upload the weights as safetensors with it."
        )
    return "" if has_images(dataset) else f"The data set “{dataset.name}” has no images to train on."


def require_shared_class(version: ModelVersion, dataset: Dataset) -> None:
    """Look whether model and data set speak of the same classes.

    Raises:
        FieldError: they have none in common.
    """
    classes = version.spec.get("classes", [])
    if classes and not compare_classes(dataset.classes, classes).usable:
        here, there = _some(dataset.classes), _some(classes)
        raise FieldError(
            "dataset_id",
            f"The data set's classes ({here}) and the model's ({there}) have none in common. "
            "Name the model's classes as the data set does, in a new version.",
        )


def require_predictions(
    version: ModelVersion, checkpoints: Sequence[Checkpoint], dataset: Dataset, audited: DatasetSplit
) -> None:
    """Look whether a table of predictions speaks of any example of the audited split.

    Tables that were checked by an earlier release are not known by their ids, and pass.

    Raises:
        FieldError: it does not.
    """
    if version.format != "predictions" or not checkpoints:
        return
    key, store = keys.prediction_ids_key(checkpoints[-1].sha256), get_artifacts()
    if not store.has(key) or not store.has(dataset.artifact_key):
        return
    known = np.load(store.local(key) / IDS_FILE, mmap_mode="r")
    first = ""
    for ids in example_ids(store.local(dataset.artifact_key), audited.start, audited.stop):
        if np.isin(hashed(ids), known).any():
            return
        first = first or ids[0]
    raise FieldError(
        "dataset_id",
        f"The model's table has predictions for none of the {audited.stop - audited.start:,} examples of "
        f"“{dataset.name}” / {audited.name}: ids here look like “{first}”. Choose the data set that it was made for, "
        "or a table with these ids.",
    )


def require_distinct(
    version: ModelVersion, first: tuple[Dataset, DatasetSplit], second: tuple[Dataset, DatasetSplit]
) -> None:
    """Look whether a table of predictions can tell the examples of two splits apart.

    Raises:
        FieldError: two different examples have one id.
    """
    if version.format != "predictions" or first[0].id == second[0].id:
        return
    store = get_artifacts()
    pictures = [hashes(store.local(data.artifact_key), split.start, split.stop) for data, split in (first, second)]
    twice = [name for name, picture in pictures[1].items() if pictures[0].get(name, picture) != picture]
    if twice:
        raise FieldError(
            "dataset_id",
            f"{len(twice):,} examples of “{second[0].name}” have the id of another example of “{first[0].name}”, such "
            f"as “{twice[0]}”: a table of predictions cannot tell them apart. Import one of the sets with ids of its "
            "own.",
        )


def _shows_features(version: ModelVersion) -> bool:
    return bool(version.spec.get("penultimate", True)) and version.format != "predictions"


def has_images(dataset: Dataset) -> bool:
    """Whether a data set has pictures, and not numbers alone."""
    if "packs.json" not in _names(dataset):
        return True
    return bool(json.loads(get_artifacts().read(dataset.artifact_key, "packs.json")))


def _names(dataset: Dataset) -> frozenset[str]:
    return get_artifacts().names(dataset.artifact_key) if dataset.artifact_key else frozenset()


def _some(classes: Sequence[str]) -> str:
    return ", ".join(classes[:3]) + (" …" if len(classes) > 3 else "")
