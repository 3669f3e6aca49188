"""Who acts on the command line: the machine's operator, as the first administrator, in one project."""

from __future__ import annotations

import os
import secrets
from typing import Annotated, NamedTuple

import typer
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.services import accounts, projects, queue
from app.store.models import Project, User
from app.store.repositories import accounts as people
from app.store.repositories import projects as project_rows

ProjectOption = Annotated[
    str, typer.Option("--project", envvar="FAULTLINE_PROJECT", help="Project's name; empty: the oldest one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Actor(NamedTuple):
    """The person, and the project that a command is about."""

    user: User
    project: Project


def prepare() -> None:
    """Bring the database up to date before a command looks at it."""
    queue.prepare()


def actor(session: Session, project: str = "") -> Actor:
    """Return who acts, making the first owner where there is none yet.

    `FAULTLINE_USER` names another person's address.

    Raises:
        NotFound: no such person or project.
    """
    address = os.environ.get("FAULTLINE_USER", "")
    user = people.by_email(session, address) if address else people.first_admin(session)
    if user is None and address:
        raise NotFound(f"There is no account for {address} (FAULTLINE_USER).")
    user = user or _first_owner(session)
    mine = [joined.project for joined in project_rows.of_user(session, user.id)]
    found = next((p for p in sorted(mine, key=lambda p: p.id) if project in {"", p.name}), None)
    if found is None and project:
        found = projects.create(session, user, project)
        typer.echo(f"Made the project “{project}”.", err=True)
    return Actor(user, found or projects.create(session, user, "First project"))


def _first_owner(session: Session) -> User:
    password = secrets.token_urlsafe(12)
    email = "owner@localhost"
    user = accounts.create_owner(session, email=email, name="Owner", password=password)
    typer.echo(f"Made the first account. In the browser, sign in as {email} with the password {password}", err=True)
    return user
