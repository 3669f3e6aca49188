"""What people do with slices: verdicts, comments, new names, merged, split and extended slices."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from app.services import annotate
from app.services.membership import member_rows
from app.store.models import AuditRun, Comment, Finding, User, Verdict
from app.store.repositories import findings as repository
from app.store.session import reading, transaction
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results

ACTIONS = ("verdict", "comment", "rename", "merge", "split")


def members(results: Results, finding_id: int) -> np.ndarray:
    with reading() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        return member_rows(run, session.get_one(Finding, finding_id))


def landed(results: Results, answer: Any) -> Finding:
    """The slice that a form's answer leads to."""
    assert answer.status_code == 303, answer.text[:500]
    return results.finding(int(answer.headers["location"].rsplit("/", 1)[1]))


@pytest.mark.parametrize("action", ACTIONS)
def test_viewers_and_outsiders_change_nothing(results: Results, action: str) -> None:
    sent = {"verdict": "accept", "text": "no", "title": "no", "other": "2", "rows": "101"}
    assert results.signed("viewer").post(f"{results.slice()}/{action}", sent).status_code == 403
    assert results.signed("outsider").post(f"{results.slice()}/{action}", sent).status_code == 404
    with reading() as session:
        assert session.scalars(select(Verdict)).all() == []
        assert session.scalars(select(Comment)).all() == []
        assert repository.count(session, results.built.run_id) == 5


@pytest.mark.parametrize("action", ACTIONS)
def test_a_form_without_its_token_changes_nothing(results: Results, action: str) -> None:
    answer = results.signed().post(f"{results.slice()}/{action}", {"csrf": "forged", "verdict": "accept"})
    assert answer.status_code == 403


def test_the_newest_verdict_of_each_person_counts(results: Results) -> None:
    for role, verdict in (("owner", "reject"), ("analyst", "accept"), ("owner", "unsure")):
        assert results.signed(role).post(f"{results.slice()}/verdict", {"verdict": verdict}).status_code == 303
    page = results.signed("owner").get("/api/v1" + results.slice()).json()
    assert {said["user"]: said["verdict"] for said in page["verdicts"]} == {"Ada": "unsure", "Ben": "accept"}
    assert page["mine"] == "unsure"
    with reading() as session:
        assert len(session.scalars(select(Verdict)).all()) == 3


def test_a_verdict_from_the_list_goes_back_to_its_place(results: Results) -> None:
    answer = results.signed().post(f"{results.slice()}/verdict", {"verdict": "accept", "from": "list"})
    assert answer.headers["location"].endswith("/slices#slice-1")
    cards = results.signed().get(f"/api/v1{results.run}/slices").json()["cards"]
    assert {card["id"]: card["verdict"] for card in cards}[1] == "accept"
    assert all(
        card["verdict"] == "" for card in results.signed("analyst").get(f"/api/v1{results.run}/slices").json()["cards"]
    )


def test_a_script_judges_as_well(results: Results) -> None:
    answer = results.signed().send("POST", f"/api/v1{results.slice()}/verdict", json={"verdict": "accept"})
    assert answer.json() == {"id": 1, "href": results.slice()}
    wrong = results.signed().send("POST", f"/api/v1{results.slice()}/verdict", json={"verdict": "great"})
    assert wrong.status_code == 422
    assert "accept, reject or unsure" in wrong.json()["error"]["message"]


def test_two_reviewers_agree_beyond_chance(results: Results) -> None:
    first = ["accept", "accept", "reject", "accept", "reject"]
    second = ["accept", "accept", "reject", "reject", "reject"]
    for role, verdicts in (("owner", first), ("analyst", second)):
        for number, verdict in enumerate(verdicts, start=1):
            results.signed(role).post(f"{results.run}/slices/{number}/verdict", {"verdict": verdict})
    agreement = results.signed().get(f"/api/v1{results.run}/slices").json()["agreement"]
    observed, expected = 4 / 5, (3 / 5) * (2 / 5) + (2 / 5) * (3 / 5)
    assert agreement["kappa"] == pytest.approx((observed - expected) / (1 - expected))
    assert agreement["sentence"].startswith("Ada and Ben both judged 5 slices and agree on 4. Cohen's kappa 0.62")


