"""Migrations on both databases: forward, back, forward; what they make is what the tables say, and marks work on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.orm import Session

from app.store.migrate import alembic_config, upgrade
from app.store.models import Base, Finding, Project, Tag, Verdict
from app.store.repositories import findings, marks, runs
from app.store.session import make_engine
from tests import postgres
from tests.factories import create_run, create_user


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    with postgres.running() as server:
        yield server.new_database()


def test_marks_go_forward_back_and_forward(address: str) -> None:
    upgrade(address)
    command.downgrade(alembic_config(address), "0002")
    upgrade(address)
    engine = make_engine(address)
    tables = set(Base.metadata.tables)
    with engine.connect() as connection:
        options = {"include_name": lambda name, kind, _parents: kind != "table" or name in tables}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
        assert [change for change in found if "tag" in str(change) or "assignment" in str(change)] == []
    with Session(engine) as session:
        marks_are_kept_found_and_handed_on(session)
    engine.dispose()


def marks_are_kept_found_and_handed_on(session: Session) -> None:
    """Tags and assignments as the pages use them, on whatever database this is."""
    user = create_user(session, "ada@example.org")
    project = session_project(session)
    run = create_run(session, project, status="succeeded")
    old, new = (finding(session, run.id, f"k{number}") for number in range(2))
    for name in ("night", "night", "dusk"):
        marks.add_tag(session, Tag(project_id=project, subject_type=findings.SUBJECT, scope_id=run.id,
                                   subject_id=old.id, name=name, user_id=user.id))  # fmt: skip
    marks.assign(session, findings.SUBJECT, old.id, user.id, user.id)
    assert [(w.run.id, w.ids) for w in marks.waiting_for(session, user.id, [project])] == [(run.id, [old.id])]
    assert [w.ids for w in runs.unreviewed(session, [project])] == [[old.id, new.id]]
    marks.hand_on(session, old.id, new.id)
    assert marks.tags(session, findings.SUBJECT, run.id, [old.id, new.id])[new.id] == ["dusk", "night"]
    assert marks.assigned_ids(session, run.id, user.id) == [new.id]
    assert [person.user_id for person in marks.assignees(session, run.id)] == [user.id]
    session.add(Verdict(subject_type=findings.SUBJECT, subject_id=new.id, user_id=user.id, verdict="accept"))
    session.flush()
    assert marks.waiting_for(session, user.id, [project]) == []


def session_project(session: Session) -> int:
    """A project of its own."""
    project = Project(name="Marks")
    session.add(project)
    session.flush()
    return project.id


def finding(session: Session, run_id: int, key: str) -> Finding:
    """A confirmed slice."""
    made = Finding(run_id=run_id, kind="slices", subject="slice", key=key, method="people", title=key,
                   evidence="confirmed", parents=[], metrics={})  # fmt: skip
    return findings.add(session, made)
