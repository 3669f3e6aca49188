"""Splitting a slice into proposed parts: asked, shown, taken, measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.services import ask
from app.services.membership import member_rows
from app.store.artifacts import artifact_key
from app.store.models import AuditRun, Finding, Query
from app.store.places import get_artifacts
from app.store.session import reading, transaction
from tests.web.conftest import Results


def members(results: Results, finding_id: int) -> np.ndarray:
    with reading() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        return member_rows(run, session.get_one(Finding, finding_id))


@pytest.fixture
def proposed(results: Results) -> tuple[Query, np.ndarray]:
    """A proposal of two parts for the first slice, answered as a worker answers it, and the labels."""
    results.signed("analyst").post(f"{results.slice()}/parts", {})
    asked = results.questions()[-1]
    n = len(asked.payload["rows"])
    labels = (np.arange(n) % 3 == 0).astype(np.int64)
    key = artifact_key("answer", 1, query=asked.id, test="parts")
    if not get_artifacts().has(key):
        with get_artifacts().write(key) as folder:
            np.save(folder / "labels_2.npy", labels)
    parts = [{"n": int((labels == p).sum()), "fit": 2, "confirm": 3, "exemplars": [p, p + 2]} for p in range(2)]
    answer: dict[str, Any] = {"finding_id": 1, "counts": [2], "best": 2, "arrays_key": key}
    answer["proposals"] = [{"parts": parts, "separation": 0.4}]
    with transaction() as session:
        query = session.get_one(Query, asked.id)
        query.status, query.result = "succeeded", answer
    return asked, labels


def test_a_proposal_is_asked_for_in_positions_and_spends_nothing(results: Results) -> None:
    answer = results.signed("analyst").post(f"{results.slice()}/parts", {})
    asked = results.questions()[-1]
    assert answer.headers["location"].endswith(f"/questions/{asked.id}")
    assert (asked.action, asked.position, asked.p_value) == ("parts", None, None)
    with reading() as session:
        start = ask.split_start(session, session.get_one(AuditRun, results.built.run_id))
    assert asked.payload == {"finding_id": 1, "rows": (members(results, 1) - start).tolist()}
    for role, status in (("viewer", 403), ("outsider", 404)):
        assert results.signed(role).post(f"{results.slice()}/parts", {}).status_code == status


def test_each_part_is_shown_with_how_many_images_measure_it(
    results: Results, proposed: tuple[Query, np.ndarray]
) -> None:
    path = f"{results.run}/questions/{proposed[0].id}"
    html = results.signed().get(path).text
    assert "the clearest split" in html
    assert html.count("3 of them to measure it") == 2
    assert "Split into these 2" in html
    assert "Split into these 2" not in results.signed("viewer").get(path).text
    panel = results.signed().get("/api/v1" + path).json()["panel"]["context"]
    assert [part["n"] for part in panel["splits"][0]["parts"]] == np.bincount(proposed[1]).tolist()


def test_a_proposal_that_is_taken_parts_the_images_without_loss(
    results: Results, proposed: tuple[Query, np.ndarray]
) -> None:
    query, labels = proposed
    whole = members(results, 1)
    answer = results.signed().post(f"{results.slice()}/parts/take", {"question": str(query.id), "parts": "2"})
    assert answer.status_code == 303
    first = int(answer.headers["location"].rsplit("/", 1)[1])
    for part, finding_id in enumerate((first, first + 1)):
        made = results.finding(finding_id)
        np.testing.assert_array_equal(members(results, finding_id), whole[labels == part])
        assert (made.origin, made.parents, made.evidence, made.metrics) == ("parts", [1], "insufficient", {})
        assert made.title.endswith(f", part {part + 1} of 2")
    assert results.finding(1).retired
    assert [q.action for q in results.questions()[-2:]] == ["remeasure", "remeasure"]


def test_a_proposal_of_another_slice_or_size_is_refused(results: Results, proposed: tuple[Query, np.ndarray]) -> None:
    question = str(proposed[0].id)
    for path, sent, said in (
        (results.slice(), {"question": question, "parts": "3"}, "no split into 3 parts"),
        (f"{results.run}/slices/2", {"question": question, "parts": "2"}, "belongs to another slice"),
        (results.slice(), {"question": "1", "parts": "2"}, "belongs to another slice"),
        (results.slice(), {}, "belongs to another slice"),
    ):
        answer = results.signed().post(f"{path}/parts/take", sent)
        assert answer.status_code == 422
        assert said in answer.text
    assert not results.finding(1).retired


@pytest.mark.parametrize(("origin", "evidence"), [("parts", "confirmed"), ("extend", "insufficient")])
def test_parts_can_be_confirmed_and_images_added_by_hand_cannot(results: Results, origin: str, evidence: str) -> None:
    with transaction() as session:
        made = session.get_one(Finding, 1)
        made.origin, made.metrics = origin, {}
        good = {"errors": {"k": 30, "n": 40, "value": 0.75, "low": 0.6, "high": 0.9}}
        query = Query(
            run_id=made.run_id, kind="slices", action="remeasure", payload={"finding_id": 1}, status="succeeded",
            result=good, adjusted_p_value=1e-6,
        )  # fmt: skip
        session.add(query)
        session.flush()
        ask.settle(session, query.id)
    assert results.finding(1).evidence == evidence
