"""Starts audits, and says beforehand how much work one is and what of it was done before."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session

from app.audits import kind as kind_named
from app.audits import kinds
from app.audits.base import RetrainStageSpec
from app.errors import Conflict, FieldError, NotFound
from app.loaders import encoder_names
from app.loaders.datasets.report import compare_classes
from app.loaders.encoder_names import FORMS as ENCODER_FORMS
from app.services import fit, queue, second_set
from app.services.second_set import SecondSet
from app.settings import get_settings
from app.store.models import AuditRun, Dataset, DatasetSplit, ModelVersion, User
from app.store.repositories import accounts, datasets, jobs, registry, runs
from app.store.repositories.jobs import Job


class RunRequest(BaseModel):
    """An audit, as a form, a script or the command line states it."""

    model_config = ConfigDict(extra="forbid")

    model_version_id: int
    dataset_id: int
    split: str = Field(description="The split to audit.")
    train_split: str = Field("", description="The model's training split in the same data set; empty for none.")
    kinds: list[str] = Field(default_factory=list, description="Audit kinds; empty means those that cost little.")
    params: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Parameters by kind.")
    encoder: str = Field("", description=f"{ENCODER_FORMS}; empty means the installation's default.")
    seed: int = 0
    name: str = Field("", description="Empty names it after model and data set.")


class Work(NamedTuple):
    """One costly part of an audit, before it is asked for."""

    title: str
    rows: int
    cached: int
    """Rows that earlier runs have computed."""
    seconds: float | None
    """Expected time of the rest, None where nothing is known yet."""
    unit: Literal["rows", "networks", "images"] = "rows"
    """What is counted."""


class Parts(NamedTuple):
    """What an audit is made of, all in one project."""

    version: ModelVersion
    dataset: Dataset
    audited: DatasetSplit
    train: DatasetSplit | None


def request_audit(session: Session, project_id: int, user: User | None, request: RunRequest) -> AuditRun:
    """Store a run, queued, and submit it; the same audit that still waits or runs is returned instead.

    Raises:
        FieldError: a part is missing, unfit, or not in the project; a parameter is out of its range.
    """
    parts = find_parts(session, project_id, request)
    chosen, encoder = _kinds(request.kinds), _encoder(request.encoder)
    _require_known(request.params, chosen, "params")
    params = {name: _params(name, request.params.get(name, {})) for name in chosen}
    _fit(parts, params)
    _networks(parts, params)
    second_sets(session, parts, encoder, params)
    run = AuditRun(
        project_id=project_id,
        name=request.name.strip()[:200] or _name(session, parts),
        model_version_id=parts.version.id,
        dataset_id=parts.dataset.id,
        split=parts.audited.name,
        train_split=parts.train.name if parts.train else "",
        kinds=chosen,
        params=params,
        encoder=encoder,
        seed=request.seed,
        created_by=user.id if user else None,
    )
    waiting = runs.same_and_active(session, run)
    return waiting or _submit(session, run)


def run_again(session: Session, run: AuditRun, user: User, seed: int | None = None) -> AuditRun:
    """Start the same audit anew, with its own seed unless another is given.

    Only what is not in the store is computed: nothing, when neither the seed nor the code has changed; with another
    seed all that does not depend on it is taken from the store. The same audit that still waits or runs is returned
    instead.
    """
    copied = (
        "project_id",
        "name",
        "model_version_id",
        "dataset_id",
        "split",
        "train_split",
        "kinds",
        "params",
        "encoder",
    )
    copy = AuditRun(**{name: getattr(run, name) for name in copied}, created_by=user.id)
    copy.seed = run.seed if seed is None else seed
    return runs.same_and_active(session, copy) or _submit(session, copy)


def another_seed() -> int:
    """Return a seed that nobody chose."""
    return secrets.randbelow(2**31)


def cancel(session: Session, run: AuditRun, user: User) -> None:
    """Stop a run; what it finished is kept, and a resume goes on from there.

    Raises:
        Conflict: it has ended already.
    """
    if not jobs.request_cancel(session, Job("run", run.id, run.attempt)):
        raise Conflict("This run has ended already; there is nothing to cancel.")
    queue.cancel(session, queue.workflow_id("audit_run", run.id, run.attempt))
    accounts.log(session, user.id, "run_cancelled", project_id=run.project_id, subject=("run", run.id))


def resume(session: Session, run: AuditRun, user: User) -> None:
    """Queue a failed or cancelled run once more; finished shards are not repeated.

    Raises:
        Conflict: it is not over, or it succeeded.
    """
    attempt = jobs.resume(session, run.id)
    if attempt is None:
        raise Conflict("Only a run that failed or was cancelled can be resumed.")
    queue.enqueue(session, "audit_run", run.id, attempt=attempt)
    accounts.log(session, user.id, "run_resumed", project_id=run.project_id, subject=("run", run.id))


def class_notes(version: ModelVersion, dataset: Dataset) -> list[str]:
    """Return sentences on how the classes of a data set fit a model's; empty when they are the same."""
    model_classes = version.spec.get("classes", [])
    if not model_classes:
        return []
    return [item.sentence for item in compare_classes(dataset.classes, model_classes).items]


