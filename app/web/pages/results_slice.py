"""One slice: its panels, its images, what people said of it, and what they can do with it."""

from __future__ import annotations

from datetime import datetime

from fastapi.responses import Response
from pydantic import BaseModel, Field

from app.audits.base import Subject
from app.audits.pieces import Link
from app.errors import NotFound
from app.store.models import Finding
from app.store.repositories import findings as repository
from app.store.repositories import marks, projects
from app.store.repositories.findings import SUBJECT
from app.web.deps import Access, ProjectAccess
from app.web.forms import Form
from app.web.pages.results_grid import Choice, Filter, Grid, ImageFilter, grid
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader
from app.web.twins import Pages

pages = Pages("Slices")
MERGE_CHOICES = 200


class Said(BaseModel):
    """One person's verdict."""

    user: str
    verdict: str


class Remark(BaseModel):
    """A comment."""

    user: str
    text: str
    at: datetime


class SliceHead(BaseModel):
    """The slice itself."""

    id: int
    title: str
    evidence: str
    class_index: int | None
    class_name: str
    method: str
    origin: str
    version: int
    measured: bool = Field(description="Whether it has numbers from confirm rows yet.")
    rows_hash: str = Field(description="SHA-256 of the rows of a slice that people made.")


class SlicePage(BaseModel):
    """Everything on a slice's page."""

    run: RunHead
    slice: SliceHead
    panels: list[ShownPanel]
    verdicts: list[Said] = Field(description="Each person's newest verdict.")
    mine: str = Field(description="The person's own verdict; empty before it.")
    remarks: list[Remark]
    images: Grid
    parents: list[Link] = Field(description="Slices that it was made from.")
    replaced_by: list[Link] = Field(description="What became of it, when it is out of force.")
    retired: bool
    previous: str = Field(description="Path of the slice before it in the list.")
    next: str = Field(description="Path of the slice after it in the list.")
    others: list[Choice] = Field(description="Slices to merge with.")
    tags: list[str]
    known_tags: list[str] = Field(description="Tags in use on this run's slices.")
    assignee: str = Field(description="Name of who is to look at it; empty: nobody.")
    assignee_email: str
    members: list[Choice] = Field(description="Who can be asked to look at it: address and name.")
    form: Form


@pages.page("/runs/{run_id}/slices/{finding_id}", "results/slice.html")
def slice_page(access: ProjectAccess, run_id: int, finding_id: int, chosen: Filter) -> SlicePage:
    """A slice: exemplars, evidence, captions, causes, verdicts and comments."""
    return show_slice(access, run_id, finding_id, chosen, Form())


@pages.html.get("/runs/{run_id}/slices/{finding_id}/measured")
def measured(access: ProjectAccess, run_id: int, finding_id: int) -> Response:
    """Whether the slice has its numbers; once it has, the page loads itself anew."""
    finding = access.finding(finding_id)
    ready = finding.run_id == run_id and finding.metrics
    return Response(status_code=204, headers={"HX-Refresh": "true"} if ready else {})


def show_slice(access: Access, run_id: int, finding_id: int, chosen: ImageFilter, form: Form) -> SlicePage:
    """Return the slice's page, with what was typed into its form.

    Raises:
        NotFound: there is no such slice in this run.
    """
    reader = open_run(access, run_id)
    finding = repository.get(access.session, finding_id)
    if finding is None or finding.run_id != run_id or finding.subject != "slice":
        raise NotFound("There is no such slice in this run.")
    subject = Subject("slice", run_id, finding.class_index, finding.id)
    said = repository.judgements(access.session, SUBJECT, [finding.id])
    remarks = repository.comments(access.session, SUBJECT, [finding.id])
    path = f"{home(reader.run)}/slices/{finding.id}"
    return SlicePage(
        run=run_head(access, reader),
        slice=_head(reader, finding),
        panels=render_panels(subject, reader, [finding.kind, *(k for k in reader.run.kinds if k != finding.kind)]),
        verdicts=[Said(user=entry.user, verdict=entry.verdict) for entry in said],
        mine=next((entry.verdict for entry in said if entry.user_id == access.user.id), ""),
        remarks=[Remark(user=r.user, text=r.comment.text, at=r.comment.created_at) for r in remarks],
        images=grid(reader, chosen.model_copy(update={"slice": str(finding.id)}), path, fixed=_fixed(finding)),
        retired=finding.retired,
        form=form,
        **_around(reader, finding),
        **_marks(reader, finding),
    )


def _fixed(finding: Finding) -> tuple[str, ...]:
    """The filters that the page implies: the slice, and its class where it has one."""
    return ("slice",) if finding.class_index is None else ("slice", "label")


def _head(reader: LiveReader, finding: Finding) -> SliceHead:
    return SliceHead(
        id=finding.id,
        title=finding.title,
        evidence=finding.evidence,
        class_index=finding.class_index,
        class_name="" if finding.class_index is None else reader.class_name(finding.class_index),
        method=finding.method,
        origin=finding.origin,
        version=finding.version,
        measured=bool(finding.metrics),
        rows_hash=finding.rows_hash,
    )


def _around(reader: LiveReader, finding: Finding) -> dict[str, object]:
    """What it was made from, what became of it, and its neighbours in the list."""
    session = reader.session
    listed = repository.outline(session, reader.run_id)
    ids = [entry.id for entry in listed]
    here = ids.index(finding.id) if finding.id in ids else None
    parents = [repository.get(session, parent) for parent in finding.parents]
    successors = repository.successors(session, finding) if finding.retired else []
    return {
        "parents": [_link(reader, parent) for parent in parents if parent],
        "replaced_by": [_link(reader, newer) for newer in successors],
        "previous": _path(reader, ids[here - 1]) if here else "",
        "next": _path(reader, ids[here + 1]) if here is not None and here + 1 < len(ids) else "",
        "others": [
            Choice(value=str(entry.id), text=entry.title)
            for entry in sorted(listed, key=lambda entry: entry.class_index != finding.class_index)[:MERGE_CHOICES]
            if entry.id != finding.id
        ],
    }


def _marks(reader: LiveReader, finding: Finding) -> dict[str, object]:
    """Its tags, and who is to look at it."""
    session = reader.session
    given = marks.assigned(session, SUBJECT, [finding.id]).get(finding.id)
    people = [entry for entry in projects.members(session, reader.run.project_id) if entry.role != "viewer"]
    return {
        "tags": marks.tags(session, SUBJECT, reader.run_id, [finding.id]).get(finding.id, []),
        "known_tags": marks.names(session, SUBJECT, reader.run_id),
        "assignee": given.user if given else "",
        "assignee_email": next((e.user.email for e in people if given and e.user.id == given.user_id), ""),
        "members": [Choice(value=entry.user.email, text=entry.user.name) for entry in people],
    }


def _link(reader: LiveReader, finding: Finding) -> Link:
    return Link(text=finding.title, href=_path(reader, finding.id))


def _path(reader: LiveReader, finding_id: int) -> str:
    return reader.link(Subject("slice", reader.run_id, finding_id=finding_id))
