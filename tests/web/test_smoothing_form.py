"""Asking for smoothing: the cost before the start, and numbers that make no sense are refused beside their field."""

from __future__ import annotations

import re

import pytest

from app.store.models import AuditRun
from app.store.repositories import datasets
from app.store.session import reading
from tests.factories import People, Signed
from tests.web.test_objects import _choice

ASKED = {"kinds": "smoothing", "smoothing.sigmas": "0.25", "smoothing.radii": "0.1\n0.25"}


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("sigmas", "64", "If you meant steps of 1/255, write 64/255"),
        ("sigmas", "0.25\nmuch", "“much” is no number or fraction; write σ like 0.25 or 64/255"),
        ("radii", "0.1\n5", "r = 5 can be certified for no image: with σ = 0.25, α = 0.001 and the budget “quick”"),
        ("radii", "-1", "is not positive"),
        ("radii", "1e400", "“1e400” is no number or fraction; write radius like 0.25 or 64/255"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_and_kept(
    analyst: Signed, people: People, field: str, given: str, said: str
) -> None:
    answer = analyst.post("/audits/new", _choice(people) | ASKED | {f"smoothing.{field}": given})
    assert answer.status_code == 422
    assert said in answer.text
    assert given in answer.text.replace("\r\n", "\n")
    with reading() as session:
        assert session.query(AuditRun).count() == 0


def test_the_cost_is_said_before_the_start(analyst: Signed, people: People) -> None:
    form = _choice(people) | ASKED | {"smoothing.sigmas": "0.25\n0.5", "smoothing.budget": "standard"}
    dataset, split = form["data"].split("/")
    with reading() as session:
        rows = next(s.stop - s.start for s in datasets.splits(session, int(dataset)) if s.name == split)
    text = re.sub(r"<[^>]+>", " ", analyst.post("/audits/new", form | {"estimate": "1"}).text)
    assert f"{min(rows, 200) * 2 * 10_100:,} images" in text
    assert analyst.post("/audits/new", form).status_code == 303
    with reading() as session:
        run = session.query(AuditRun).one()
        assert run.params["smoothing"]["sigmas"] == ["0.25", "0.5"]
        assert run.params["smoothing"]["radii"] == ["0.1", "0.25"]


def test_a_copy_needs_a_recipe(analyst: Signed, people: People) -> None:
    answer = analyst.post("/audits/new", _choice(people) | ASKED | {"smoothing.train_copy": "1"})
    assert answer.status_code == 422
    assert "recipe" in answer.text
