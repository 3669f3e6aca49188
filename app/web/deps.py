"""What endpoints ask for: the database, the person, and access to objects. Membership is checked here only."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeAlias, TypeVar

from fastapi import Depends, Request
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from app.errors import Forbidden, NotFound, Unauthenticated
from app.services import accounts
from app.services.projects import RANK
from app.store.durable import storage_errors
from app.store.models import (
    AuditRun,
    Dataset,
    Finding,
    Model,
    ModelVersion,
    Project,
    Query,
    Report,
    Upload,
    User,
)
from app.store.repositories import datasets, findings, projects, queries, registry, reports, runs
from app.store.session import reading, transaction
from app.web import csrf

T = TypeVar("T")
Role: TypeAlias = projects.Role
SESSION_COOKIE = "faultline_session"
_SAFE = {"GET", "HEAD", "OPTIONS"}


def database(request: Request) -> Iterator[Session]:
    """Yield the request's session: one transaction, committed when the endpoint returns; a GET only reads."""
    with (reading if request.method in _SAFE else transaction)() as session:
        yield session


Db = Annotated[Session, Depends(database, scope="function")]


class Person(NamedTuple):
    """The signed-in person as every page names them; outlives the database session, for pages of errors."""

    id: int
    name: str
    email: str


@dataclass(frozen=True)
class Signed:
    """Who asks, and how they proved it."""

    user: User
    by_token: bool


def signed_in(request: Request) -> Signed:
    """Return who asks, by bearer token or session cookie.

    Looks in a session of its own: a form is received before the request's transaction begins, however slow its sender.

    Raises:
        Unauthenticated: nobody is signed in; a page sends them to the sign-in form.
    """
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return Signed(_bearer(bearer.strip()), by_token=True)
    with reading() as session:
        found = accounts.session_of(session, request.cookies.get(SESSION_COOKIE, ""))
    if found is None:
        raise Unauthenticated("Sign in first.")
    request.state.user = Person(found.user.id, found.user.name, found.user.email)
    request.state.csrf_token = found.session.csrf_token
    return Signed(found.user, by_token=False)


def _bearer(given: str) -> User:
    with reading() as session:
        found = accounts.token_of(session, given)
    if found is None:
        raise Unauthenticated("This API token is unknown or revoked. Make a new one on your account page.")
    if accounts.stale(found.token):
        with transaction() as writing:
            accounts.touch(writing, found.token.id)
    return found.user


async def sent_form(request: Request) -> FormData:
    """Return the form of an HTML request; large files are spooled to disk, never held in memory.

    Raises:
        StorageFull: there is no space for them.
    """
    with storage_errors():
        return await request.form(max_files=1_000, max_fields=5_000)


SentForm = Annotated[FormData, Depends(sent_form)]


async def protected(request: Request) -> AsyncIterator[None]:
    """Find the CSRF token of a request that changes something; close the files of its form when it is answered."""
    try:
        if request.method not in _SAFE:
            request.state.csrf_given = await _given_token(request)
        yield
    finally:
        await request.close()


async def _given_token(request: Request) -> str:
    given = request.headers.get("X-CSRF-Token", "")
    if not given and "form" in request.headers.get("Content-Type", ""):
        value = (await sent_form(request)).get("csrf", "")
        given = value if isinstance(value, str) else ""
    return given


def verified(
    request: Request, who: Annotated[Signed, Depends(signed_in)], _: Annotated[None, Depends(protected)]
) -> Signed:
    """Return who asks, once the request is known to be meant."""
    if request.method not in _SAFE and not who.by_token:
        csrf.check(request, request.state.csrf_given)
    return who


Me = Annotated[Signed, Depends(verified)]


def visiting(request: Request, _: Annotated[None, Depends(protected)]) -> None:
    """Demand the CSRF token of a form that is sent before anybody signed in."""
    if request.method not in _SAFE:
        csrf.check(request, getattr(request.state, "csrf_given", ""))


Visiting = Depends(visiting)