def test_one_reviewer_has_nobody_to_agree_with(results: Results) -> None:
    results.signed().post(f"{results.slice()}/verdict", {"verdict": "accept"})
    assert results.signed().get(f"/api/v1{results.run}/slices").json()["agreement"] is None


def test_comments_are_text_and_nothing_else(results: Results) -> None:
    text = "White cats <b>again</b>\nsee row 12"
    assert results.signed("analyst").post(f"{results.slice()}/comment", {"text": text}).status_code == 303
    html = results.signed("viewer").get(results.slice()).text
    assert "White cats &lt;b&gt;again&lt;/b&gt;" in html


@pytest.mark.parametrize(
    ("action", "sent", "said"),
    [
        ("comment", {"text": "  "}, "Write something first."),
        ("comment", {"text": "x" * 5_001}, "at most 5,000 characters"),
        ("rename", {"title": " "}, "Give it a name in words"),
        ("rename", {"title": "y" * 201}, "at most 200 characters"),
        ("merge", {"other": "1", "merged_title": "both cats"}, "Choose another slice"),
        ("split", {"rows": ""}, "Pick some of the slice"),
        ("split", {"rows": "12x"}, "no image numbers"),
    ],
)
def test_a_mistake_loses_nothing_that_was_typed(results: Results, action: str, sent: dict[str, str], said: str) -> None:
    answer = results.signed().post(f"{results.slice()}/{action}", sent)
    assert answer.status_code == 422
    assert said in answer.text
    for field, value in sent.items():
        assert field == "rows" or not value.strip() or value[:200] in answer.text
    with reading() as session:
        assert repository.count(session, results.built.run_id, retired=True) == 5


def test_a_new_name_is_a_new_version_with_all_that_was_said(results: Results) -> None:
    owner = results.signed()
    owner.post(f"{results.slice()}/verdict", {"verdict": "accept"})
    owner.post(f"{results.slice()}/comment", {"text": "Seen before."})
    before = results.finding(1)
    renamed = landed(results, owner.post(f"{results.slice()}/rename", {"title": " white cats, grass "}))
    assert (renamed.title, renamed.version, renamed.key) == ("white cats, grass", 2, before.key)
    assert (renamed.metrics, renamed.evidence, renamed.parents) == (before.metrics, before.evidence, [1])
    assert results.finding(1).retired
    page = owner.get(f"/api/v1{results.run}/slices/{renamed.id}").json()
    assert page["mine"] == "accept"
    assert page["remarks"][0]["text"] == "Seen before."
    assert page["images"]["total"] == len(members(results, 1))
    old = owner.get("/api/v1" + results.slice()).json()
    assert old["retired"]
    assert [link["text"] for link in old["replaced_by"]] == ["white cats, grass"]


def test_a_retired_slice_is_not_changed_again(results: Results) -> None:
    owner = results.signed()
    owner.post(f"{results.slice()}/rename", {"title": "one"})
    for action, sent in (("rename", {"title": "two"}), ("merge", {"other": "2"}), ("split", {"rows": "101"})):
        answer = owner.post(f"{results.slice()}/{action}", sent)
        assert answer.status_code == 409
        assert "newest version" in answer.text


def test_merged_slices_hold_both_and_wait_for_their_numbers(results: Results) -> None:
    one, two = members(results, 1), members(results, 5)
    made = landed(
        results, results.signed().post(f"{results.slice()}/merge", {"other": "5", "merged_title": "odd cats"})
    )
    rows = np.union1d(one, two)
    np.testing.assert_array_equal(members(results, made.id), rows)
    assert made.rows_hash == hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
    assert (made.title, made.origin, made.parents, made.class_index) == ("odd cats", "merge", [1, 5], 2)
    assert made.metrics == {}
    assert made.evidence == "insufficient"
    assert results.finding(1).retired
    assert results.finding(5).retired
    asked = results.questions()[-1]
    assert (asked.action, asked.status, asked.payload["finding_id"]) == ("remeasure", "queued", made.id)
    assert asked.payload["rows"] == (rows - TRAIN_ROWS).tolist()
    html = results.signed().get(f"{results.run}/slices/{made.id}").text
    assert "Being measured on confirm images" in html
    assert "Confirmed" not in html


