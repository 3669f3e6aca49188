"""Registers uploaded models: a new model or version, its checkpoints, and the job that checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session

from app.errors import Conflict, FieldError, NotFound
from app.loaders.models.recipe import Recipe
from app.loaders.models.sniff import sniff
from app.loaders.models.spec import ModelSpec
from app.services import queue
from app.store.models import Checkpoint, Model, ModelVersion, Upload, User
from app.store.places import get_blobs
from app.store.repositories import accounts, jobs, registry
from app.store.repositories.jobs import Job

FORMATS = {"csv": "predictions", "parquet": "predictions"}


class Claim(BaseModel):
    """What the person says of a version; the smoke run compares with it, attribution will need it."""

    model_config = ConfigDict(extra="forbid")

    accuracy: float | None = Field(None, ge=0, le=1, description="Accuracy on `dataset_id`, `split`.")
    dataset_id: int | None = Field(None, description="Data set of the claimed accuracy, and of the smoke run.")
    split: str = ""
    train_dataset_id: int | None = Field(None, description="Data set that it was trained on.")
    train_split: str = Field("", description="Split that it was trained on.")
    recipe: Recipe | None = Field(None, description="How it was trained; with it, it can be trained again.")
    given: list[str] = Field(
        default_factory=list,
        description="Dotted fields of the spec that the person stated; the others may be read from the file.",
    )


class ModelRequest(BaseModel):
    """A new version, as a form, a script or the command line states it."""

    model_config = ConfigDict(extra="forbid")

    model_id: int | None = Field(None, description="Add a version to this model; empty makes a new model.")
    name: str = Field("", description="Name of a new model.")
    description: str = ""
    format: Literal["auto", "safetensors", "torchscript", "export", "onnx", "predictions"] = "auto"
    architecture: str = Field("", description="timm:…, torchvision:…, cifar_resnet20 …, or a JSON list of layers.")
    preprocessing: dict[str, Any] = Field(default_factory=dict, description="Fields of Preprocessing that are known.")
    classes: list[str] = Field(default_factory=list, description="Class names in the order of the outputs.")
    outputs: Literal["", "logits", "probabilities"] = ""
    claim: Claim = Claim()


class Stored(NamedTuple):
    """A file that arrived whole."""

    filename: str
    sha256: str
    size: int


def stored(uploads: Sequence[Upload]) -> list[Stored]:
    """Return finished uploads as files.

    Raises:
        FieldError: one has not arrived whole.
    """
    for upload in uploads:
        if not upload.sha256:
            here, whole = f"{upload.received:,}", f"{upload.size:,}"
            raise FieldError("files", f"“{upload.filename}” is not here yet: {here} of {whole} bytes. Send the rest.")
    return [Stored(upload.filename, upload.sha256, upload.size) for upload in uploads]


def register_model(
    session: Session, project_id: int, user: User | None, request: ModelRequest, files: Sequence[Stored]
) -> ModelVersion:
    """Store a model version with its checkpoints in order (the last one predicts) and submit its check.

    Raises:
        UserError: no file, a pickle, an unknown format, fields that contradict each other.
        NotFound: the model to add a version to is not in the project.
    """
    spec = _spec(request, _format(request, files))
    model = _model(session, project_id, request)
    claim = request.claim.model_copy(update={"given": _given(request)})
    version = ModelVersion(
        model_id=model.id,
        format=spec["format"],
        spec=spec,
        claim=claim.model_dump(mode="json"),
        created_by=user.id if user else None,
    )
    checkpoints = [Checkpoint(filename=f.filename, sha256=f.sha256, size=f.size) for f in files]
    registry.add_version(session, version, checkpoints)
    queue.enqueue(session, "check_model", version.id)
    subject = ("model_version", version.id)
    accounts.log(session, version.created_by, "model_uploaded", project_id=project_id, subject=subject)
    return version


def accept_proposal(session: Session, version: ModelVersion, user: User) -> ModelVersion:
    """Make a new version with what the smoke run proposes (preprocessing, order of classes), and check that one.

    The version that was uploaded stays as it is, so that what was already computed of it keeps its meaning.

    Raises:
        Conflict: the smoke run proposed nothing.
    """
    changes = proposal_of(version)
    if not changes:
        raise Conflict("The smoke run proposes nothing else for this version.")
    spec = ModelSpec.model_validate(version.smoke["proposal"]["spec"])
    claim = version.claim | {"given": sorted({*version.claim.get("given", []), *changes})}
    made = _copy(session, version, user, spec=spec.model_dump(mode="json"), claim=claim)
    accounts.log(session, user.id, "proposal_accepted", subject=("model_version", made.id))
    return made


def _copy(session: Session, version: ModelVersion, user: User, **stated: dict[str, Any]) -> ModelVersion:
    """A new version of the same files, submitted to its check."""
    made = ModelVersion(model_id=version.model_id, format=version.format, created_by=user.id, **stated)
    files = registry.checkpoints(session, version.id)
    copies = [Checkpoint(filename=c.filename, sha256=c.sha256, size=c.size) for c in files]
    registry.add_version(session, made, copies)
    queue.enqueue(session, "check_model", made.id)
    return made


def cancel(session: Session, version: ModelVersion, user: User) -> None:
    """Stop a version's check; its files are kept, so that it can be checked again.

    Raises:
        Conflict: it has ended already.
    """
    if not jobs.request_cancel(session, Job("model_version", version.id)):
        raise Conflict("This check has ended already; there is nothing to cancel.")
    queue.cancel(session, queue.workflow_id("check_model", version.id))
    accounts.log(session, user.id, "check_cancelled", subject=("model_version", version.id))


def check_again(session: Session, version: ModelVersion, user: User) -> ModelVersion:
    """Check the files of a failed or cancelled version once more, as a new version.

    Raises:
        Conflict: it neither failed nor was cancelled.
    """
    if version.status not in {"failed", "cancelled"}:
        raise Conflict("Only a check that failed or was cancelled can be tried again.")
    return _copy(session, version, user, spec=version.spec, claim=version.claim)


def proposal_of(version: ModelVersion) -> dict[str, Any]:
    """Return the fields that the smoke run proposes to change, dotted, with their new values; often none."""
    proposal = version.smoke.get("proposal") or {}
    new, old = (_flat(spec) for spec in (proposal.get("spec", {}), version.spec))
    return {name: value for name, value in new.items() if old.get(name) != value}


def _flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    inner = {f"preprocessing.{name}": value for name, value in spec.get("preprocessing", {}).items()}
    return inner | {name: spec[name] for name in ("classes", "outputs") if name in spec}


def _format(request: ModelRequest, files: Sequence[Stored]) -> str:
    if not files:
        raise FieldError("files", "Choose the model's file: safetensors, TorchScript, .pt2, ONNX, CSV or Parquet.")
    found = {file.filename: sniff(get_blobs().local(file.sha256)) for file in files}
    kinds = {FORMATS.get(kind, kind) for kind in found.values()}
    if len(kinds) > 1:
        listed = ", ".join(f"“{name}” is {kind}" for name, kind in found.items())
        raise FieldError("files", f"Checkpoints of one version share one format; here {listed}.")
    kind = kinds.pop()
    if request.format not in {"auto", kind}:
        raise FieldError("format", f"The file is {kind}, not {request.format}. Leave the format to Faultline.")
    return kind


def _spec(request: ModelRequest, kind: str) -> dict[str, Any]:
    """Return the JSON of a `ModelSpec`; an architecture that was left open stays empty until the file is inspected."""
    architecture = _architecture(request.architecture)
    raw: dict[str, Any] = {
        "format": kind,
        "architecture": architecture or "to be found in the file",
        "preprocessing": request.preprocessing,
        "classes": request.classes,
        "outputs": request.outputs or "logits",
    }
    try:
        return ModelSpec.model_validate(raw).model_dump(mode="json") | {"architecture": architecture}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FieldError(place, first["msg"].removeprefix("Value error, ") + ".") from error


def _architecture(text: str) -> str | list[dict[str, Any]]:
    if not text.lstrip().startswith("["):
        return text.strip()
    try:
        return list(json.loads(text))
    except ValueError as error:
        raise FieldError("architecture", f"The list of layers is not JSON: {error}.") from error


def _given(request: ModelRequest) -> list[str]:
    stated = [f"preprocessing.{name}" for name in request.preprocessing]
    return sorted([*stated, *(name for name in ("classes", "outputs") if getattr(request, name))])


def _model(session: Session, project_id: int, request: ModelRequest) -> Model:
    if request.model_id is not None:
        model = registry.get_model(session, request.model_id)
        if model is None or model.project_id != project_id:
            raise NotFound("There is no such model in this project.")
        return model
    name = request.name.strip()[:200]
    if not name:
        raise FieldError("name", "Give the model a name.")
    if registry.model_by_name(session, project_id, name):
        raise FieldError(
            "name", f"There is a model “{name}” already. Open it and add a version, or choose another name."
        )
    return registry.add_model(session, Model(project_id=project_id, name=name, description=request.description.strip()))
