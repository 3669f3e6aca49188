"""A project's settings: its name, its members and their roles, invitations."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from app.errors import Conflict, NotFound, UserError
from app.services import passwords
from app.services import projects as service
from app.store.models import Project
from app.store.repositories import projects as repository
from app.web.deps import Access, ProjectAccess, SentForm
from app.web.forms import Form, text
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Projects")
TEMPLATE = "projects/show.html"


class MemberRow(BaseModel):
    """A person in a project."""

    user_id: int
    name: str
    email: str
    role: str = Field(description="viewer, analyst or owner")
    joined: bool = Field(description="Whether they have set a password, so that they can sign in.")


class ProjectPage(BaseModel):
    """A project and who is in it."""

    id: int
    name: str
    role: str = Field(description="The asking person's role.")
    members: list[MemberRow]
    models: int
    datasets: int
    runs: int
    invitation: str = Field("", description="Address to send to a person who was just invited; shown once.")
    invited: str = Field("", description="The address of the person who was just invited.")
    reset: str = Field("", description="Address to send to a member who forgot the password; shown once.")
    reset_for: str = Field("", description="That member's e-mail address.")
    form: Form


class ResetLink(BaseModel):
    """A link with which a person sets a new password."""

    email: str
    address: str


@pages.page("/projects/{project_id}", TEMPLATE)
def project(access: ProjectAccess, project_id: int) -> ProjectPage:
    """A project's members and what it holds."""
    return _project(access, access.project(project_id), Form())


@pages.html.post("/projects/{project_id}/name")
def rename(request: Request, access: ProjectAccess, sent: SentForm, project_id: int) -> Response:
    """Rename a project."""
    found = access.project(project_id, "owner")
    try:
        service.rename(access.session, found, text(sent, "name"), access.user)
    except UserError as error:
        return render(request, TEMPLATE, _project(access, found, Form.typed(sent, error)), error.status)
    return _back(project_id)


@pages.html.post("/projects/{project_id}/members")
def invite(request: Request, access: ProjectAccess, sent: SentForm, project_id: int) -> Response:
    """Invite a person; who has no account yet gets a link to set a password."""
    found = access.project(project_id, "owner")
    try:
        with access.session.begin_nested():
            made = service.invite(access.session, found, text(sent, "email"), text(sent, "role"), access.user)
    except UserError as error:
        return render(request, TEMPLATE, _project(access, found, Form.typed(sent, error)), error.status)
    page = _project(access, found, Form())
    page.invited = made.user.email
    if made.token:
        page.invitation = _address(request, f"/invitations/{made.token}")
    return render(request, TEMPLATE, page)


@pages.html.post("/projects/{project_id}/members/{user_id}/reset")
def reset_member(request: Request, access: ProjectAccess, project_id: int, user_id: int) -> Response:
    """Make a link with which a member sets a new password, and show it, this once."""
    found = access.project(project_id, "owner")
    link = _reset_link(access, found, user_id)
    page = _project(access, found, Form())
    page.reset, page.reset_for = _address(request, f"/reset/{link.token}"), link.email
    return render(request, TEMPLATE, page)


@pages.api.post("/projects/{project_id}/members/{user_id}/reset", status_code=201)
def make_reset_link(request: Request, access: ProjectAccess, project_id: int, user_id: int) -> ResetLink:
    """Make a link with which a member sets a new password, once, within 24 hours."""
    link = _reset_link(access, access.project(project_id, "owner"), user_id)
    return ResetLink(email=link.email, address=_address(request, f"/reset/{link.token}"))


@pages.html.post("/projects/{project_id}/members/{user_id}")
def change_member(request: Request, access: ProjectAccess, sent: SentForm, project_id: int, user_id: int) -> Response:
    """Change a member's role, or end the membership."""
    found = access.project(project_id, "owner")
    try:
        if text(sent, "role") == "remove":
            service.remove_member(access.session, found, user_id, access.user)
        else:
            service.change_role(access.session, found, user_id, text(sent, "role"), access.user)
    except (UserError, Conflict) as error:
        return render(request, TEMPLATE, _project(access, found, Form.typed(sent, error)), error.status)
    still_member = access.may(project_id, "viewer")
    return _back(project_id) if still_member else RedirectResponse(url("/"), 303)


class _Link(NamedTuple):
    email: str
    token: str


def _reset_link(access: Access, found: Project, user_id: int) -> _Link:
    members = {member.user.id: member.user for member in repository.members(access.session, found.id)}
    if user_id not in members:
        raise NotFound("This person is no member of the project.")
    user = members[user_id]
    return _Link(user.email, passwords.make_link(access.session, access.user, user))


def _address(request: Request, path: str) -> str:
    """The whole address of one of our paths, as the asking browser reaches it."""
    return str(request.base_url).rstrip("/").removesuffix(url("/").rstrip("/")) + url(path)


def _back(project_id: int) -> Response:
    return RedirectResponse(url(f"/projects/{project_id}"), 303)


def _project(access: Access, found: Project, form: Form) -> ProjectPage:
    members = [
        MemberRow(user_id=user.id, name=user.name, email=user.email, role=role, joined=bool(user.password_hash))
        for user, role in repository.members(access.session, found.id)
    ]
    held = repository.counts(access.session, found.id)
    role = access.role(found.id)
    return ProjectPage(id=found.id, name=found.name, role=role, members=members, form=form, **held._asdict())