def model_notes(version: ModelVersion) -> list[str]:
    """Return what the check of a version found that misleads stress tests, to be said before they start."""
    found = list(version.smoke.get("doubts", []))
    if version.smoke.get("outputs") == "probabilities" and version.spec.get("outputs") == "logits":
        found.append(
            "Outputs are never negative and sum to one, and logits are declared: the gradient of a softmax vanishes "
            "where it is sure. Declare probabilities, or upload the network without its softmax."
        )
    return [f"Before a stress test: {doubt}" for doubt in found]


def estimate(
    session: Session, parts: Parts, encoder: str, params: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Work]:
    """Return the costly parts of an audit: how many rows, how many of them known, how long the rest may take.

    `params` are those of the chosen kinds: they say how many images the network is shown, how many networks are to be
    trained anew.

    Raises:
        FieldError: a parameter is out of its range.
    """
    rows = parts.audited.stop - parts.audited.start
    if parts.train is not None and parts.train.id != parts.audited.id:
        rows += parts.train.stop - parts.train.start
    work = [_part(session, parts, "predict", "Predict", rows, encoder="")]
    if encoder not in encoder_names.OF_THE_RUN:
        work.append(_part(session, parts, "embed", "Embed", rows, encoder=encoder))
    for second in second_sets(session, parts, encoder, params or {}).values():
        work += _of_second(session, parts, second, encoder)
    _fit(parts, params or {})
    work += _shown(session, parts, params or {})
    trained = _trained(session, parts, params or {})
    return [*work, trained] if trained else work


def second_sets(
    session: Session, parts: Parts, encoder: str, params: Mapping[str, Mapping[str, Any]]
) -> dict[str, SecondSet]:
    """Return the second data sets that the chosen kinds name, by kind.

    Raises:
        FieldError: one is not there, or not fit to be compared with the audited split.
    """
    return second_set.second_sets(session, parts.version, parts.dataset, parts.audited, _encoder(encoder), params)


