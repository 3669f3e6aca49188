"""Asking for a comparison: a second data set is chosen from the project's, costed, and refused beside its field."""

from __future__ import annotations

import re

import pytest

from app.audits import kind as kind_named
from app.store.models import AuditRun
from app.store.session import reading, transaction
from app.web.generic_form import form_fields
from tests.factories import People, Signed, create_dataset, create_run, create_stage
from tests.web.test_objects import _choice


@pytest.fixture
def second(people: People) -> int:
    """A second data set in the project of the tests, with the same classes in another order."""
    with transaction() as session:
        classes = ["wren", "robin", "finch"]
        return create_dataset(session, people.project_id, name="Forest", classes=classes, data_hash="f" * 64).id


def _form(people: People, second: str) -> dict[str, str]:
    return _choice(people) | {"kinds": "shift", "shift.second": second, "shift.budget": "quick"}


def test_it_is_chosen_from_a_list(analyst: Signed, people: People, second: int) -> None:
    field = next(f for f in form_fields(kind_named("shift").params, "shift") if f.name == "shift.second")
    assert field.control == "split"
    _choice(people)
    page = analyst.get("/audits/new").text
    select = re.search(r'<select[^>]*name="shift\.second".*?</select>', page, re.DOTALL)
    assert select
    assert f'value="{second}/test"' in select[0]
    assert "Forest / test (30)" in select[0]


def test_its_rows_are_costed_and_its_classes_compared(analyst: Signed, people: People, second: int) -> None:
    form = _form(people, f"{second}/test")
    text = re.sub(r"<[^>]+>", " ", analyst.post("/audits/new", form | {"estimate": "1"}).text)
    assert re.search(r"Predict Forest / test\s+30 rows", text)
    assert re.search(r"Embed Forest / test\s+30 rows", text)
    assert "they are matched by name" in text


def test_rows_that_an_earlier_run_read_as_a_second_set_count_as_computed(
    analyst: Signed, people: People, second: int
) -> None:
    form = _form(people, f"{second}/test")
    with transaction() as session:
        version = int(form["model_version"])
        run = create_run(
            session, people.project_id, status="succeeded", model_version_id=version, kinds=["shift"],
            dataset_id=int(form["data"].split("/")[0]), params={"shift": {"second": f"{second}/test"}},
        )  # fmt: skip
        create_stage(session, "run", run.id, name="predict@shift", status="succeeded", done=30, total=30)
    text = re.sub(r"<[^>]+>", " ", analyst.post("/audits/new", form | {"estimate": "1"}).text)
    assert re.search(r"Predict Forest / test\s+30 rows\s+30 computed before\s+nothing to do", text)


def test_a_run_remembers_it(analyst: Signed, people: People, second: int) -> None:
    assert analyst.post("/audits/new", _form(people, f"{second}/test")).status_code == 303
    with reading() as session:
        assert session.query(AuditRun).one().params["shift"]["second"] == f"{second}/test"


@pytest.mark.parametrize(
    ("classes", "text", "said"),
    [
        (None, "", "“Shift to a second data set” needs a second data set. Choose a data set and split of this project"),
        (None, "{data}", "is the audited split itself: nothing can have shifted"),
        (None, "{second}/night", "“Forest” has no split “night”; it has “test”, “train”"),
        (None, "7", "Name the second data set as &lt;data set id&gt;/&lt;split&gt;, such as 7/val"),
        (
            ["finch", "owl", "wren"],
            "{second}/test",
            "“Forest” has “owl”, unknown to the model and to “Garden” and lacks",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_and_kept(
    analyst: Signed, people: People, second: int, classes: list[str] | None, text: str, said: str
) -> None:
    from app.store.models import Dataset

    if classes:
        with transaction() as session:
            session.get_one(Dataset, second).classes = classes
    form = _form(people, text)
    form["shift.second"] = text.format(second=second, data=form["data"])
    answer = analyst.post("/audits/new", form)
    assert answer.status_code == 422
    assert said in answer.text.replace("&#34;", '"')
    with reading() as session:
        assert session.query(AuditRun).count() == 0


def test_a_set_that_is_not_imported_or_of_another_project_is_refused(
    analyst: Signed, people: People, second: int
) -> None:
    from app.store.models import Dataset, Project

    with transaction() as session:
        session.get_one(Dataset, second).status = "failed"
        other = Project(name="elsewhere")
        session.add(other)
        session.flush()
        foreign = create_dataset(session, other.id).id
    assert "“Forest” is not imported" in analyst.post("/audits/new", _form(people, f"{second}/test")).text
    answer = analyst.post("/audits/new", _form(people, f"{foreign}/test"))
    assert answer.status_code == 422
    assert "There is no such data set in this project." in answer.text


def test_an_empty_or_unlabelled_set_is_told(analyst: Signed, people: People, second: int) -> None:
    from app.store.models import DatasetSplit

    with transaction() as session:
        session.add(DatasetSplit(dataset_id=second, name="empty", start=90, stop=90, label_counts=[0, 0, 0]))
        session.add(DatasetSplit(dataset_id=second, name="bare", start=60, stop=90, label_counts=[0, 0, 0]))
    answer = analyst.post("/audits/new", _form(people, f"{second}/empty"))
    assert answer.status_code == 422
    assert "“Forest” / empty has no rows" in answer.text
    text = analyst.post("/audits/new", _form(people, f"{second}/bare") | {"estimate": "1"}).text
    assert "“Forest” / bare has no labels: only what needs none is said of it" in text
