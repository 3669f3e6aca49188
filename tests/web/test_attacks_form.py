"""Asking for attacks: the cost before the start, and an ε that makes no sense is refused beside its field."""

from __future__ import annotations

import re

import pytest

from app.store.models import AuditRun, ModelVersion
from app.store.repositories import datasets
from app.store.session import reading, transaction
from tests.factories import People, Signed
from tests.web.test_objects import _choice


@pytest.mark.parametrize(
    ("radii", "norm", "said"),
    [
        ("8", "Linf", "If you meant steps of 1/255, write 8/255"),
        ("8/255\neight", "Linf", "“eight” is no number or fraction; write ε like 8/255 or 0.5"),
        ("0.5\n101", "L2", "ε is at most 100 for L2"),
        ("-1/255", "Linf", "is not positive"),
        ("1e400", "Linf", "“1e400” is no number or fraction; write ε like 8/255 or 0.5"),
    ],
)
def test_an_epsilon_that_makes_no_sense_is_refused_and_kept(
    analyst: Signed, people: People, radii: str, norm: str, said: str
) -> None:
    form = _choice(people) | {"kinds": "attacks", "attacks.radii": radii, "attacks.norm": norm}
    answer = analyst.post("/audits/new", form)
    assert answer.status_code == 422
    assert said in answer.text
    assert radii in answer.text.replace("\r\n", "\n")
    with reading() as session:
        assert session.query(AuditRun).count() == 0


def test_the_cost_is_said_before_the_start(analyst: Signed, people: People) -> None:
    form = _choice(people) | {"kinds": "attacks", "attacks.radii": "2/255\n8/255", "attacks.budget": "quick"}
    dataset, split = form["data"].split("/")
    with reading() as session:
        rows = next(s.stop - s.start for s in datasets.splits(session, int(dataset)) if s.name == split)
    text = re.sub(r"<[^>]+>", " ", analyst.post("/audits/new", form | {"estimate": "1"}).text)
    assert f"{min(rows, 100) * 2 * (3 * 40 * 4 + 300):,} images" in text
    assert analyst.post("/audits/new", form).status_code == 303
    with reading() as session:
        run = session.query(AuditRun).one()
        assert run.params["attacks"]["radii"] == ["2/255", "8/255"]


def test_what_misleads_stress_tests_is_said_before_the_start(analyst: Signed, people: People) -> None:
    form = _choice(people) | {"kinds": "attacks", "attacks.radii": "8/255"}
    said = "8 of 8 images got other scores when the network was asked again."
    with transaction() as session:
        version = session.get_one(ModelVersion, int(form["model_version"]))
        version.smoke = {**version.smoke, "doubts": [said], "outputs": "probabilities"}
        version.spec = {**version.spec, "outputs": "logits"}
    for answer in (
        analyst.get(f"/audits/new?model_version={form['model_version']}&data={form['data']}"),
        analyst.post("/audits/new", form | {"estimate": "1"}),
    ):
        assert f"Before a stress test: {said}" in answer.text
        assert "Declare probabilities, or upload the network without its softmax" in answer.text
