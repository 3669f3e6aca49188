"""New audit: model × data set × splits × kinds, what it will cost, and what is computed already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from app.audits import kind as kind_named
from app.audits import kinds as known
from app.errors import FaultlineError, UserError
from app.services import request_audit as service
from app.services.approve_version import retired_note
from app.services.budgets import budgets, with_budget
from app.services.request_audit import RunRequest
from app.settings import get_settings
from app.store.repositories import datasets, decisions, registry
from app.web.deps import Access, ProjectAccess, SentForm
from app.web.forms import Form, read_as, text, texts
from app.web.generic_form import read_fields
from app.web.kind_form import KindSection, sections
from app.web.scope import ProjectOption, writable
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("New audit")
NEW = "audits/new.html"


class Option(BaseModel):
    """A choice in a list."""

    value: str
    text: str
    rows: int = Field(0, description="Images of a split.")


class WorkRow(BaseModel):
    """One costly part of the audit."""

    title: str
    rows: int
    cached: int = Field(description="Rows that earlier runs have computed.")
    seconds: float | None = Field(description="Expected time of the rest, from the newest run that did the same.")
    unit: str = Field(description="What is counted: rows, images shown to the network, or networks to train.")


class NewAuditPage(BaseModel):
    """The form of a new audit."""

    project_id: int | None
    projects: list[ProjectOption]
    models: list[Option] = Field(description="Versions that passed their check.")
    datasets: list[Option] = Field(description="Data sets with their splits: <id>/<split>.")
    train_splits: list[Option]
    encoders: list[Option]
    encoder: str = Field(description="The installation's default encoder.")
    sections: list[KindSection] = Field(description="Audit kinds under their headings.")
    budgets: list[str] = Field(description="What can be chosen for all kinds that have budgets, the cheapest first.")
    chosen_model: str
    chosen_data: str
    chosen_train: str
    work: list[WorkRow] = Field(description="What the present choice costs; empty until there is one.")
    notes: list[str] = Field(description="How the classes of data set and model fit.")
    problem: str = Field(description="Why the present choice cannot be audited.")
    form: Form


@pages.page("/audits/new", NEW)
def new_audit(
    access: ProjectAccess,
    project: int | None = None,
    model: int | None = None,
    version: int | None = None,
    dataset: int | None = None,
    data: str = "",
    train: str = "",
    model_version: str = "",
    encoder: str = "",
    kinds: Annotated[list[str] | None, Query(description="Audit kinds that come ticked; none: the cheap ones.")] = None,
) -> NewAuditPage:
    """The form of a new audit; `model_version`, `data`, `train` and `encoder` make a choice to be costed."""
    if model is not None:
        found = access.version(model, version or 1, "analyst")
        project, model_version = access.model(model).project_id, str(found.id)
    if dataset is not None:
        project = access.dataset(dataset, "analyst").project_id
        data = data or f"{dataset}/"
    given = {"encoder": [encoder] if encoder else [], "kinds": kinds or []}
    form = Form(values={name: values for name, values in given.items() if values}, begun=True)
    ready = [name for name in kinds or [] if name in known() and not known()[name].second_set]
    asked: dict[str, dict[str, Any]] = {name: {} for name in ready}
    return _new(access, project, form, (model_version, data, train), asked)


@pages.html.post("/audits/new")
def start_audit(request: Request, access: ProjectAccess, sent: SentForm) -> Response:
    """Start the audit, or cost it first when that button was pressed."""
    chosen = text(sent, "project_id")
    project_id = access.project(int(chosen) if chosen.isdigit() else 0, "analyst").id
    choice = (text(sent, "model_version"), text(sent, "data"), text(sent, "train"))
    try:
        wanted = _wanted(sent)
        if "estimate" in sent:
            return render(request, NEW, _new(access, project_id, Form.typed(sent), choice, wanted.params))
        run = service.request_audit(access.session, project_id, access.user, wanted)
    except UserError as error:
        return render(request, NEW, _new(access, project_id, Form.typed(sent, error), choice), error.status)
    return RedirectResponse(url(f"/runs/{run.id}"), 303)


def _wanted(sent: SentForm) -> RunRequest:
    chosen = texts(sent, "kinds")
    there = [name for name in chosen if name in known()]
    params = {name: read_fields(kind_named(name).params, name, sent) for name in there}
    params = with_budget(params, there, text(sent, "budget"))
    more = {"kinds": chosen, "params": params, "seed": text(sent, "seed") or 0, "name": text(sent, "name")}
    choice = (text(sent, "model_version"), text(sent, "data"), text(sent, "train"))
    return _request(choice, text(sent, "encoder"), **more)


def _request(choice: tuple[str, str, str], encoder: str, **more: object) -> RunRequest:
    version, data, train = choice
    dataset, _, split = data.partition("/")
    raw = {
        "model_version_id": version if version.isdigit() else 0,
        "dataset_id": dataset if dataset.isdigit() else 0,
        "split": split,
        "train_split": train.partition("/")[2],
        "encoder": encoder,
        **more,
    }
    request = read_as(RunRequest, raw)
    assert isinstance(request, RunRequest)
    return request


def _new(
    access: Access,
    project_id: int | None,
    form: Form,
    choice: tuple[str, str, str],
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> NewAuditPage:
    projects = writable(access, project_id)
    chosen = projects[0].id if projects else None
    models = _models(access, chosen)
    data = _splits(access, chosen)
    choice = _completed(choice, models, data)
    work, notes, problem = _cost(access, chosen, choice, form.value("encoder", get_settings().encoder), params)
    return NewAuditPage(
        project_id=chosen,
        projects=projects,
        models=models,
        datasets=data,
        train_splits=[option for option in data if option.value.partition("/")[0] == choice[1].partition("/")[0]],
        encoders=_encoders(),
        encoder=get_settings().encoder,
        sections=sections(next((split.rows for split in data if split.value == choice[1]), 0)),
        budgets=budgets(),
        chosen_model=choice[0],
        chosen_data=choice[1],
        chosen_train=choice[2],
        work=work,
        notes=notes,
        problem=problem,
        form=form,
    )


def _completed(choice: tuple[str, str, str], models: list[Option], data: list[Option]) -> tuple[str, str, str]:
    """Fill in what was not chosen: the newest model, a split that is not called train, the training split beside it."""
    version = choice[0] or (models[0].value if models else "")
    options = [option.value for option in data]
    wanted = [value for value in options if value.startswith(choice[1])]
    held_out = [value for value in wanted if not value.endswith("/train")]
    chosen = choice[1] if choice[1] in options else next(iter(held_out or wanted), "")
    beside = f"{chosen.partition('/')[0]}/train"
    train = choice[2] or (beside if beside in options and beside != chosen else "")
    return version, chosen, train


def _cost(
    access: Access,
    project_id: int | None,
    choice: tuple[str, str, str],
    encoder: str,
    params: Mapping[str, Mapping[str, Any]] | None,
) -> tuple[list[WorkRow], list[str], str]:
    if project_id is None or not (choice[0] and choice[1]):
        return [], [], ""
    try:
        parts = service.find_parts(access.session, project_id, _request(choice, encoder))
        work = [WorkRow(**part._asdict()) for part in service.estimate(access.session, parts, encoder, params)]
        notes = service.notes(access.session, parts, encoder, params or {})
    except FaultlineError as error:
        return [], [], error.message
    retired = retired_note(access.session, parts.version)
    return work, [*([retired] if retired else []), *notes], ""


def _models(access: Access, project_id: int | None) -> list[Option]:
    if project_id is None:
        return []
    found = registry.choices(access.session, project_id)
    standing = decisions.standing(access.session, [version.id for version, _ in found])
    said = {version_id: decision.decision for version_id, decision in standing.items()}
    found.sort(key=lambda choice: said.get(choice.version.id) == "retired")
    return [
        Option(
            value=str(version.id),
            text=f"{model.name}, version {version.number}" + (f" ({said[version.id]})" if version.id in said else ""),
        )
        for version, model in found
    ]


def _splits(access: Access, project_id: int | None) -> list[Option]:
    if project_id is None:
        return []
    return [
        Option(
            value=f"{dataset.id}/{split.name}",
            text=f"{dataset.name} / {split.name} ({split.stop - split.start:,})",
            rows=split.stop - split.start,
        )
        for dataset in datasets.choices(access.session, project_id)
        for split in datasets.splits(access.session, dataset.id)
    ]


def _encoders() -> list[Option]:
    return [
        Option(value="scenes", text="scenes: bundled, for the demo's pictures; reads text"),
        Option(value="open_clip:ViT-B-32/laion2b_s34b_b79k", text="open_clip ViT-B-32, laion2b; reads text"),
        Option(value="penultimate", text="the model's own penultimate layer; reads no text"),
        Option(value="given", text="embeddings that came with the data set"),
    ]
