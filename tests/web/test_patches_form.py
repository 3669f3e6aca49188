"""Asking for patch certificates: cost before the start, and what makes no sense is refused beside its field."""

from __future__ import annotations

import re

import pytest

from app.audits.patches.budgets import passes
from app.audits.patches.schema import METHODS, Params
from app.store.models import AuditRun, ModelVersion
from app.store.repositories import datasets
from app.store.session import reading, transaction
from tests.factories import People, Signed
from tests.web.test_objects import _choice


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (
            "sizes",
            "300 px",
            "does not fit into the 224 × 160 pixels that this model takes: give sides of at most 160 px",
        ),
        ("sizes", "2 %\n80 %", "A patch of 80 % (170 × 170 px) does not fit"),
        ("sizes", "5", "“5” names no unit; write 5 % (of the area) or 5 px (the side)"),
        ("sizes", "large", "“large” is no patch size"),
        ("sizes", "2.5 px", "no whole number of pixels"),
        ("sizes", "120 %", "is no share"),
        ("band", "200", "A band of 200 px does not fit"),
    ],
)
def test_what_makes_no_sense_for_this_model_is_refused_and_kept(
    analyst: Signed, people: People, field: str, value: str, said: str
) -> None:
    form = _choice(people) | {
        "kinds": "patches",
        "patches.methods": METHODS,
        "patches.sizes": "2 %",
        f"patches.{field}": value,
    }
    with transaction() as session:
        version = session.get_one(ModelVersion, int(form["model_version"]))
        version.spec = {**version.spec, "preprocessing": {"size": [224, 160], "resize": "stretch"}}
    for more in ({}, {"estimate": "1"}):
        answer = analyst.post("/audits/new", form | more)
        assert said in answer.text
        assert value in answer.text.replace("\r\n", "\n")
        assert answer.status_code == 422 or more
    with reading() as session:
        assert session.query(AuditRun).count() == 0


def test_the_cost_is_said_before_the_start(analyst: Signed, people: People) -> None:
    form = _choice(people) | {"kinds": "patches", "patches.methods": METHODS, "patches.sizes": "1 %\n2 %"}
    dataset, split = form["data"].split("/")
    with reading() as session:
        rows = next(s.stop - s.start for s in datasets.splits(session, int(dataset)) if s.name == split)
    text = re.sub(r"<[^>]+>", " ", analyst.post("/audits/new", form | {"estimate": "1"}).text)
    expected = passes(Params.model_validate({"sizes": ["1 %", "2 %"]}), rows)
    assert expected == min(rows, 100) * (1 + 2 * 45 + 32 + 6)
    assert f"{expected:,} images" in text
