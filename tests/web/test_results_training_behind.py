"""What stands behind single training images, slices and two runs: their pages and questions."""

from __future__ import annotations

from typing import Any

import pytest

from app.store.models import AuditRun, Query
from app.store.session import transaction
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.influence import NAMED, add_influence, labels
from tests.web.test_results_training import twin


@pytest.fixture
def audited(results: Results) -> Results:
    """The finished run with a result of the kind `influence`."""
    add_influence(results)
    return results


def training_image(results: Results, row: int, query: str = "") -> dict[str, Any]:
    answer = results.signed("viewer").get(f"/api/v1{results.run}/training/images/{row}{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_every_training_picture_leads_to_its_page(audited: Results) -> None:
    row = NAMED[0]
    page = f"{audited.run}/training/images/{row}"
    assert twin(audited, "?list=mislabelled")["items"][0]["href"] == f"{page}?list=mislabelled"
    html = audited.signed("viewer").get(f"{audited.run}/images/{TRAIN_ROWS + 7}").text
    assert f'href="{audited.run}/training/images/9"' in html


def test_a_training_image_shows_whom_it_helps_and_hurts(audited: Results) -> None:
    found = training_image(audited, 8)
    assert (found["label"], found["split"]) == (CLASSES[labels(audited)[8]], "train")
    context = next(p["context"] for p in found["panels"] if p["key"] == "influence-felt")
    trak = context["methods"][0]
    assert [int(i["src"].rpartition("/")[2]) - TRAIN_ROWS for i in trak["helpful"]] == [3]
    assert [int(i["src"].rpartition("/")[2]) - TRAIN_ROWS for i in trak["harmful"]] == [4, 2]
    assert "against that of those that it hurts (−)" in context["direction"]
    lines = trak["harmful"][0]["text"].split("\n")
    rows = audited.built.rows
    assert lines[0] == CLASSES[rows.label[4]]
    assert lines[1:-1] == ([f"taken for {CLASSES[rows.prediction[4]]}"] if rows.wrong[4] else [])
    assert lines[-1] == "−3"
    assert trak["helpful"][0]["href"] == f"{audited.run}/images/{TRAIN_ROWS + 3}"


def test_a_training_image_says_what_is_known_of_it(audited: Results) -> None:
    facts = {
        fact["name"]: fact
        for panel in training_image(audited, NAMED[0])["panels"]
        if panel["key"] == "influence-facts"
        for fact in panel["context"]["facts"]
    }
    likelier = CLASSES[(labels(audited)[NAMED[0]] + 1) % len(CLASSES)]
    assert facts["Label"]["value"] == f"probably wrong, looks like {likelier}"
    assert "0.01 of 1" in facts["Label"]["note"]
    assert "place 30 of 100" in facts["Self-influence"]["note"]
    html = audited.signed("viewer").get(f"{audited.run}/training/images/8").text
    assert "with another label on one of them" in html
    assert "also in the audited split" in audited.signed("viewer").get(f"{audited.run}/training/images/5").text


def test_a_training_image_steps_along_its_list(audited: Results) -> None:
    found = training_image(audited, NAMED[1], "?list=mislabelled")
    beside = [f"{audited.run}/training/images/{row}?list=mislabelled" for row in (NAMED[0], NAMED[2])]
    assert [found["previous"], found["next"]] == beside
    assert found["list_href"] == f"{audited.run}/training?list=mislabelled"
    assert {one["title"]: (one["place"], one["total"]) for one in found["lists"]}["Probably mislabelled"] == (2, 3)


def test_only_training_images_have_that_page(audited: Results) -> None:
    for row in (TRAIN_ROWS, 10**6):
        answer = audited.signed().get(f"{audited.run}/training/images/{row}")
        assert answer.status_code == 404
    assert audited.signed("outsider").get(f"{audited.run}/training/images/8").status_code == 404


def behind(results: Results) -> dict[str, Any]:
    panels = results.signed().get(f"/api/v1{results.slice()}").json()["panels"]
    context: dict[str, Any] = next(entry["context"] for entry in panels if entry["key"] == "influence-behind")
    return context


def settle(results: Results, status: str, result: dict[str, Any] | None = None, error: str = "") -> None:
    """End the latest question as a worker does."""
    with transaction() as session:
        query = session.get_one(Query, results.questions()[-1].id)
        query.status, query.result, query.error = status, result or {}, error


def test_a_slice_is_attributed_once_it_is_asked(audited: Results) -> None:
    before = len(audited.questions())
    html = audited.signed("viewer").get(audited.slice()).text
    assert f'method="post" action="{audited.slice()}/behind"' in html
    for role in ("viewer", "owner"):
        answer = audited.signed(role).post(f"{audited.slice()}/behind")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{audited.slice()}#influence-behind")
    asked = audited.questions()[before:]
    assert [(q.kind, q.action, q.status) for q in asked] == [("influence", "behind_slice", "queued")]
    assert asked[0].payload["rows"] == sorted(asked[0].payload["rows"])
    assert behind(audited)["waiting"]
    assert "Look again" in audited.signed().get(f"{audited.slice()}/behind").text
    assert audited.signed("outsider").post(f"{audited.slice()}/behind").status_code == 404
    assert "Training images behind" not in audited.signed().get(f"{audited.run}/ask").text


def test_the_answer_stands_on_the_slice_s_page(audited: Results) -> None:
    audited.signed().post(f"{audited.slice()}/behind")
    scored = [{"row": row, "label": int(labels(audited)[row]), "score": 2.5} for row in (4, 6)]
    method = {"method": "similarity", "asked": 5, "helpful": scored, "harmful": []}
    halved = {"method": "trak", "asked": 20, "helpful": scored, "harmful": scored, "shared": [16, 18]}
    settle(audited, "succeeded", {"finding_id": 1, "members": 20, "methods": [method, halved]})
    found = behind(audited)
    assert (found["waiting"], found["members"]) == (False, 20)
    assert [(m["title"], m["steady"] and m["steady"]["verdict"]) for m in found["methods"]] == [
        ("TRAK", "Stable ranking."),
        ("Similarity", None),
    ]
    assert [i["href"] for i in found["methods"][1]["helpful"]] == [
        f"{audited.run}/training/images/{row}" for row in (4, 6)
    ]
    assert found["partly"] == ["Similarity: mean over a sample of 5 members."]
    html = audited.signed("viewer").get(audited.slice()).text
    assert "Mean score over the slice’s 20 images" in html
    assert "No score is negative." in html
    assert audited.signed().get(f"{audited.run}/questions/{audited.questions()[-1].id}").status_code == 200


def test_a_failed_answer_is_told_and_can_be_asked_again(audited: Results) -> None:
    audited.signed().post(f"{audited.slice()}/behind")
    settle(audited, "failed", error="The run names no training split.")
    html = audited.signed().get(audited.slice()).text
    assert "The run names no training split." in html
    audited.signed().post(f"{audited.slice()}/behind")
    assert audited.questions()[-1].status == "queued"


def test_a_run_without_influence_attributes_no_slice(results: Results) -> None:
    assert results.signed().post(f"{results.slice()}/behind").status_code == 404
    assert "influence-behind" not in results.signed().get(results.slice()).text


def twins(results: Results) -> int:
    """A second finished run on the same data; its id."""
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        columns = {c.name: getattr(run, c.name) for c in AuditRun.__table__.columns if c.name != "id"}
        other = AuditRun(**{**columns, "name": "The other one"})
        session.add(other)
        session.flush()
        return int(other.id)


def test_alone_a_run_is_compared_with_nothing(audited: Results) -> None:
    assert "no other run to compare with" in audited.signed("viewer").get(f"{audited.run}/compare").text


def test_two_runs_are_compared_once(audited: Results) -> None:
    other, before = twins(audited), len(audited.questions())
    page = f"{audited.run}/compare?with={other}"
    html = audited.signed("viewer").get(page).text
    assert f'<option value="{other}" selected>The other one (run {other})' in html
    assert "Not compared yet" in html
    for role in ("viewer", "owner"):
        answer = audited.signed(role).post(f"{audited.run}/compare", data={"with": str(other)})
        assert (answer.status_code, answer.headers["location"]) == (303, page)
    asked = audited.questions()[before:]
    assert [(q.kind, q.action, q.payload) for q in asked] == [("influence", "compare", {"other_run_id": other})]
    answer_path = f"{audited.run}/compare/answer?with={other}"
    assert answer_path in audited.signed().get(page).text
    assert "hx-refresh" not in audited.signed().get(answer_path).headers
    one = {"own": 0.4, "other": 0.1, "low": 0.25, "high": 0.35, "n": 200, "train_high": [3], "train_low": [6],
           "audited_high": [TRAIN_ROWS], "audited_low": []}  # fmt: skip
    settle(audited, "succeeded", {
        "other_run_id": other, "method": "trak", "targets": 400, "of_targets": 720, "similarity": 0.6, "low": 0.5,
        "high": 0.7, "own": [one], "others": [{**one, "low": -0.1}],
    })  # fmt: skip
    assert audited.signed().get(answer_path).headers["hx-refresh"] == "true"
    context = audited.signed().get(f"/api/v1{page}").json()["panel"]["context"]
    assert context["own"][0]["text"] == (
        "40.0 % of what it leans on, 10.0 % of what the other does: 25.0–35.0 points more (95 % interval, n 200)"
    )
    assert context["others"][0]["text"].endswith("no more than chance on the 200 images that did not choose it")
    html = audited.signed("viewer").get(page).text
    assert "Agreement of attributions" in html
    assert f'href="{audited.run}/training/images/3"' in html


def test_a_run_on_other_data_cannot_be_compared(audited: Results) -> None:
    other = twins(audited)
    with transaction() as session:
        session.get_one(AuditRun, other).train_split = ""
    answer = audited.signed().post(f"{audited.run}/compare", data={"with": str(other)})
    assert answer.status_code == 409
    assert "same data set, audited split and training split" in answer.text
    assert audited.signed().post(f"{audited.run}/compare", data={"with": ""}).status_code == 422
    assert audited.signed("outsider").get(f"{audited.run}/compare?with={other}").status_code == 404
