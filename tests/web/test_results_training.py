"""The page of training data, its lists as files, a training image's page, and influence on an image's page."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from app.audits.influence.page_ends import signed
from app.store.models import AuditRun
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
