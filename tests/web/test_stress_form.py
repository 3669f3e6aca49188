"""Stress tests on the form of a new audit: budgets, what each does, and what each will cost."""

from __future__ import annotations

import html
import re

import pytest

from app import audits
from app.store.models import AuditRun
from app.store.session import reading
from tests.factories import People, Signed
from tests.web.test_objects import _choice

LISTS = {"attacks.radii": "8/255", "corruptions.kinds": "fog", "corruptions.severities": "1"}
STRESS = sorted(name for name, kind in audits.kinds().items() if kind.stress_test)


@pytest.mark.parametrize("name", STRESS)
def test_each_says_what_its_budgets_do_and_what_it_costs(analyst: Signed, people: People, name: str) -> None:
    kind = audits.kinds()[name]
    assert _choice(people)
    page = analyst.get(f"/audits/new?kinds={name}").text
    told = html.unescape(page)
    about = kind.params.model_fields["budget"].description or ""
    assert all(budget in about for budget in ("quick", "standard", "thorough"))
    assert about in told
    assert not kind.by_default
    costs = {b: kind.passes(kind.params(budget=b), 10_000) for b in ("quick", "standard", "thorough")}
    assert 0 <= costs["quick"] <= costs["standard"] <= costs["thorough"]


def test_one_budget_is_given_to_all(analyst: Signed, people: People) -> None:
    form = _choice(people) | {"kinds": ["attacks", "corruptions", "slices"], "budget": "thorough", **LISTS}
    cost = re.sub(r"<[^>]+>", " ", analyst.post("/audits/new", form | {"estimate": "1"}).text)
    attacks = audits.kinds()["attacks"]
    assert attacks.passes(attacks.params(budget="thorough"), 1) > attacks.passes(attacks.params(), 1)
    assert "Adversarial attacks" in cost
    assert analyst.post("/audits/new", form).status_code == 303
    with reading() as session:
        params = session.query(AuditRun).one().params
    assert params["attacks"]["budget"] == params["corruptions"]["budget"] == "thorough"


def test_kinds_of_the_address_come_ticked_and_costed(analyst: Signed, people: People) -> None:
    assert _choice(people)
    page = analyst.get("/audits/new?kinds=attacks&kinds=nothing").text
    assert re.findall(r'name="kinds" value="(\w+)" checked', page) == ["attacks"]
    plain = analyst.get("/audits/new?encoder=penultimate").text
    ticked = re.findall(r'name="kinds" value="(\w+)" checked', plain)
    assert ticked == sorted(name for name, kind in audits.kinds().items() if kind.by_default)


def test_kinds_stand_under_their_questions_the_cheapest_first(analyst: Signed, people: People) -> None:
    data = _choice(people)["data"]
    page = analyst.get(f"/api/v1/audits/new?data={data}").json()
    rows = next(split["rows"] for split in page["datasets"] if split["value"] == data)
    sections = {section["title"]: [kind["name"] for kind in section["kinds"]] for section in page["sections"]}
    assert [*sections] == ["Failures", "Training data", "Stress tests"]
    assert sections["Failures"] == ["slices"]
    assert sections["Training data"] == ["datamodels", "influence"]
    assert sorted(sections["Stress tests"]) == STRESS
    quick = [
        audits.kinds()[n].passes(audits.kinds()[n].params(budget="quick"), 10_000) for n in sections["Stress tests"]
    ]
    assert quick == sorted(quick)
    costs = {kind["name"]: kind["costs"] for section in page["sections"] for kind in section["kinds"]}
    attacks = audits.kinds()["attacks"]
    assert [cost["images"] for cost in costs["attacks"]] == [
        attacks.passes(attacks.params(budget=budget), rows) for budget in ("quick", "standard", "thorough")
    ]
    assert costs["slices"] == costs["shift"] == []


def test_only_the_kind_that_is_wrong_opens(analyst: Signed, people: People) -> None:
    form = _choice(people) | {"kinds": ["attacks", "corruptions"], **LISTS, "attacks.radii": "800"}
    answer = analyst.post("/audits/new", form)
    assert answer.status_code == 422
    opened = re.findall(r'<details class="details kind-more" open>', answer.text)
    assert len(opened) == 1
