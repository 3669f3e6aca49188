"""Names and ids on the command line: one thing is meant, or the person is asked which."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session

from app.cli.find import find_dataset, find_version
from app.errors import NotFound, UserError
from app.store.session import transaction
from tests.factories import People, create_dataset, create_project, create_version


@pytest.fixture
def session(people: People) -> Iterator[Session]:
    with transaction() as session:
        yield session


def test_a_data_set_by_name_or_id(session: Session, people: People) -> None:
    garden = create_dataset(session, people.project_id)
    for text in ("Garden", str(garden.id), f"id:{garden.id}"):
        assert find_dataset(session, people.project_id, text).id == garden.id


def test_a_failed_import_holds_no_name(session: Session, people: People) -> None:
    good = create_dataset(session, people.project_id)
    create_dataset(session, people.project_id, status="failed")
    assert find_dataset(session, people.project_id, "Garden").id == good.id


def test_of_failed_imports_alone_the_newest_is_meant(session: Session, people: People) -> None:
    made = [create_dataset(session, people.project_id, status=status) for status in ("failed", "cancelled")]
    assert find_dataset(session, people.project_id, "Garden").id == made[1].id


def test_two_of_a_name_from_an_earlier_release_are_asked_about(session: Session, people: People) -> None:
    first, second = (create_dataset(session, people.project_id) for _ in range(2))
    with pytest.raises(UserError, match=f"more than one data set. Say which: id:{first.id} or id:{second.id}"):
        find_dataset(session, people.project_id, "Garden")
    assert find_dataset(session, people.project_id, f"id:{first.id}").id == first.id


def test_a_name_that_is_another_s_id_is_asked_about(session: Session, people: People) -> None:
    first = create_dataset(session, people.project_id)
    second = create_dataset(session, people.project_id, name=str(first.id))
    with pytest.raises(UserError, match="could mean more than one data set"):
        find_dataset(session, people.project_id, str(first.id))
    assert find_dataset(session, people.project_id, f"id:{second.id}").id == second.id
    one = create_version(session, people.project_id)
    other = create_version(session, people.project_id, name=str(one.model_id))
    with pytest.raises(UserError, match="could mean more than one model"):
        find_version(session, people.project_id, str(one.model_id))
    assert find_version(session, people.project_id, f"id:{other.model_id}").id == other.id


def test_versions_and_names_with_an_at_sign(session: Session, people: People) -> None:
    plain = create_version(session, people.project_id)
    at = create_version(session, people.project_id, name="net@home")
    for text, version in (("Feathers@1", plain), ("net@home", at), ("net@home@1", at), (f"id:{at.model_id}@1", at)):
        assert find_version(session, people.project_id, text).id == version.id
    with pytest.raises(NotFound, match="has no version 2"):
        find_version(session, people.project_id, "Feathers@2")


@pytest.mark.parametrize("text", ["nope", "9" * 30, "id:", "id:x", "²", ""])
def test_what_is_nowhere_is_not_found(session: Session, people: People, text: str) -> None:
    with pytest.raises(NotFound, match="There is no data set"):
        find_dataset(session, people.project_id, text)
    with pytest.raises(NotFound, match="There is no model"):
        find_version(session, people.project_id, text)


def test_other_projects_are_not_looked_into(session: Session, people: People) -> None:
    elsewhere = create_project(session, "Elsewhere").id
    theirs = create_dataset(session, elsewhere)
    with pytest.raises(NotFound):
        find_dataset(session, people.project_id, f"id:{theirs.id}")
    version = create_version(session, elsewhere)
    with pytest.raises(NotFound):
        find_version(session, people.project_id, f"id:{version.model_id}")
