"""What people do with a slice: judge, comment, rename, merge, split, extend."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from app.errors import NotFound, UserError
from app.services import annotate
from app.store.models import Finding
from app.web.deps import Access, ProjectAccess, SentForm
from app.web.forms import Form, text, texts
from app.web.pages.results_grid import ImageFilter
from app.web.pages.results_slice import show_slice
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Slices")
BASE = "/runs/{run_id}/slices/{finding_id}"


class Made(BaseModel):
    """The slice to go on with."""

    id: int
    href: str = Field(description="Its page.")


class Judged(BaseModel):
    """A verdict."""

    verdict: str = Field(description="accept, reject or unsure.")


@pages.api.post(f"{BASE}/verdict")
def judge(access: ProjectAccess, run_id: int, finding_id: int, body: Judged) -> Made:
    """Judge a slice."""
    finding = slice_of(access, run_id, finding_id)
    annotate.judge(access.session, finding, access.user, body.verdict)
    return Made(id=finding.id, href=f"/runs/{run_id}/slices/{finding.id}")


@pages.html.post(f"{BASE}/verdict")
def judge_form(request: Request, access: ProjectAccess, run_id: int, finding_id: int, sent: SentForm) -> Response:
    """Judge a slice; a form that names where it stands goes back there."""

    def act(finding: Finding) -> int:
        annotate.judge(access.session, finding, access.user, text(sent, "verdict"))
        return finding.id

    return acted(request, access, run_id, finding_id, sent, act, list_anchor=text(sent, "from") == "list")


@pages.html.post(f"{BASE}/comment")
def comment_form(request: Request, access: ProjectAccess, run_id: int, finding_id: int, sent: SentForm) -> Response:
    """Comment on a slice."""

    def act(finding: Finding) -> int:
        annotate.remark(access.session, finding, access.user, text(sent, "text"))
        return finding.id

    return acted(request, access, run_id, finding_id, sent, act)


@pages.html.post(f"{BASE}/rename")
def rename_form(request: Request, access: ProjectAccess, run_id: int, finding_id: int, sent: SentForm) -> Response:
    """Give a slice another name."""

    def act(finding: Finding) -> int:
        return annotate.rename(access.session, finding, access.user, text(sent, "title")).id

    return acted(request, access, run_id, finding_id, sent, act)


@pages.html.post(f"{BASE}/merge")
def merge_form(request: Request, access: ProjectAccess, run_id: int, finding_id: int, sent: SentForm) -> Response:
    """Merge a slice with another one."""

    def act(finding: Finding) -> int:
        others = [slice_of(access, run_id, number) for number in numbers(sent, "other")]
        run = access.run(run_id)
        return annotate.merge(access.session, run, [finding, *others], access.user, text(sent, "merged_title")).id

    return acted(request, access, run_id, finding_id, sent, act)


@pages.html.post(f"{BASE}/split")
def split_form(request: Request, access: ProjectAccess, run_id: int, finding_id: int, sent: SentForm) -> Response:
    """Make the picked images a slice of their own."""

    def act(finding: Finding) -> int:
        run = access.run(run_id)
        return annotate.split(access.session, run, finding, access.user, numbers(sent, "rows"))[0].id

    return acted(request, access, run_id, finding_id, sent, act)


def acted(
    request: Request,
    access: Access,
    run_id: int,
    finding_id: int,
    sent: SentForm,
    act: Callable[[Finding], int],
    *,
    list_anchor: bool = False,
) -> Response:
    """Do it and show the slice to go on with; on an error show the page again with all that was typed."""
    finding = slice_of(access, run_id, finding_id)

    def go() -> str:
        number = act(finding)
        return f"/runs/{run_id}/slices" + (f"#slice-{number}" if list_anchor else f"/{number}")

    def again(form: Form) -> BaseModel:
        return show_slice(access, run_id, finding_id, ImageFilter(), form)

    return went(request, access, sent, go, "results/slice.html", again)


def went(
    request: Request,
    access: Access,
    sent: SentForm,
    go: Callable[[], str],
    template: str,
    again: Callable[[Form], BaseModel],
) -> Response:
    """Do what a form asks and go to the path that it leads to; on an error show the page again with what was typed."""
    try:
        path = go()
    except UserError as error:
        access.session.rollback()
        return render(request, template, again(Form.typed(sent, error)), error.status)
    return RedirectResponse(url(path), 303)


def slice_of(access: Access, run_id: int, finding_id: int) -> Finding:
    """Return a slice that the person may change.

    Raises:
        NotFound: the run has no such slice.
    """
    finding = access.finding(finding_id, "analyst")
    if finding.run_id != run_id:
        raise NotFound("There is no such slice in this run.")
    return finding


def numbers(sent: SentForm, name: str) -> list[int]:
    """Read numbers that come one a field, or several in one field with commas."""
    words = [word for value in texts(sent, name) for word in value.replace(",", " ").split()]
    if not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words):
        raise UserError("These are no image numbers; pick the images on the page.")
    return [int(word) for word in words]
