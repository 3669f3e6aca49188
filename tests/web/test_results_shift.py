"""Pages of the kind `shift`: both sets' figures, what moved, and the images behind every line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from app.audits.shift.schema import Line
from app.numerics.shift.published import published
from app.store.models import AuditRun
from app.store.session import transaction
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results
from tests.web.shift import CAT, add_shift


def panel(results: Results, path: str) -> dict[str, Any]:
    found = results.signed().get(f"/api/v1{path}").json()["panels"]
    return dict(next(one for one in found if one["kind"] == "shift")["context"])


def test_the_page_says_what_kind_of_shift_it_is_and_what_it_costs(results: Results, tmp_path: Path) -> None:
    summary = add_shift(results, tmp_path)
    page, context = results.signed().get(results.robustness).text, panel(results, results.robustness)
    change = summary["accuracy"]["change"]
    assert context["change"]["second"]["value"] == change["second"]["value"]
    assert context["lost"]["value"] == pytest.approx(-change["difference"]["value"])
    assert (context["lost"]["low"], context["lost"]["high"]) == pytest.approx(
        (-change["difference"]["high"], -change["difference"]["low"])
    )
    for said in ("What kind of shift it is", "1,000 permutations, Holm", "Back-test", "Effective robustness"):
        assert said in page
    assert "which they do not here: part of what it says is the change of the images" in page
    assert "The budget “quick” leaves out images beyond 500 of each set from MMD" in page
    assert "None of this project's other models is audited on both sets" in page.replace("&#39;", "'")


def test_the_scorecard_has_the_accuracy_lost(results: Results, tmp_path: Path) -> None:
    add_shift(results, tmp_path)
    page = results.signed().get(f"/api/v1{results.robustness}").json()
    line = next(line for line in page["scorecard"]["lines"] if line["kind"] == "shift")
    assert line["title"] == "Shift to Scenes / train"
    assert line["estimate"]["value"] == pytest.approx(panel(results, results.robustness)["lost"]["value"])
    assert line["good"] is False
    assert page["classes"]["columns"][0]["title"] == "right on Scenes / train"


def test_every_line_leads_to_images_of_both_sets(results: Results, tmp_path: Path) -> None:
    add_shift(results, tmp_path)
    context, owner = panel(results, results.robustness), results.signed()
    lines = [line for name in ("classes", "slices", "values") for line in context[name]["lines"]]
    assert {line["found"]["key"].partition("-")[0] for line in lines} == {"class", "value", "direction"}
    for line in lines:
        answer = owner.get(line["href"])
        assert answer.status_code == 200
        pictures = re.findall(rf'src="(/datasets/{results.built.dataset_id}/thumbs/(\d+))"', answer.text)
        n = line["found"]["prevalence"]
        rows = [int(row) for _, row in pictures]
        assert bool([row for row in rows if row < TRAIN_ROWS]) == (n["second"]["value"] > 0)
        assert bool([row for row in rows if row >= TRAIN_ROWS]) == (n["first"]["value"] > 0)
    assert owner.get(pictures[0][0]).headers["content-type"] == "image/webp"


def test_an_image_of_the_second_set_has_a_page(results: Results, tmp_path: Path) -> None:
    add_shift(results, tmp_path)
    typical = panel(results, f"{results.run}/cells/shift/typical")
    assert typical["second"]
    assert typical["first"]
    href = typical["second"][0]["href"]
    context = panel(results, href)
    assert context["score"] > 0
    assert context["original"].startswith(f"/datasets/{results.built.dataset_id}/images/")
    assert results.signed().get(context["original"]).status_code == 200
    assert results.signed().get(f"{results.run}/cells/shift/image-{TRAIN_ROWS}").status_code == 404


def test_classes_slices_and_images_have_their_part(results: Results, tmp_path: Path) -> None:
    summary = add_shift(results, tmp_path)
    cats = next(group for group in summary["accuracy"]["classes"] if group["class_index"] == CAT)
    of_class = panel(results, f"{results.run}/classes/{CAT}")
    assert of_class["line"]["found"]["accuracy"]["second"] == cats["accuracy"]["second"]
    assert of_class["line"]["share_moved"]
    of_slice = panel(results, results.slice("direction-cat-0"))
    assert of_slice["line"]["found"]["key"] == "direction-cat-0"
    assert "the rule and the slice agree on" in of_slice["note"]
    image = panel(results, f"{results.run}/images/{TRAIN_ROWS + 3}")
    assert 0 <= image["share"] <= 1
    for path in (f"{results.run}/classes/{CAT}", results.slice("direction-cat-0")):
        assert "In the second data set" in results.signed().get(path).text


def test_slices_that_the_rule_does_not_find_again_are_left_out(results: Results, tmp_path: Path) -> None:
    summary = add_shift(results, tmp_path)
    assert summary["groups"]["not_placed"] == 1
    assert "1 further confirmed slice is left out" in results.signed().get(results.robustness).text


def test_without_labels_the_estimate_is_the_headline(results: Results, tmp_path: Path) -> None:
    summary = add_shift(results, tmp_path, labelled=False)
    page = results.signed().get(results.robustness).text
    assert "right, estimated without labels" in page
    assert "without labels)" in page
    assert "no image of the second set can be placed" in page
    line = results.signed().get(f"/api/v1{results.robustness}").json()["scorecard"]["lines"][0]
    assert line["estimate"]["value"] == summary["accuracy"]["unlabelled"]["estimate"]["value"]
    assert line["doubt"].startswith("On parts of the audited set")


def test_without_embeddings_the_page_says_what_is_missing(results: Results, tmp_path: Path) -> None:
    add_shift(results, tmp_path, embedded=False)
    page = results.signed().get(results.robustness).text
    assert "There are no embeddings of both sets" in page
    assert "Slices are directions among embeddings, and the second set has none." in page
    assert results.signed().get(f"{results.run}/cells/shift/typical").status_code == 404
    assert "Beside the second data set" not in results.signed().get(f"{results.run}/images/{TRAIN_ROWS}").text


def test_a_report_has_the_figures_and_leads_nowhere(results: Results, tmp_path: Path) -> None:
    add_shift(results, tmp_path)
    report = results.report()
    page = results.signed().get(f"/reports/{report}").text
    assert "Shift to a second data set" in page
    assert "What kind of shift it is" in page
    assert "/cells/" not in page
    pictures = re.findall(rf'src="(/reports/{report}/kept/dataset/{results.built.dataset_id}/\d+)"', page)
    assert len(pictures) == 12
    live = panel(results, results.robustness)["typical"]
    for shown, original in zip(pictures, live, strict=True):
        assert results.signed().get(shown).content == results.signed().get(original["src"]).content


@pytest.mark.parametrize("key", ["class-9", "slice-none", "value-99", "image-x", "nothing"])
def test_what_was_not_measured_is_not_there(results: Results, tmp_path: Path, key: str) -> None:
    add_shift(results, tmp_path)
    assert results.signed().get(f"{results.run}/cells/shift/{key}").status_code == 404


def test_others_see_nothing_of_it(results: Results, tmp_path: Path) -> None:
    add_shift(results, tmp_path)
    assert results.signed("outsider").get(f"{results.run}/cells/shift/typical").status_code == 404


def test_other_models_make_a_line(results: Results, tmp_path: Path) -> None:
    summary = add_shift(results, tmp_path)
    accuracies = [(0.6, 0.35), (0.7, 0.45), (0.8, 0.56), (0.95, 0.8)]
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        for first, second in accuracies:
            _other_model(session, run, first, second, summary)
    robust = panel(results, results.robustness)["effective"][0]
    assert [(model["first"], model["second"]) for model in robust["models"]] == accuracies[::-1]
    x, y = (np.log(np.array(of) / (1 - np.array(of))) for of in zip(*accuracies, strict=True))
    slope, intercept = np.polyfit(x, y, 1)
    own = summary["accuracy"]["change"]["first"]["value"]
    expected = 1 / (1 + np.exp(-(slope * np.log(own / (1 - own)) + intercept)))
    assert robust["expected"] == pytest.approx(expected)
    second = summary["accuracy"]["change"]["second"]["value"]
    assert robust["residual"]["value"] == pytest.approx(second - expected)
    assert robust["residual"]["low"] < robust["residual"]["value"] < robust["residual"]["high"]


def test_a_published_line_is_drawn_where_somebody_chose_it(results: Results, tmp_path: Path) -> None:
    summary = add_shift(results, tmp_path)
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        run.summary = {**run.summary, "shift": {**summary, "published": "imagenetv2"}}
    own, line = panel(results, results.robustness)["effective"]
    assert own["residual"] is None
    known = published()["imagenetv2"]
    x, y = (np.log(of / (1 - of)) for of in (known.accuracy, known.shifted_accuracy))
    slope, intercept = np.polyfit(x, y, 1)
    first = summary["accuracy"]["change"]["first"]["value"]
    expected = 1 / (1 + np.exp(-(slope * np.log(first / (1 - first)) + intercept)))
    assert line["expected"] == pytest.approx(expected)
    assert line["source"] == known.source
    page = results.signed().get(results.robustness).text
    assert f"Against {len(known.models)} published models" in page
    assert known.models[0] in page


def test_the_lines_to_choose_from_are_those_that_are_there() -> None:
    assert get_args(Line) == ("none", *published())


def _other_model(session: Any, run: AuditRun, first: float, second: float, summary: dict[str, Any]) -> None:
    """Another model of the project: audited on both sets by a run of its own each."""
    from app.store.models import Model, ModelVersion

    old = session.get_one(ModelVersion, run.model_version_id)
    model = Model(project_id=run.project_id, name=f"m{first}")
    session.add(model)
    session.flush()
    version = ModelVersion(model_id=model.id, number=1, format=old.format, spec=old.spec, status="succeeded")
    session.add(version)
    session.flush()
    for split, value in ((run.split, first), (summary["second"]["split"], second)):
        accuracy = {"value": value, "k": int(1000 * value), "n": 1000, "low": 0, "high": 1}
        session.add(
            AuditRun(
                project_id=run.project_id, name="o", model_version_id=version.id, dataset_id=run.dataset_id,
                split=split, kinds=[], encoder="", seed=0, status="succeeded", summary={"card": {"accuracy": accuracy}},
            )
        )  # fmt: skip
    session.flush()