def test_slices_of_two_classes_merge_into_one_of_no_class(results: Results) -> None:
    made = landed(results, results.signed().post(f"{results.slice()}/merge", {"other": "2"}))
    assert made.class_index is None
    assert made.title == "a photo of a white cat on grass + a photo of a car at night"
    assert results.signed().get(f"{results.run}/slices/{made.id}").status_code == 200


def test_a_split_parts_the_images_without_loss(results: Results) -> None:
    whole = members(results, 1)
    picked = [int(row) for row in whole[:5]]
    first = landed(results, results.signed().post(f"{results.slice()}/split", {"rows": [str(row) for row in picked]}))
    assert members(results, first.id).tolist() == picked
    with reading() as session:
        other = next(f for f in repository.of_run(session, results.built.run_id, origin="split") if f.id != first.id)
    np.testing.assert_array_equal(members(results, other.id), whole[5:])
    assert results.finding(1).retired
    assert len(results.questions()) == 4


def test_a_split_needs_images_on_both_sides(results: Results) -> None:
    whole = ",".join(str(row) for row in members(results, 1))
    answer = results.signed().post(f"{results.slice()}/split", {"rows": whole.split(",")})
    assert answer.status_code == 422
    assert not results.finding(1).retired
    assert answer.text.count(" checked>") == len(whole.split(","))


def test_an_image_is_added_to_a_slice(results: Results) -> None:
    rows = results.built.rows
    other = int(np.flatnonzero(rows.where(2, "red", "grass"))[0]) + TRAIN_ROWS
    path = f"{results.run}/images/{other}/add"
    assert results.signed("viewer").post(path, {"slice": "1"}).status_code == 403
    made = landed(results, results.signed().post(path, {"slice": "1"}))
    assert set(members(results, made.id)) - set(members(results, 1)) == {other}
    again = results.signed().post(path, {"slice": str(made.id)})
    assert again.status_code == 422
    assert "already" in again.text


def test_picked_images_are_shown_then_saved(results: Results) -> None:
    rows = np.flatnonzero(results.built.rows.label == 4)[:70] + TRAIN_ROWS
    sent = {"rows": ",".join(map(str, rows))}
    shown = results.signed("viewer").post(f"{results.run}/picked", sent)
    assert shown.status_code == 200
    assert "70 picked images" in shown.text
    assert "10 more are not shown" in shown.text
    nameless = results.signed().post(f"{results.run}/picked/save", {**sent, "title": ""})
    assert nameless.status_code == 422
    assert sent["rows"] in nameless.text
    made = landed(results, results.signed().post(f"{results.run}/picked/save", {**sent, "title": "houses"}))
    np.testing.assert_array_equal(members(results, made.id), rows)
    assert (made.origin, made.class_index, made.created_by) == ("lasso", 4, results.built.owner_id)


@pytest.mark.parametrize("rows", ["", "1,2,x", "-4", "3,99999", "5"])
def test_images_that_the_run_did_not_audit_make_no_slice(results: Results, rows: str) -> None:
    answer = results.signed().post(f"{results.run}/picked/save", {"rows": rows, "title": "nothing"})
    assert answer.status_code == 422
    with reading() as session:
        assert repository.count(session, results.built.run_id, origin="lasso") == 0


def test_agreement_needs_two_different_words(results: Results) -> None:
    with transaction() as session:
        people = [session.get_one(User, results.ids[role]) for role in ("owner", "analyst")]
        for person in people:
            annotate.judge(session, session.get_one(Finding, 1), person, "accept")
    found = results.signed().get(f"/api/v1{results.run}/slices").json()["agreement"]
    assert found["kappa"] is None
    assert "at least two different verdicts" in found["sentence"]