class Access:
    """The objects that the signed-in person may see. Other people's objects do not exist for them.

    Each method raises NotFound where the person is no member of the object's project, Forbidden where their role
    there is below `role`.
    """

    def __init__(self, session: Session, me: Signed) -> None:
        user = session.get(User, me.user.id)
        if user is None:
            raise Unauthenticated("Sign in first.")
        self.session = session
        self.user = user
        self.by_token = me.by_token

    def project(self, project_id: int, role: Role = "viewer") -> Project:
        """Return a project."""
        held = projects.role_of(self.session, self.user.id, project_id)
        project = self.session.get(Project, project_id) if held else None
        if held is None or project is None:
            raise NotFound("There is no such page, or it belongs to a project that you are not a member of.")
        if RANK[held] < RANK[role]:
            raise Forbidden(f"In “{project.name}” you are {held}; this needs {role}. Ask an owner of the project.")
        return project

    def role(self, project_id: int) -> Role:
        """Return the person's role in a project that they are a member of."""
        self.project(project_id)
        return projects.role_of(self.session, self.user.id, project_id) or "viewer"

    def may(self, project_id: int, role: Role) -> bool:
        """Whether the person's role in the project is at least `role`."""
        held = projects.role_of(self.session, self.user.id, project_id)
        return held is not None and RANK[held] >= RANK[role]

    def model(self, model_id: int, role: Role = "viewer") -> Model:
        """Return a model."""
        model = self._found(registry.get_model(self.session, model_id))
        self.project(model.project_id, role)
        return model

    def version(self, model_id: int, number: int, role: Role = "viewer") -> ModelVersion:
        """Return a model's version by its number."""
        self.model(model_id, role)
        return self._found(registry.get_version(self.session, model_id, number))

    def dataset(self, dataset_id: int, role: Role = "viewer") -> Dataset:
        """Return a data set."""
        dataset = self._found(datasets.get(self.session, dataset_id))
        self.project(dataset.project_id, role)
        return dataset

    def run(self, run_id: int, role: Role = "viewer") -> AuditRun:
        """Return a run."""
        run = self._found(runs.get(self.session, run_id))
        self.project(run.project_id, role)
        return run

    def finding(self, finding_id: int, role: Role = "viewer") -> Finding:
        """Return a finding, a slice for example."""
        finding = self._found(findings.get(self.session, finding_id))
        self.run(finding.run_id, role)
        return finding

    def query(self, query_id: int, role: Role = "viewer") -> Query:
        """Return an analyst's question."""
        query = self._found(queries.get(self.session, query_id))
        self.run(query.run_id, role)
        return query

    def report(self, report_id: int, role: Role = "viewer") -> Report:
        """Return a report."""
        report = self._found(reports.get(self.session, report_id))
        self.project(report.project_id, role)
        return report

    def upload(self, token: str, role: Role = "analyst") -> Upload:
        """Return an upload under way, which only the person who began it may go on with."""
        upload = self._found(datasets.get_upload(self.session, token))
        self.project(upload.project_id, role)
        if upload.created_by != self.user.id:
            raise NotFound("There is no such upload.")
        return upload

    @staticmethod
    def _found(thing: T | None) -> T:
        if thing is None:
            raise NotFound("There is no such page, or it belongs to a project that you are not a member of.")
        return thing


def access(session: Db, me: Me) -> Access:
    """Return the signed-in person's access."""
    return Access(session, me)


ProjectAccess = Annotated[Access, Depends(access)]


def looking(me: Me) -> Iterator[Access]:
    """Yield the signed-in person's access for reading, whatever the method of the request.

    For endpoints that take in files: those open a short transaction of their own once the bytes are stored, since on
    SQLite a transaction keeps all other writers waiting.
    """
    with reading() as session:
        yield Access(session, me)


Looking = Annotated[Access, Depends(looking, scope="function")]


def etag(*parts: object) -> str:
    """Return a strong entity tag over `parts`."""
    return '"' + hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32] + '"'
