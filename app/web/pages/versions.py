"""A model version: what the file says, how the smoke run went, what it proposes, accuracy per data set."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.audits.pieces import Estimate
from app.services.register_model import proposal_of
from app.store.models import ModelVersion
from app.store.repositories import registry
from app.web.deps import Access, ProjectAccess
from app.web.forms import Form
from app.web.model_record import AccuracyRow, DecisionRow, accuracies, history
from app.web.progress import Progress, progress_of
from app.web.twins import Pages

pages = Pages("Models")


class CheckpointRow(BaseModel):
    """One file of weights; the last one predicts."""

    position: int
    filename: str
    sha256: str
    size: int = Field(description="Bytes.")


class Change(BaseModel):
    """One field that the smoke run proposes to change."""

    field: str
    old: str
    new: str


class ProposalBox(BaseModel):
    """What would explain the difference between claimed and measured accuracy."""

    changes: list[Change]
    accuracy: Estimate | None = Field(description="Accuracy on the sample with these changes.")
    explains: bool = Field(description="Whether the claim lies within that interval.")


class Guess(BaseModel):
    """What the model said of one sample image in the smoke run."""

    row: int
    name: str
    confidence: float


class VersionPage(BaseModel):
    """One version of a model."""

    model_id: int
    model: str
    project_id: int
    project: str
    number: int
    status: str = Field(description="queued, running, succeeded, failed or cancelled")
    format: str
    architecture: str
    outputs: str
    classes: list[str]
    preprocessing: dict[str, Any] = Field(description="Resize, crop, size, colour order, normalisation.")
    recipe: dict[str, Any] = Field(description="How it was trained, where it was said; with it, it can be retrained.")
    given: list[str] = Field(description="Fields that the person stated; the others come from the file or a default.")
    checkpoints: list[CheckpointRow]
    warnings: list[str]
    questions: list[str] = Field(description="What the file does not say and a person should check.")
    containment: list[str] = Field(description="The walls around the child process that ran it.")
    smoke: dict[str, Any] = Field(description="Shapes, latency and accuracy of the smoke run, empty before it.")
    measured: Estimate | None = Field(description="Accuracy on the smoke run's labelled sample.")
    claimed: float | None
    agrees: bool | None = Field(description="Whether claim and sample agree; none: nothing to compare.")
    guesses: list[Guess]
    proposal: ProposalBox | None
    accuracies: list[AccuracyRow]
    standing: str = Field(description="approved, retired, or empty before any decision.")
    history: list[DecisionRow] = Field(description="Approvals and retirements, newest first.")
    may_decide: bool = Field(description="Whether the person may approve and retire.")
    form: Form
    may_add: bool
    progress: Progress


@pages.page("/models/{model_id}/versions/{number}", "models/version.html")
def show_version(access: ProjectAccess, model_id: int, number: int) -> VersionPage:
    """A model version with its inspection, its smoke run and its measured accuracies."""
    return version_page(access, model_id, number, Form())


def version_page(access: Access, model_id: int, number: int, form: Form) -> VersionPage:
    """Return the version's page, with what was typed into its form."""
    version = access.version(model_id, number)
    model = access.model(model_id)
    decided = history(access.session, [version])
    spec, smoke, found = version.spec, version.smoke, version.inspection
    return VersionPage(
        model_id=model.id,
        model=model.name,
        project_id=model.project_id,
        project=access.project(model.project_id).name,
        number=version.number,
        status=version.status,
        format=version.format,
        architecture=_architecture(spec.get("architecture")),
        outputs=spec.get("outputs", ""),
        classes=spec.get("classes", []),
        preprocessing=spec.get("preprocessing", {}),
        recipe=version.claim.get("recipe") or {},
        given=version.claim.get("given", []),
        checkpoints=[
            CheckpointRow.model_validate(checkpoint, from_attributes=True)
            for checkpoint in registry.checkpoints(access.session, version.id)
        ],
        warnings=[*found.get("warnings", []), *smoke.get("warnings", []), *smoke.get("doubts", [])],
        questions=[q["text"] for q in found.get("questions", []) if q["field"] not in version.claim.get("given", [])],
        containment=_containment(smoke.get("containment") or found.get("containment")),
        smoke={name: smoke[name] for name in _SHOWN if smoke.get(name) is not None},
        measured=_measured(smoke.get("accuracy")),
        claimed=version.claim.get("accuracy"),
        agrees=smoke.get("agrees"),
        guesses=_guesses(smoke),
        proposal=_proposal(version),
        accuracies=accuracies(access.session, [version]),
        standing=next((row.decision for row in decided), ""),
        history=decided,
        may_decide=access.may(model.project_id, "owner"),
        form=form,
        may_add=access.may(model.project_id, "analyst"),
        progress=progress_of(access.session, "model_version", version.id, version.status, version.error),
    )


_SHOWN = ("input_shape", "output_shape", "features", "outputs", "milliseconds", "fixed_batch", "device")


def _architecture(value: Any) -> str:
    return f"{len(value)} layers, declared" if isinstance(value, list) else value or ""


def _containment(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}: {state}" for name, state in value.items()]
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)] if value else []


def _measured(figure: Any) -> Estimate | None:
    if not isinstance(figure, dict) or not figure.get("n"):
        return None
    low, high = figure.get("interval") or (None, None)
    return Estimate(value=figure["accuracy"], low=low, high=high, n=figure["n"])


def _guesses(smoke: dict[str, Any]) -> list[Guess]:
    return [
        Guess(row=guess["row"], name=str(guess["class"]), confidence=guess["confidence"])
        for guess in smoke.get("predictions", [])
    ]


def _proposal(version: ModelVersion) -> ProposalBox | None:
    changes = proposal_of(version)
    if not changes:
        return None
    old = {f"preprocessing.{name}": value for name, value in version.spec.get("preprocessing", {}).items()}
    old |= {name: version.spec.get(name) for name in ("classes", "outputs")}
    rows = [
        Change(field=name.removeprefix("preprocessing."), old=_words(old.get(name)), new=_words(value))
        for name, value in changes.items()
    ]
    proposal = version.smoke["proposal"]
    return ProposalBox(changes=rows, accuracy=_measured(proposal), explains=bool(proposal.get("explains")))


def _words(value: Any) -> str:
    if isinstance(value, list):
        shown = ", ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value[:12])
        return shown + (" …" if len(value) > 12 else "")
    return "as the crop" if value is None else str(value)