def notes(session: Session, parts: Parts, encoder: str, params: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return all that is to be said of an audit before it starts: of classes, of the model, of second data sets."""
    found = class_notes(parts.version, parts.dataset) + model_notes(parts.version)
    return found + second_notes(session, parts, encoder, params)


def second_notes(session: Session, parts: Parts, encoder: str, params: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return sentences on how the labels of the chosen kinds' second data sets are read."""
    found = second_sets(session, parts, encoder, params)
    return [note for second in found.values() for note in second_set.class_notes(second, parts.version, parts.dataset)]


def _of_second(session: Session, parts: Parts, second: SecondSet, encoder: str) -> list[Work]:
    name, own = f"{second.dataset.name} / {second.split.name}", Parts(parts.version, *second, None)
    rows = second.split.stop - second.split.start
    work = [_part(session, own, "predict", f"Predict {name}", rows, encoder="")]
    if encoder not in encoder_names.OF_THE_RUN and fit.can_embed(encoder, parts.version, second.dataset):
        work.append(_part(session, own, "embed", f"Embed {name}", rows, encoder=encoder))
    return work


def _shown(session: Session, parts: Parts, params: Mapping[str, Mapping[str, Any]]) -> list[Work]:
    """Images that kinds show the network beside prediction, at the pace of its newest prediction."""
    rows, found = parts.audited.stop - parts.audited.start, []
    for name, own in params.items():
        kind = kind_named(name)
        images = kind.passes(kind.params.model_validate(_params(name, own)), rows)
        if images and parts.version.format != "predictions":
            rate = runs.rows_per_second(session, "predict", version_id=parts.version.id, encoder="")
            found.append(Work(kind.title, images, 0, images / rate if rate else None, "images"))
    return found


def _trained(session: Session, parts: Parts, params: Mapping[str, Mapping[str, Any]]) -> Work | None:
    """Networks to train anew, by the pace of the newest run that trained some of this version's."""
    networks = _networks(parts, {name: _params(name, given) for name, given in params.items()})
    if not networks:
        return None
    stages = [
        f"{kind.name}:{s.name}" for kind in kinds().values() for s in kind.stages if isinstance(s, RetrainStageSpec)
    ]
    rates = (runs.rows_per_second(session, stage, version_id=parts.version.id, encoder="") for stage in stages)
    rate = next((rate for rate in rates if rate), None)
    return Work("Train networks anew", networks, 0, networks / rate if rate else None, "networks")


def _fit(parts: Parts, params: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse parameters that have no meaning for images of the size that the network takes.

    Raises:
        FieldError: there are some.
    """
    size = parts.version.spec.get("preprocessing", {}).get("size")
    if parts.version.format == "predictions" or not size:
        return
    for name, own in params.items():
        kind = kind_named(name)
        for field, why in kind.unfit(kind.params.model_validate(_params(name, own)), *size).items():
            raise FieldError(f"{name}.{field}", why)


def _networks(parts: Parts, params: Mapping[str, Mapping[str, Any]]) -> int:
    """How many networks are to be trained anew; none without a training split.

    Raises:
        FieldError: some are, and this version's network cannot be.
    """
    if parts.train is None:
        return 0
    asked = {
        name: kind_named(name).networks(kind_named(name).params.model_validate(own)) for name, own in params.items()
    }
    first = next((name for name, count in asked.items() if count), "")
    if first and (why := fit.why_not_retrained(parts.version, parts.dataset)):
        raise FieldError(f"{first}.retrain", why)
    return sum(asked.values())


def _part(session: Session, parts: Parts, stage: str, title: str, rows: int, *, encoder: str) -> Work:
    splits = [split.name for split in (parts.audited, parts.train) if split is not None]
    version_id = None if encoder else parts.version.id
    known = runs.computed_splits(session, stage, parts.dataset.id, version_id=version_id, encoder=encoder)
    sizes = {split.name: split.stop - split.start for split in datasets.splits(session, parts.dataset.id)}
    cached = sum(sizes[name] for name in dict.fromkeys(splits) if name in known)
    rate = runs.rows_per_second(session, stage, version_id=version_id, encoder=encoder)
    return Work(title, rows, cached, (rows - cached) / rate if rate else None)


def _submit(session: Session, run: AuditRun) -> AuditRun:
    runs.add(session, run)
    queue.enqueue(session, "audit_run", run.id)
    accounts.log(session, run.created_by, "run_started", project_id=run.project_id, subject=("run", run.id))
    return run


def find_parts(session: Session, project_id: int, request: RunRequest) -> Parts:
    """Return what an audit is made of, once all that it reads is known to be there.

    Raises:
        FieldError: a part is missing, unfit, or not in the project; the encoder, the images or the predictions of the
            model cannot be had.
    """
    parts, kinds, encoder = _parts(session, project_id, request), _kinds(request.kinds), _encoder(request.encoder)
    version, dataset = parts.version, parts.dataset
    fit.require_encoder(encoder)
    fit.require_embeddings(encoder, version, dataset, kinds)
    fit.require_images(encoder, version, dataset, kinds)
    fit.require_predictions(version, registry.checkpoints(session, version.id), dataset, parts.audited)
    return parts


def _parts(session: Session, project_id: int, request: RunRequest) -> Parts:
    version = registry.version_by_id(session, request.model_version_id)
    model = registry.get_model(session, version.model_id) if version else None
    if version is None or model is None or model.project_id != project_id:
        raise FieldError("model_version_id", "Choose a model of this project.")
    if version.status != "succeeded":
        raise FieldError("model_version_id", "This version has not passed its smoke run; open it to see why.")
    dataset = datasets.get(session, request.dataset_id)
    if dataset is None or dataset.project_id != project_id:
        raise FieldError("dataset_id", "Choose a data set of this project.")
    if dataset.status != "succeeded":
        raise FieldError("dataset_id", f"“{dataset.name}” is not imported; open it to see why.")
    audited = _split(session, dataset, request.split, "split")
    train = _split(session, dataset, request.train_split, "train_split") if request.train_split else None
    fit.require_shared_class(version, dataset)
    return Parts(version, dataset, audited, train)


def _split(session: Session, dataset: Dataset, name: str, field: str) -> DatasetSplit:
    found = datasets.split(session, dataset.id, name)
    if found is None or found.stop <= found.start:
        there = ", ".join(split.name for split in datasets.splits(session, dataset.id))
        raise FieldError(field, f"“{dataset.name}” has no rows in a split “{name}”. It has: {there}.")
    return found


def _kinds(names: Sequence[str]) -> list[str]:
    chosen = list(dict.fromkeys(names)) or [name for name in sorted(kinds()) if kinds()[name].by_default]
    try:
        return [kind_named(name).name for name in chosen]
    except NotFound as error:
        raise FieldError("kinds", error.message) from error


def _require_known(given: Mapping[str, Any], known: Collection[str], field: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise FieldError(field, f"There is nothing called “{unknown[0]}” to set; there is {', '.join(sorted(known))}.")


def _params(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    _require_known(raw, kind_named(name).params.model_fields, name)
    try:
        return kind_named(name).params.model_validate(raw).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([name, *(str(part) for part in first["loc"][:1])])
        raise FieldError(place, first["msg"].removeprefix("Value error, ") + ".") from error


def _encoder(text: str) -> str:
    return text.strip() or get_settings().encoder


def _name(session: Session, parts: Parts) -> str:
    model = registry.get_model(session, parts.version.model_id)
    assert model is not None
    return f"{model.name} v{parts.version.number} on {parts.dataset.name} / {parts.audited.name}"[:200]
