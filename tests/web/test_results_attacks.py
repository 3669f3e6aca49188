"""Pages of the kind `attacks`: the run, an image, a class, a slice, and the form that asks for it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from app.audits.attacks.schema import NAMES
from app.audits.attacks.worst import first_column, worst_places
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.attacks import add_attacks
from tests.web.conftest import Results


def panel(results: Results, path: str, key: str = "attacks") -> dict[str, Any]:
    found = results.signed().get(f"/api/v1{path}").json()["panels"]
    context: dict[str, Any] = next(one for one in found if one["key"] == key)["context"]
    return context


def test_the_run_shows_shares_with_intervals_and_what_broke_them(results: Results) -> None:
    details = add_attacks(results)
    outcome, by = details["outcome"], details["by"]
    context = panel(results, results.robustness)
    for column, level in enumerate(context["levels"], 1):
        assert level["robust"]["value"] == pytest.approx(outcome[:, column].mean())
        assert level["robust"]["low"] < level["robust"]["value"] < level["robust"]["high"]
        assert level["robust"]["n"] == len(outcome)
        assert level["broken"] == [int((by[:, column - 1] == place).sum()) for place in range(len(NAMES))]
    html = results.signed("viewer").get(results.robustness).text
    assert "Right under attack, L∞ ε = 8/255" in html
    assert "it is AutoAttack’s standard ensemble" in html
    assert "not proven to be robust" in html
    assert "<script>" not in html


def test_signs_of_masking_stand_beside_the_share_in_words(results: Results) -> None:
    add_attacks(results)
    context = panel(results, results.robustness)
    assert context["doubts"] == 1
    assert context["signs"][0]["title"] == "Guessing beats gradients"
    html = results.signed().get(results.robustness).text
    assert "One sign speaks against these shares" in html
    assert "the gradients are masked" in html


def test_the_worst_images_are_shown_as_original_change_and_result(results: Results) -> None:
    details = add_attacks(results)
    worst = details["positions"][worst_places(details["outcome"], details["margin"])]
    kept = {int(position) for position, _ in details["pictures.of"]}
    expected = [int(position) for position in worst if int(position) in kept]
    shown = panel(results, results.robustness)["triples"]
    assert [int(one["href"].rpartition("/")[2]) - TRAIN_ROWS for one in shown] == expected
    first, change, last = shown[0]["pictures"]
    assert change["text"] == "change, amplified ×15.9"
    place = details["positions"].tolist().index(expected[0])
    label = int(details["labels"][place])
    assert (first["text"], first["wrong"]) == (CLASSES[label], False)
    assert (last["text"], last["wrong"]) == (CLASSES[(label + 1) % len(CLASSES)], True)
    html = results.signed().get(results.robustness).text
    sources = re.findall(rf'src="({results.run}/kept/attacks/summarise/\d+)"', html)
    assert len(sources) == 3 * len(expected)
    assert results.signed().get(sources[0]).headers["content-type"] == "image/webp"


def test_an_image_says_what_became_of_it(results: Results) -> None:
    details = add_attacks(results)
    column = first_column(details["outcome"])
    kept = {int(position) for position, _ in details["pictures.of"]}
    broke = next(i for i in np.flatnonzero(column > 0) if int(details["positions"][i]) in kept)
    for place, words in (
        (broke, f"A change of at most L∞ ε = {('2/255', '8/255')[column[broke] - 1]} makes the model wrong"),
        (np.flatnonzero(column < 0)[0], "It withstood every attack that ran, up to L∞ ε = 8/255. That is no proof."),
        (np.flatnonzero(column == 0)[0], "wrong on this image as it is"),
    ):
        path = f"{results.run}/images/{TRAIN_ROWS + int(details['positions'][place])}"
        assert words in results.signed().get(path).text
        context = panel(results, path, "attacks-image")
        assert (context["triple"] is not None) == (place == broke)
        assert len(context["levels"]) == 2


def test_classes_and_slices_have_their_own_shares(results: Results) -> None:
    details = add_attacks(results)
    context = panel(results, f"{results.run}/classes/1")
    members = details["outcome"][details["labels"] == 1]
    assert [level["robust"]["value"] for level in context["levels"]] == pytest.approx(members[:, 1:].mean(axis=0))
    slices = panel(results, results.robustness)["slices"]
    assert slices
    values = [line["robust"]["value"] for line in slices]
    assert values == sorted(values)
    context = panel(results, slices[0]["href"])
    assert context["levels"][-1]["robust"] == slices[0]["robust"]


def test_without_gradients_the_page_says_that_square_ran_alone(results: Results) -> None:
    add_attacks(results, "A torchscript model gives no gradients; upload it as safetensors.")
    html = results.signed().get(results.robustness).text
    assert "Only Square ran, with 5,000 queries an image" in html
    assert "upload it as safetensors" in html
    assert panel(results, results.robustness)["attacks"] == ["Square"]


def test_what_could_not_be_attacked_says_why(results: Results) -> None:
    assert "There is no network." in results.unmeasured("attacks", "There is no network.")


def test_a_report_holds_the_shares(results: Results) -> None:
    add_attacks(results)
    report = results.report()
    page = results.signed().get(f"/reports/{report}").text
    assert "Adversarial attacks" in page
    assert "Can it be believed?" in page
    pictures = re.findall(rf'src="(/reports/{report}/kept/attacks/summarise/\d+)"', page)
    assert len(pictures) == 3 * 4
    assert results.signed().get(pictures[0]).headers["content-type"] == "image/webp"
    assert f"{results.run}/images" not in page


def test_a_known_data_set_stands_among_published_rows(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add_attacks(results)
    assert panel(results, results.robustness)["standing"] is None
    monkeypatch.setattr("app.audits.attacks.standing.known_as", lambda _classes: "cifar10")
    context = panel(results, results.robustness)["standing"]
    level = panel(results, results.robustness)["levels"][1]["robust"]
    ours = next(row for row in context["rows"] if row["ours"])
    assert ours["robust"] == level["value"]
    html = results.signed().get(results.robustness).text
    assert "Among published models" in html
    assert f"would stand at place {ours['place']} of 100" in html
    assert 'href="https://arxiv.org/abs/2404.09349"' in html
