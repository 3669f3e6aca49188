"""Tags and assignments: what people hang on slices and images, and what an image's page changes."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app.errors import NotFound
from app.services import annotate, mark
from app.store.models import AuditRun, Finding
from app.web.deps import Access, ProjectAccess, SentForm
from app.web.forms import Form, text
from app.web.pages.results_grid import ImageFilter
from app.web.pages.results_images import show_image
from app.web.pages.results_run import home, open_run
from app.web.pages.results_triage import BASE, acted, numbers, slice_of, went
from app.web.twins import Pages

pages = Pages("Slices")
IMAGE = "/runs/{run_id}/images/{row}"


class Tagged(BaseModel):
    """A tag."""

    tag: str = Field(description="Letters, digits and spaces; at most 40.")


class Given(BaseModel):
    """Who is to look at a slice."""

    assignee: str = Field(description="A member's e-mail address; empty takes the slice from whoever has it.")


@pages.html.post(f"{BASE}/assign")
def assign_form(request: Request, access: ProjectAccess, run_id: int, finding_id: int, sent: SentForm) -> Response:
    """Give a slice to a person."""

    def act(finding: Finding) -> int:
        mark.assign(access.session, access.run(run_id), finding, text(sent, "assignee"), access.user)
        return finding.id

    return acted(request, access, run_id, finding_id, sent, act)


@pages.html.post(f"{BASE}/tag")
def tag_form(request: Request, access: ProjectAccess, run_id: int, finding_id: int, sent: SentForm) -> Response:
    """Put a tag on a slice, or take one off."""

    def act(finding: Finding) -> int:
        run = access.run(run_id)
        if text(sent, "remove"):
            mark.untag_slice(access.session, run, finding, text(sent, "remove"))
        else:
            mark.tag_slice(access.session, run, finding, access.user, text(sent, "tag"))
        return finding.id

    return acted(request, access, run_id, finding_id, sent, act)


@pages.html.post(f"{IMAGE}/tag")
def tag_image_form(request: Request, access: ProjectAccess, run_id: int, row: int, sent: SentForm) -> Response:
    """Put a tag on an image, or take one off."""

    def act(run: AuditRun) -> str:
        if text(sent, "remove"):
            mark.untag_image(access.session, run, row, text(sent, "remove"))
        else:
            mark.tag_image(access.session, run, row, access.user, text(sent, "tag"))
        return f"{home(run)}/images/{row}"

    return _acted_on_image(request, access, run_id, row, sent, act)


@pages.html.post(f"{IMAGE}/add")
def add_form(request: Request, access: ProjectAccess, run_id: int, row: int, sent: SentForm) -> Response:
    """Add an image to a slice."""

    def act(run: AuditRun) -> str:
        chosen = slice_of(access, run_id, next(iter(numbers(sent, "slice")), 0))
        made = annotate.extend(access.session, run, chosen, access.user, [row])
        return f"{home(run)}/slices/{made.id}"

    return _acted_on_image(request, access, run_id, row, sent, act)


@pages.api.post(f"{BASE}/tags", status_code=201)
def tag(access: ProjectAccess, run_id: int, finding_id: int, body: Tagged) -> Tagged:
    """Put a tag on a slice."""
    finding = slice_of(access, run_id, finding_id)
    return Tagged(tag=mark.tag_slice(access.session, access.run(run_id), finding, access.user, body.tag))


@pages.api.delete(f"{BASE}/tags/{{tag}}", status_code=204)
def untag(access: ProjectAccess, run_id: int, finding_id: int, tag: str) -> None:
    """Take a tag off a slice."""
    mark.untag_slice(access.session, access.run(run_id), slice_of(access, run_id, finding_id), tag)


@pages.api.put(f"{BASE}/assignee")
def assign(access: ProjectAccess, run_id: int, finding_id: int, body: Given) -> Given:
    """Give a slice to a member of the project."""
    finding = slice_of(access, run_id, finding_id)
    user = mark.assign(access.session, access.run(run_id), finding, body.assignee, access.user)
    return Given(assignee=user.email if user else "")


@pages.api.post(f"{IMAGE}/tags", status_code=201)
def tag_image(access: ProjectAccess, run_id: int, row: int, body: Tagged) -> Tagged:
    """Put a tag on an image."""
    run = _run_with(access, run_id, row)
    return Tagged(tag=mark.tag_image(access.session, run, row, access.user, body.tag))


@pages.api.delete(f"{IMAGE}/tags/{{tag}}", status_code=204)
def untag_image(access: ProjectAccess, run_id: int, row: int, tag: str) -> None:
    """Take a tag off an image."""
    mark.untag_image(access.session, _run_with(access, run_id, row), row, tag)


def _run_with(access: Access, run_id: int, row: int) -> AuditRun:
    reader = open_run(access, run_id, "analyst")
    if reader.score_reader.one(row) is None:
        raise NotFound(f"The image {row:,} is not in the split that this run audited.")
    return reader.run


def _acted_on_image(
    request: Request, access: Access, run_id: int, row: int, sent: SentForm, act: Callable[[AuditRun], str]
) -> Response:
    """Do it and go on; on an error show the image again with what was typed."""
    run = _run_with(access, run_id, row)

    def again(form: Form) -> BaseModel:
        return show_image(access, run_id, row, ImageFilter(), form)

    return went(request, access, sent, lambda: act(run), "results/image.html", again)
