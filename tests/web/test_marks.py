"""Tags on slices and images, and slices that are given to people."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import select

from app.services import annotate
from app.store.models import Assignment, AuditLog, AuditRun, Finding, Tag, User
from app.store.session import reading, transaction
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results

ADA, BEN = "ada@example.org", "ben@example.org"
ROW = TRAIN_ROWS + 7


@pytest.mark.parametrize("path", ["slices/1/tag", "slices/1/assign", f"images/{ROW}/tag"])
def test_only_those_who_may_judge_leave_marks(results: Results, path: str) -> None:
    sent = {"tag": "night", "assignee": BEN}
    assert results.signed("viewer").post(f"{results.run}/{path}", sent).status_code == 403
    assert results.signed("outsider").post(f"{results.run}/{path}", sent).status_code == 404
    assert results.signed().post(f"{results.run}/{path}", {**sent, "csrf": "forged"}).status_code == 403
    with reading() as session:
        assert session.scalars(select(Tag)).all() == []
        assert session.scalars(select(Assignment)).all() == []


def test_a_tag_stands_on_the_card_and_filters_the_list(results: Results) -> None:
    owner = results.signed()
    for name in ("  Night   shots ", "night shots"):
        assert owner.post(f"{results.slice()}/tag", {"tag": name}).status_code == 303
    page = owner.get(f"/api/v1{results.slice()}").json()
    assert page["tags"] == page["known_tags"] == ["night shots"]
    found = owner.get(f"/api/v1{results.run}/slices?tag=night+shots").json()
    assert [(card["id"], card["tags"]) for card in found["cards"]] == [(1, ["night shots"])]
    assert found["total"] == 1
    assert owner.get(f"/api/v1{results.run}/slices?tag=other").json()["cards"] == []
    assert "No slice like that" in owner.get(f"{results.run}/slices?tag=other").text
    owner.post(f"{results.slice()}/tag", {"remove": "night shots"})
    assert owner.get(f"/api/v1{results.slice()}").json()["tags"] == []


@pytest.mark.parametrize(
    ("tag", "said"), [(" ", "Write a tag"), ("x" * 41, "at most 40 characters"), ("<b>", "letters, digits")]
)
def test_what_is_no_tag_is_refused_with_what_was_typed(results: Results, tag: str, said: str) -> None:
    for path in (results.slice(), f"{results.run}/images/{ROW}"):
        answer = results.signed().post(f"{path}/tag", {"tag": tag})
        assert answer.status_code == 422
        assert said in answer.text
        assert "<b>" not in answer.text
        assert tag.strip().replace("<", "&lt;").replace(">", "&gt;") in answer.text


def test_a_tag_on_an_image_filters_the_grid_and_stands_in_every_run(results: Results) -> None:
    owner = results.signed()
    assert owner.post(f"{results.run}/images/{ROW}/tag", {"tag": "relabel"}).status_code == 303
    grid = owner.get(f"/api/v1{results.run}/images?tag=relabel").json()["images"]
    assert [item["href"].split("?")[0] for item in grid["items"]] == [f"{results.run}/images/{ROW}"]
    assert [choice["value"] for choice in grid["tags"]] == ["relabel"]
    assert owner.get(f"/api/v1{results.run}/images/{ROW}").json()["tags"] == ["relabel"]
    with reading() as session:
        kept = session.scalars(select(Tag)).one()
    assert (kept.subject_type, kept.scope_id, kept.subject_id) == ("image", results.built.dataset_id, ROW)
    assert owner.post(f"{results.run}/images/3/tag", {"tag": "train"}).status_code == 404


def test_a_slice_is_given_to_a_member_who_may_judge(results: Results) -> None:
    owner = results.signed()
    for address, said in (("nobody@example.org", "Nobody in this project"), ("viewer@example.org", "may only read")):
        refused = owner.post(f"{results.slice()}/assign", {"assignee": address})
        assert refused.status_code == 422
        assert said in refused.text
    for address in (ADA, BEN):
        assert owner.post(f"{results.slice()}/assign", {"assignee": address}).status_code == 303
    cards = owner.get(f"/api/v1{results.run}/slices").json()
    assert {card["id"]: card["assignee"] for card in cards["cards"]}[1] == "Ben"
    assert [person["text"] for person in cards["people"]] == ["Ben"]
    with reading() as session:
        assert [entry.action for entry in session.scalars(select(AuditLog))] == ["slice_assigned"] * 2


def test_what_was_given_to_me_comes_first_until_i_judge_it(results: Results) -> None:
    results.signed("owner").post(f"{results.slice()}/assign", {"assignee": BEN})
    ben = results.signed("analyst")
    mine = ben.get(f"/api/v1{results.run}/slices?assigned=me").json()["cards"]
    assert [card["id"] for card in mine] == [1]
    assert results.signed("owner").get(f"/api/v1{results.run}/slices?assigned=me").json()["cards"] == []
    waiting = ben.get("/api/v1/home").json()["waiting"]
    assert waiting[0]["text"].startswith("1 slice waits for you")
    assert waiting[0]["action"]["href"] == f"{results.run}/slices?assigned=me"
    ben.post(f"{results.slice()}/verdict", {"verdict": "accept"})
    assert "waits for you" not in str(ben.get("/api/v1/home").json()["waiting"])


def test_a_judged_slice_needs_nobody(results: Results) -> None:
    owner = results.signed()
    unjudged = owner.get("/api/v1/home").json()["waiting"][0]["text"]
    assert unjudged.startswith("3 confirmed slices have no verdict")
    owner.post(f"{results.slice()}/verdict", {"verdict": "accept"})
    assert owner.get("/api/v1/home").json()["waiting"][0]["text"].startswith("2 confirmed slices have no verdict")


def test_a_renamed_slice_keeps_its_marks_and_an_extended_one_too(results: Results) -> None:
    owner = results.signed()
    owner.post(f"{results.slice()}/tag", {"tag": "night"})
    owner.post(f"{results.slice()}/assign", {"assignee": BEN})
    renamed = int(owner.post(f"{results.slice()}/rename", {"title": "new"}).headers["location"].rsplit("/", 1)[1])
    other = int(np.flatnonzero(results.built.rows.where(2, "red", "grass"))[0]) + TRAIN_ROWS
    added = owner.post(f"{results.run}/images/{other}/add", {"slice": str(renamed)})
    extended = int(added.headers["location"].rsplit("/", 1)[1])
    for finding_id, given in ((renamed, ""), (extended, "Ben")):
        page = owner.get(f"/api/v1{results.run}/slices/{finding_id}").json()
        assert (page["tags"], page["assignee"]) == (["night"], given)


def test_scripts_leave_the_same_marks(results: Results) -> None:
    owner = results.signed()
    base = f"/api/v1{results.slice()}"
    assert owner.send("POST", f"{base}/tags", json={"tag": " Night "}).json() == {"tag": "night"}
    assert owner.send("PUT", f"{base}/assignee", json={"assignee": BEN.upper()}).json() == {"assignee": BEN}
    image = f"/api/v1{results.run}/images/{ROW}/tags"
    assert owner.send("POST", image, json={"tag": "dusk"}).status_code == 201
    assert owner.send("DELETE", f"{image}/dusk").status_code == 204
    assert owner.send("DELETE", f"{base}/tags/night").status_code == 204
    assert owner.send("PUT", f"{base}/assignee", json={"assignee": ""}).json() == {"assignee": ""}
    with reading() as session:
        assert session.scalars(select(Tag)).all() == []
        assert session.scalars(select(Assignment)).all() == []


def test_a_report_shows_tags_and_not_whose_work_it_is(results: Results) -> None:
    owner = results.signed()
    owner.post(f"{results.slice()}/tag", {"tag": "night shots"})
    owner.post(f"{results.slice()}/assign", {"assignee": BEN})
    made = owner.post(f"{results.run}/reports", {}).headers["location"]
    page = owner.get(f"/api/v1{made}").json()
    cards = next(panel for panel in page["view"]["panels"] if panel["key"] == "slices-worst")["context"]["confirmed"]
    assert [(card["tags"], card["assignee"]) for card in cards if card["id"] == 1] == [(["night shots"], "")]
    assert "night shots" in owner.get(made).text


def test_an_image_added_by_hand_makes_a_slice_that_confirms_nothing(results: Results) -> None:
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        user = session.get_one(User, results.built.owner_id)
        made = annotate.extend(session, run, session.get_one(Finding, 1), user, [ROW])
        assert made.origin == "extend"
