"""Makes the objects that tests speak about; each takes what matters to the test and invents the rest."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.services import accounts
from app.store.models import (
    AuditRun,
    Dataset,
    DatasetSplit,
    Finding,
    LogLine,
    Membership,
    Model,
    ModelVersion,
    Project,
    Stage,
    User,
)
from app.store.session import transaction
from app.web.deps import SESSION_COOKIE

PASSWORD = "correct horse battery"
ROLES = ("owner", "analyst", "viewer", "outsider")


@dataclass
class Signed:
    """A person's browser: like a test client, with the CSRF token added to what it posts."""

    client: TestClient
    token: str

    def get(self, path: str, **more: Any) -> Any:
        """Open a page."""
        return self.client.get(path, headers=self._headers(more), **more)

    def post(self, path: str, data: dict[str, Any] | None = None, **more: Any) -> Any:
        """Send a form, with the token of a page that was just opened."""
        fields = {"csrf": self.csrf(), **(data or {})}
        return self.client.post(path, data=fields, headers=self._headers(more), **more)

    def send(self, method: str, path: str, **more: Any) -> Any:
        """Call the API as a script of a page does."""
        headers = {"X-CSRF-Token": self.csrf(), **self._headers(more)}
        return self.client.request(method, path, headers=headers, **more)

    def csrf(self) -> str:
        """Return a form's token from the account page."""
        page = self.client.get("/account", headers=self._headers({}))
        return csrf_of(page.text)

    def _headers(self, more: dict[str, Any]) -> dict[str, str]:
        return {"Cookie": f"{SESSION_COOKIE}={self.token}", **more.pop("headers", {})}


@dataclass
class People:
    """Accounts by role, and the project that the first three share."""

    project_id: int
    ids: dict[str, int]

    def sign_in(self, client: TestClient, role: str) -> Signed:
        """Return a browser of the person with this role."""
        with transaction() as session:
            user = session.get_one(User, self.ids[role])
            return Signed(client, accounts.start_session(session, user).token)


def csrf_of(html: str) -> str:
    """Return the CSRF token in a page."""
    found = re.search(r'name="csrf-token" content="([^"]+)"', html)
    assert found, html[:500]
    return found.group(1)


def people_of() -> People:
    """Store an owner, an analyst, a viewer and an outsider."""
    with transaction() as session:
        project = create_project(session, "Birds")
        ids = {}
        for role in ROLES:
            user = create_user(session, f"{role}@example.org")
            ids[role] = user.id
            if role != "outsider":
                session.add(Membership(project_id=project.id, user_id=user.id, role=role))
        session.flush()
        return People(project.id, ids)


def create_user(session: Session, email: str, password: str = "") -> User:
    """Store an account; without a password it cannot sign in by the form."""
    user = User(email=email, name=email.partition("@")[0].title(), password_hash="")
    if password:
        user.password_hash = accounts.hash_password(password)
    return _stored(session, user)


def create_project(session: Session, name: str = "Birds") -> Project:
    """Store a project without members."""
    return _stored(session, Project(name=name))


def create_dataset(session: Session, project_id: int, **fields: Any) -> Dataset:
    """Store an imported data set of three classes with a train and a test split, without an artifact."""
    values = {"name": "Garden", "status": "succeeded", "classes": ["finch", "robin", "wren"], "rows": 90}
    dataset = _stored(session, Dataset(project_id=project_id, **{**values, **fields}))
    _stored(session, DatasetSplit(dataset_id=dataset.id, name="test", start=0, stop=30, label_counts=[10, 10, 10]))
    _stored(session, DatasetSplit(dataset_id=dataset.id, name="train", start=30, stop=90, label_counts=[20, 20, 20]))
    return dataset


def create_version(session: Session, project_id: int, **fields: Any) -> ModelVersion:
    """Store a model with one checked version."""
    model = _stored(session, Model(project_id=project_id, name=fields.pop("name", "Feathers")))
    spec = {"format": "onnx", "classes": ["finch", "robin", "wren"], "outputs": "logits", "preprocessing": {}}
    values = {"number": 1, "status": "succeeded", "format": "onnx", "spec": spec}
    return _stored(session, ModelVersion(model_id=model.id, **{**values, **fields}))


def create_run(session: Session, project_id: int, **fields: Any) -> AuditRun:
    """Store a run that waits, with the model and data set that it is about unless they are given."""
    if "model_version_id" not in fields:
        fields["model_version_id"] = create_version(session, project_id).id
    if "dataset_id" not in fields:
        fields["dataset_id"] = create_dataset(session, project_id).id
    values = {"name": "Feathers on Garden", "split": "test", "encoder": "scenes", "seed": 0, "kinds": ["slices"]}
    return _stored(session, AuditRun(project_id=project_id, **{**values, **fields}))


def create_slice(session: Session, run_id: int, evidence: str = "confirmed") -> Finding:
    """Store a slice."""
    key = f"slice-{secrets.token_hex(4)}"
    words = {"kind": "slices", "subject": "slice", "method": "direction", "title": "a white cat on grass"}
    return _stored(session, Finding(run_id=run_id, key=key, class_index=0, evidence=evidence, **words))


def create_stage(session: Session, subject: str, subject_id: int, **fields: Any) -> Stage:
    """Store a stage of a job."""
    values = {"position": 0, "name": "predict", "title": "Predict", "total": 100, "done": 40, "status": "running"}
    return _stored(session, Stage(subject_type=subject, subject_id=subject_id, **{**values, **fields}))


def create_log(session: Session, subject: str, subject_id: int, text: str) -> LogLine:
    """Store a line of a job's log."""
    return _stored(session, LogLine(subject_type=subject, subject_id=subject_id, text=text))


def _stored(session: Session, row: Any) -> Any:
    session.add(row)
    session.flush()
    return row
