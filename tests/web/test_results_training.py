"""The page of training data, its lists as files, a training image's page, and influence on an image's page."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from app.audits.influence.page_ends import signed
from app.store.models import AuditRun, Query
from app.store.session import transaction
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.influence import NAMED, SHARED, SUMMARY, add_influence, labels


@pytest.fixture
def audited(results: Results) -> Results:
    """The finished run with a result of the kind `influence`."""
    add_influence(results)
    return results


def twin(results: Results, query: str = "") -> dict[str, Any]:
    answer = results.signed("viewer").get(f"/api/v1{results.run}/training{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_lists_are_counted_and_the_first_is_shown(audited: Results) -> None:
    found = twin(audited)
    counts = {one["key"]: one["count"] for one in found["lists"]}
    lists = {"harmful": 48, "mislabelled": 3, "memorised": 5, "duplicated": 2, "leaked": 1}
    assert counts == {**lists, "influence-effects": None}
    assert (found["chosen"], found["split"]) == ("harmful", "train")
    assert "Unverified" in found["text"]
    assert "mean score over the 88 audited images that the model gets wrong" in found["text"]
    assert "48 of 100 training images (48.0 %) lie below zero with their whole interval" in found["text"]
    assert found["items"][0]["text"].endswith("\n−1 ± 0.05")
    assert [item["src"].rpartition("/")[2] for item in found["items"][:3]] == ["0", "1", "2"]


def test_a_list_is_worst_first_and_says_what_it_is_worth(audited: Results) -> None:
    found = twin(audited, "?list=mislabelled")
    assert [int(item["src"].rpartition("/")[2]) for item in found["items"]] == NAMED
    assert "3 of 100 training images (3.0 %)" in found["text"]
    assert "10 wrong labels were planted: it named 7 of them (70 %, 95 % interval 40–89 %); 8 stand" in found["text"]
    own = labels(audited)
    assert found["items"][0]["text"] == f"{CLASSES[own[70]]}\nlooks like {CLASSES[(own[70] + 1) % len(CLASSES)]}"
    assert [int(i["src"].rpartition("/")[2]) for i in twin(audited, "?list=memorised")["items"]] == [99, 98, 97, 96, 95]


def test_page_reads_without_script_and_offers_files(audited: Results) -> None:
    html = audited.signed("viewer").get(f"{audited.run}/training?list=leaked").text
    assert "also in the audited split" in html
    assert f'href="{audited.run}/training/leaked.csv"' in html
    assert 'aria-current="page">Leaked' in html


def test_an_unknown_list_is_told(audited: Results) -> None:
    answer = audited.signed().get(f"{audited.run}/training?list=nothing")
    assert answer.status_code == 404
    assert "harmful, mislabelled" in answer.text


def test_other_people_see_nothing(audited: Results) -> None:
    outsider = audited.signed("outsider")
    for path in ("/training", "/training/leaked.csv", "/training/leaked.parquet"):
        assert outsider.get(f"{audited.run}{path}").status_code == 404


def test_files_say_the_same(audited: Results) -> None:
    browser = audited.signed("viewer")
    plain = pacsv.read_csv(io.BytesIO(browser.get(f"{audited.run}/training/mislabelled.csv").content)).to_pylist()
    packed = pq.read_table(io.BytesIO(browser.get(f"{audited.run}/training/mislabelled.parquet").content)).to_pylist()
    own = labels(audited)
    assert [entry["row"] for entry in packed] == NAMED == [entry["row"] for entry in plain]
    assert {entry["action"] for entry in packed} == {"relabel"}
    assert packed[0]["label"] == CLASSES[own[70]]
    assert packed[0]["new_label"] == CLASSES[(own[70] + 1) % len(CLASSES)]
    assert packed[0]["example_id"] == f"train/{CLASSES[own[70]]}/000070.webp"
    dropped = pq.read_table(io.BytesIO(browser.get(f"{audited.run}/training/harmful.parquet").content))
    assert set(dropped["action"].to_pylist()) == {"drop"}
    assert set(dropped["weight"].to_pylist()) == {0.0}
    weighed = pq.read_table(io.BytesIO(browser.get(f"{audited.run}/training/memorised.parquet").content))
    assert weighed["weight"].to_pylist() == sorted(weighed["weight"].to_pylist())
    assert min(weighed["weight"].to_pylist()) >= 0.1


def test_cleanlab_and_fiftyone_read_their_files(audited: Results) -> None:
    browser = audited.signed("viewer")
    issues = pacsv.read_csv(io.BytesIO(browser.get(f"{audited.run}/training/mislabelled.cleanlab.csv").content))
    assert issues.column_names == ["", "is_label_issue", "label_score", "given_label", "predicted_label"]
    assert issues[""].to_pylist() == NAMED
    file = json.loads(browser.get(f"{audited.run}/training/mislabelled.fiftyone.json").content)
    assert file["classes"] == list(CLASSES)
    own = labels(audited)
    # FiftyOne looks images up by their path below the data folder, without extension.
    assert file["labels"][f"train/{CLASSES[own[70]]}/000070"] == (own[70] + 1) % len(CLASSES)
    assert len(file["labels"]) == len(NAMED)
    assert browser.get(f"{audited.run}/training/mislabelled.exe").status_code == 404


def test_without_influence_the_page_says_what_to_do(results: Results) -> None:
    html = results.signed("viewer").get(f"{results.run}/training").text
    assert "Nothing was attributed to training images" in html


def test_image_page_shows_both_ends_and_that_nothing_is_verified(audited: Results) -> None:
    row = TRAIN_ROWS + 7
    panels = audited.signed("viewer").get(f"/api/v1{audited.run}/images/{row}").json()["panels"]
    context = next(entry["context"] for entry in panels if entry["key"] == "influence-image")
    assert [m["title"] for m in context["methods"]] == ["TRAK", "Similarity"]
    assert "Unverified" in context["note"]
    assert "A helpful training image (+) speaks for this image’s true class" in context["direction"]
    helpful, harmful = (context["methods"][0][end] for end in ("helpful", "harmful"))
    assert [int(i["src"].rpartition("/")[2]) for i in helpful] == [0, 1, 2, 3, 4]
    assert [int(i["src"].rpartition("/")[2]) for i in harmful] == [9, 8, 7, 6, 5]
    assert helpful[0]["text"] == f"{CLASSES[labels(audited)[0]]}\n+5"
    assert "Most harmful" in audited.signed("viewer").get(f"{audited.run}/images/{row}").text


def image_context(results: Results, row: int) -> dict[str, Any]:
    panels = results.signed("viewer").get(f"/api/v1{results.run}/images/{row}").json()["panels"]
    context: dict[str, Any] = next(entry["context"] for entry in panels if entry["key"] == "influence-image")
    return context


@pytest.mark.parametrize(
    ("row", "verdict", "noise"),
    [
        (TRAIN_ROWS + 7, "The ranking is only partly stable.", False),
        (TRAIN_ROWS + 8, "This ranking is noise.", True),
        (TRAIN_ROWS + 9, "The most helpful are noise.", False),
    ],
)
def test_a_ranking_that_is_noise_says_so(audited: Results, row: int, verdict: str, noise: bool) -> None:
    trak, similarity = image_context(audited, row)["methods"]
    assert similarity["steady"] is None
    assert (trak["steady"]["verdict"], trak["steady"]["noise"]) == (verdict, noise)
    helpful, harmful = SHARED[row]
    assert (
        f"Either half of the checkpoints alone names {helpful} of the same 20 most helpful and {harmful} of the same 20"
        in trak["steady"]["text"]
    )
    assert verdict in audited.signed("viewer").get(f"{audited.run}/images/{row}").text


def test_the_run_says_how_stable_its_lists_are(audited: Results) -> None:
    html = audited.signed("viewer").get(audited.run).text
    assert "12.3 [11.9, 12.7] of 20 most helpful" in html
    assert "the most helpful list of 12 audited images and from the most harmful list of 40" in html


def test_run_page_names_what_could_not_be_computed(audited: Results) -> None:
    html = audited.signed("viewer").get(audited.run).text
    assert "This model hides its layer." in html
    assert "98.0 % of the weights" in html
    assert "no network was retrained in this run" in html


def verified(results: Results) -> None:
    """Fill in what retraining would have said."""
    removal = {"predictions": 40, "flipped": 16, "rate": 0.4, "low": 0.26, "high": 0.55, "drop": 1, "drop_low": 0.5,
               "drop_high": 1.5}  # fmt: skip
    trust = {"verified": "verified", "removal": removal}
    methods = [
        {"method": "trak", "lds": 0.2, "low": 0.1, "high": 0.3, **trust},
        {"method": "similarity", "lds": 0.35, "low": 0.28, "high": 0.42, **trust},
    ]
    proof = {"subsets": 64, "repeats": 2, "targets": 90, "repeatability": 0.5, "ceiling": 0.71}
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        more = {"methods": methods, "proof": proof, "random_removal": removal}
        run.summary = {**run.summary, "influence": {**SUMMARY, **more}}


def test_verified_methods_stand_on_one_scale_with_the_better_one_first(audited: Results) -> None:
    verified(audited)
    row = TRAIN_ROWS + 7
    panels = audited.signed("viewer").get(f"/api/v1{audited.run}/images/{row}").json()["panels"]
    context = next(entry["context"] for entry in panels if entry["key"] == "influence-image")
    assert [(m["title"], m["beaten"]) for m in context["methods"]] == [("Similarity", False), ("TRAK", True)]
    assert (context["scale"], context["ceiling"]) == ([0.0, 0.8], 0.71)
    assert context["methods"][0]["lds"] == {"value": 0.35, "low": 0.28, "high": 0.42, "n": 90}
    html = audited.signed("viewer").get(audited.run).text
    assert "no better than similarity" in html
    assert "Random images of the same class" in html
    assert "A perfect attribution would get 0.71." in html
    panels = audited.signed("viewer").get(f"/api/v1{audited.run}").json()["panels"]
    shown = next(entry["context"] for entry in panels if entry["key"].startswith("influence"))
    assert shown["methods"][0]["fall"] == {"value": 1.0, "low": 0.5, "high": 1.5, "n": 40}
    assert shown["falls"] == [0.0, 1.5]
    assert "Fall of the log-odds without them" in html


@pytest.mark.parametrize(
    ("score", "text"), [(0.0000284, "+0.000028"), (-0.00266, "−0.0027"), (2.0, "+2"), (-123.4, "−120")]
)
def test_scores_are_read_without_powers_of_ten(score: float, text: str) -> None:
    assert signed(score) == text


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


def test_what_acts_together_stands_beside_the_lists(audited: Results) -> None:
    found = twin(audited, "?list=influence-effects")
    context = found["panel"]["context"]
    assert "over 400 of the 720 audited images" in context["lead"]
    first, second = context["components"]
    assert first["text"] == "50.0 % of all effects"
    assert first["train_high"][0]["href"] == f"{audited.run}/training/images/3"
    assert first["audited_low"][0]["href"] == f"{audited.run}/images/{TRAIN_ROWS + 6}"
    assert second["train_high"] == []
    assert context["clusters"][0]["text"] == f"{CLASSES[0]} 75 %, {CLASSES[1]} 25 %"
    html = audited.signed("viewer").get(f"{audited.run}/training?list=influence-effects").text
    assert 'aria-current="page">What acts together' in html


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
