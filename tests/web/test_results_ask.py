"""Questions of a run: asked, answered, kept; and slices that take their numbers from the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from app.services import annotate, ask
from app.store.models import AuditRun, Finding, Query, User
from app.store.session import reading, transaction
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import hypothesis_answer, rate
from tests.web.conftest import Results


def waiting_jobs() -> list[str]:
    """Ids of the jobs that the engine holds."""
    with reading() as session:
        return list(session.execute(text("SELECT workflow_uuid FROM workflow_status")).scalars())


def answered(query_id: int, result: dict[str, Any], **fields: Any) -> None:
    """Answer a question as a worker does."""
    with transaction() as session:
        query = session.get_one(Query, query_id)
        query.result, query.status = result, "succeeded"
        for name, value in fields.items():
            setattr(query, name, value)


def test_a_question_is_kept_and_handed_to_a_worker(results: Results) -> None:
    sent = {"sentence": "a cat in the snow", "label": "2", "share": "0.2"}
    answer = results.signed("analyst").post(f"{results.run}/ask", sent)
    asked = results.questions()[-1]
    assert answer.headers["location"].endswith(f"/questions/{asked.id}")
    assert (asked.action, asked.status, asked.created_by) == ("hypothesis", "queued", results.built.analyst_id)
    assert asked.payload == {"class_index": 2, "sentence": "a cat in the snow", "rows": [], "share": 0.2}
    assert waiting_jobs() == [f"query-{asked.id}-0"]
    html = results.signed().get(answer.headers["location"]).text
    assert "Waiting for a worker" in html
    assert f'hx-get="{results.run}/questions/{asked.id}/answer"' in html


def test_picked_images_are_a_question_in_positions(results: Results) -> None:
    results.signed().post(f"{results.run}/ask", {"rows": f"{TRAIN_ROWS + 4},{TRAIN_ROWS + 9}"})
    assert results.questions()[-1].payload["rows"] == [4, 9]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"sentence": " ", "label": "2"}, "Write a sentence"),
        ({"sentence": "x" * 301, "label": "2"}, "at most 300 characters"),
        ({"sentence": "at night", "share": "0.9"}, "less than or equal to 0.5"),
        ({"sentence": "at night", "share": "much"}, "number"),
        ({"sentence": "", "rows": "1;2"}, "no image numbers"),
    ],
)
def test_a_question_that_cannot_be_asked_is_given_back(results: Results, sent: dict[str, str], said: str) -> None:
    answer = results.signed().post(f"{results.run}/ask", sent)
    assert answer.status_code == 422
    assert said in answer.text
    assert sent["sentence"].strip() in answer.text
    assert len(results.questions()) == 2
    assert waiting_jobs() == []


def test_viewers_read_questions_and_ask_none(results: Results) -> None:
    viewer = results.signed("viewer")
    assert viewer.post(f"{results.run}/ask", {"sentence": "at night"}).status_code == 403
    html = viewer.get(f"{results.run}/ask").text
    assert "Asking needs the role analyst" in html
    assert "“a cat on grass” within cat" in html


def test_the_log_says_who_asked_what_came_out(results: Results) -> None:
    log = results.signed().get(f"/api/v1{results.run}/ask").json()["log"]
    stored = {query.id: query for query in results.questions()}
    assert [row["id"] for row in log] == sorted(stored, reverse=True)
    for row in log:
        assert row["user"] == "Ben"
        assert row["adjusted"] == stored[row["id"]].adjusted_p_value
        assert row["holds"] is (row["adjusted"] <= 0.05)


def test_the_log_goes_on_where_the_page_ends(results: Results) -> None:
    with transaction() as session:
        for number in range(35):
            session.add(Query(run_id=1, kind="slices", action="hypothesis", payload={"sentence": f"claim {number}"}))
    first = results.signed().get(f"/api/v1{results.run}/ask").json()
    rest = results.signed().get("/api/v1" + first["next"]).json()
    seen = [row["id"] for row in first["log"] + rest["log"]]
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == first["total"] == 37
    assert rest["next"] == ""


def test_an_answer_shows_both_rates_and_what_it_counts_for(results: Results) -> None:
    rows = results.built.rows
    page = results.signed().get(f"/api/v1{results.run}/questions/1").json()
    wanted = hypothesis_answer(rows, 2, rows.where(2, None, "grass"), "a cat on grass")
    context = page["panel"]["context"]
    assert context["inside"]["value"] == pytest.approx(wanted["inside"]["value"])
    assert context["outside"]["n"] == wanted["outside"]["n"]
    assert context["overlap"][0]["link"]["href"] == results.slice()
    assert page["sentence"].startswith("It was the first question; adjusted for that, p < 0.0001. The claim holds")
    second = results.signed().get(f"/api/v1{results.run}/questions/2").json()
    assert second["sentence"].startswith("1 question came before it")
    assert "Not enough evidence: the difference could be chance" in second["sentence"]


def test_a_failed_question_says_why(results: Results) -> None:
    results.signed().post(f"{results.run}/ask", {"sentence": "at night"})
    with transaction() as session:
        query = session.get_one(Query, 3)
        query.status, query.error = "failed", "This run's encoder reads no text."
    html = results.signed().get(f"{results.run}/questions/3").text
    assert "reads no text" in html
    assert "hx-get" not in html.split("<main")[1]


def test_the_page_that_waits_polls_until_there_is_an_answer(results: Results) -> None:
    results.signed().post(f"{results.run}/ask", {"sentence": "at night"})
    path = f"{results.run}/questions/3/answer"
    waiting = results.signed().get(path)
    assert "hx-get" in waiting.text
    assert "HX-Refresh" not in waiting.headers
    answered(3, hypothesis_answer(results.built.rows, 2, results.built.rows.where(2), "at night"))
    assert results.signed().get(path).headers["HX-Refresh"] == "true"


def test_marks_are_a_question_and_come_back_ranked(results: Results) -> None:
    page = results.signed().get(f"/api/v1{results.run}/climb?label=2").json()
    positions = [entry["position"] for entry in page["marked"]]
    rows = results.built.rows
    assert {int(rows.label[position]) for position in positions} == {2}
    inside, outside = positions[:3], positions[10:12]
    sent = {f"mark-{p}": "in" for p in inside} | {f"mark-{p}": "out" for p in outside} | {"label": "2"}
    results.signed().post(f"{results.run}/climb", sent)
    asked = results.questions()[-1]
    assert asked.payload["inside"] == inside
    assert asked.payload["outside"] == outside
    answered(asked.id, {"rows": [7, 3, 12], "scores": [0.9, 0.4, -0.1]})
    shown = results.signed().get(f"{results.run}/questions/{asked.id}")
    again = results.signed().get(f"/api/v1{results.run}/questions/{asked.id}").json()
    assert [item["position"] for item in again["panel"]["context"]["items"]] == [7, 3, 12]
    for position in inside:
        assert f'<input type="hidden" name="mark-{position}" value="in">' in shown.text


def test_a_loop_needs_a_mark(results: Results) -> None:
    answer = results.signed().post(f"{results.run}/climb", {"label": "2", "mark-4": "out"})
    assert answer.status_code == 422
    assert "at least one image as in" in answer.text


def test_a_script_asks_with_the_actions_own_payload(results: Results) -> None:
    owner = results.signed()
    path = f"/api/v1{results.run}/ask/hypothesis"
    made = owner.send("POST", path, json={"sentence": "at night", "class_index": 1})
    assert made.status_code == 201
    assert made.json()["href"] == f"{results.run}/questions/{made.json()['id']}"
    refused = owner.send("POST", path, json={"rows": "many"})
    assert refused.status_code == 422
    assert refused.json()["error"]["field"] == "rows"
    assert owner.send("POST", f"/api/v1{results.run}/ask/oracle", json={}).status_code == 404


def test_a_run_that_has_not_finished_answers_nothing(results: Results) -> None:
    with transaction() as session:
        session.get_one(AuditRun, 1).status = "running"
    answer = results.signed().post(f"{results.run}/ask", {"sentence": "at night"})
    assert answer.status_code == 409
    assert results.signed().get(f"{results.run}/slices").status_code == 409


def saved(results: Results, count: int = 40, origin: str = "hypothesis") -> tuple[Finding, Query]:
    """A slice that somebody saved, and the question that measures it."""
    rows = np.flatnonzero(results.built.rows.label == 3)[:count] + TRAIN_ROWS
    with transaction() as session:
        run, user = session.get_one(AuditRun, 1), session.get_one(User, results.built.owner_id)
        made = annotate.save_slice(session, run, "slices", rows.tolist(), user, "dogs", origin)
    return made, results.questions()[-1]


def measured(k: int) -> dict[str, Any]:
    """What a worker says of a slice with k errors of 30."""
    base = {"p_value": 0.001, "q_value": 0.001, "prevalence": 0.3, "size": 40}
    return base | {"errors": rate(k, 30), "rest": rate(5, 90), "class_errors": rate(k + 5, 120)}


@pytest.mark.parametrize(
    ("errors", "adjusted", "evidence"),
    [(15, 0.01, "confirmed"), (9, 0.01, "insufficient"), (15, 0.2, "insufficient"), (15, None, "insufficient")],
)
def test_a_saved_slice_holds_only_at_the_runs_own_bar(
    results: Results, errors: int, adjusted: float | None, evidence: str
) -> None:
    made, asked = saved(results)
    answered(asked.id, measured(errors), p_value=0.001, adjusted_p_value=adjusted, position=3)
    with transaction() as session:
        ask.settle(session, asked.id)
    after = results.finding(made.id)
    assert after.evidence == evidence
    assert after.metrics["errors"]["k"] == errors
    assert after.metrics["q_value"] == (1.0 if adjusted is None else adjusted)
    assert results.signed().get(f"{results.run}/slices/{made.id}/measured").headers["HX-Refresh"] == "true"
    html = results.signed().get(f"{results.run}/slices/{made.id}").text
    assert ("Not enough evidence" in html) is (evidence == "insufficient")


def test_images_picked_by_hand_confirm_nothing(results: Results) -> None:
    made, asked = saved(results, origin="lasso")
    answered(asked.id, measured(25), p_value=1e-9, adjusted_p_value=1e-8, position=3)
    with transaction() as session:
        ask.settle(session, asked.id)
    assert results.finding(made.id).evidence == "insufficient"
    html = results.signed().get(f"{results.run}/slices/{made.id}").text
    assert "could see which are wrong" in html


def test_a_merge_of_slices_of_which_one_was_picked_confirms_nothing(results: Results) -> None:
    kin = results.built.finding_ids["direction-cat-0"]
    picked, _ = saved(results, origin="split")
    merged, asked = saved(results, origin="merge")
    for parents, evidence in (([kin], "confirmed"), ([kin, picked.id], "insufficient")):
        with transaction() as session:
            session.get_one(Finding, merged.id).parents = parents
        answered(asked.id, measured(25), p_value=1e-9, adjusted_p_value=1e-8, position=3)
        with transaction() as session:
            ask.settle(session, asked.id)
        assert results.finding(merged.id).evidence == evidence


def test_a_slice_without_its_answer_stays_unmeasured(results: Results) -> None:
    made, asked = saved(results)
    with transaction() as session:
        ask.settle(session, asked.id)
        ask.settle(session, 1)
        ask.settle(session, 404)
    assert results.finding(made.id).metrics == {}
    polled = results.signed().get(f"{results.run}/slices/{made.id}/measured")
    assert polled.status_code == 204
    assert "HX-Refresh" not in polled.headers
