"""Every result page: who may open it, what it says, and that its twin says the same."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results

PATHS = (
    "",
    "/slices",
    "/slices?q=white&evidence=confirmed&label=2&method=direction",
    "/slices/{slice}",
    "/classes",
    "/classes?q=CA&sort=name",
    "/classes/2",
    "/images",
    "/images?outcome=wrong&role=confirm&sort=confidence+DESC&label=1&predicted=0",
    "/images/{row}",
    "/images/{row}?label=2&sort=decision",
    "/map",
    "/map?colour=slice",
    "/ask",
    "/questions/{query}",
)
ANALYSTS = ("/climb", "/climb?label=2&outcome=wrong")
FILES = ("/map/points.bin", "/points.bin?label=2")


def at(results: Results, path: str) -> str:
    names = {"slice": results.built.finding_ids["direction-cat-0"], "row": TRAIN_ROWS + 5, "query": 1}
    return results.run + path.format(**names)


@pytest.mark.parametrize("path", PATHS)
def test_members_read_the_page_and_its_twin(results: Results, path: str) -> None:
    viewer = results.signed("viewer")
    page = viewer.get(at(results, path))
    assert page.status_code == 200, page.text[:300]
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.count("<h1") == 1
    twin = viewer.get("/api/v1" + at(results, path))
    assert twin.status_code == 200, twin.text[:300]


@pytest.mark.parametrize("path", [*PATHS, *FILES])
def test_outsiders_find_nothing(results: Results, path: str) -> None:
    outsider = results.signed("outsider")
    assert outsider.get(at(results, path)).status_code == 404
    assert results.client.get(at(results, path)).status_code in {303, 401}


@pytest.mark.parametrize("path", ANALYSTS)
def test_marking_needs_an_analyst(results: Results, path: str) -> None:
    assert results.signed("viewer").get(at(results, path)).status_code == 403
    assert results.signed("analyst").get(at(results, path)).status_code == 200


@pytest.mark.parametrize("path", ["/slices/999", "/classes/5", "/images/1", "/images/99999", "/questions/99"])
def test_what_is_not_there(results: Results, path: str) -> None:
    assert results.signed().get(results.run + path).status_code == 404


def test_pages_hold_no_script_or_style_of_their_own(results: Results) -> None:
    for path in PATHS:
        html = results.signed().get(at(results, path)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", html), path
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", html), path


def test_every_picture_has_words(results: Results) -> None:
    html = results.signed().get(at(results, "/slices/{slice}")).text
    pictures = re.findall(r"<img [^>]*>", html)
    assert len(pictures) > 40
    assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)


def test_the_report_card_counts_its_rows(results: Results) -> None:
    rows = results.built.rows
    html = results.signed().get(results.run).text
    assert f"{100 * (1 - rows.wrong.mean()):.1f}" in html
    assert f"5 candidate slices were tested on {rows.confirm.sum():,} images that no step of the search saw." in html
    assert "at most 5\N{NO-BREAK SPACE}% are expected to be chance" in html
    assert "You can trust the top of the list." in html


def test_a_slice_states_its_evidence_in_words(results: Results) -> None:
    rows = results.built.rows
    inside = rows.where(2, "white", "grass") & rows.confirm
    k, n = int((rows.wrong & inside).sum()), int(inside.sum())
    html = results.signed().get(results.slice()).text
    assert f"On {n} confirm images the model is wrong on {k} of {n} ({100 * k / n:.0f}\N{NO-BREAK SPACE}%," in html
    assert "Exact test p &lt; 0.0001; corrected for all slices that were looked at, q &lt; 0.0001." in html


def test_without_evidence_it_says_what_would_be_enough(results: Results) -> None:
    finding = results.finding(results.built.finding_ids["mixture-boat-0"])
    html = results.signed().get(results.slice("mixture-boat-0")).text
    assert f"Not enough evidence. {finding.metrics['missing']}" in html
    assert "Confirmed on held-out rows" not in html


def test_a_class_shows_its_ends(results: Results) -> None:
    rows = results.built.rows
    panels = results.signed().get(f"/api/v1{results.run}/classes/2").json()["panels"]
    context = next(panel for panel in panels if panel["key"] == "slices-hard-easy")["context"]
    of_class = np.flatnonzero((rows.label == 2) & rows.confirm)
    order = of_class[np.argsort(rows.decision[of_class].astype(np.float32), kind="stable")]
    assert [_row(thumb) for thumb in context["hard"]] == (order[:12] + TRAIN_ROWS).tolist()
    assert [_row(thumb) for thumb in context["easy"]] == (order[::-1][:12] + TRAIN_ROWS).tolist()


def test_confusion_counts_images(results: Results) -> None:
    rows = results.built.rows
    page = results.signed().get(f"/api/v1{results.run}/classes/2").json()
    for entry in page["taken_for"]:
        other = ["boat", "car", "cat", "dog", "house"].index(entry["name"])
        assert entry["n"] == int(((rows.label == 2) & (rows.prediction == other)).sum())
        assert entry["share"]["n"] == int((rows.label == 2).sum())
    missed = sum(entry["n"] for entry in page["taken_for"])
    assert missed == int((rows.wrong & (rows.label == 2)).sum())


def test_an_image_shows_what_the_model_said(results: Results) -> None:
    rows, i = results.built.rows, int(np.flatnonzero(results.built.rows.wrong)[3])
    page = results.signed().get(f"/api/v1{results.run}/images/{TRAIN_ROWS + i}").json()
    p = np.exp(rows.logits[i]) / np.exp(rows.logits[i]).sum()
    assert [bar["probability"] for bar in page["bars"]] == pytest.approx(np.sort(p)[::-1].tolist(), abs=1e-6)
    assert [bar["is_label"] for bar in page["bars"]].count(True) == 1
    assert page["correct"] is False
    assert page["meta"] == {"colour": page["meta"]["colour"], "setting": page["meta"]["setting"]}


def test_near_images_are_of_its_class_and_not_itself(results: Results) -> None:
    rows, i = results.built.rows, 40
    near = results.signed().get(f"/api/v1{results.run}/images/{TRAIN_ROWS + i}").json()["near"]
    found = [_row(thumb) - TRAIN_ROWS for thumb in near]
    assert len(found) == 12
    assert i not in found
    assert {int(rows.label[j]) for j in found} == {int(rows.label[i])}
    looks = [(rows.colour[j], rows.setting[j]) == (rows.colour[i], rows.setting[i]) for j in found]
    assert sum(looks) >= 6


def test_classes_can_be_searched_and_sorted(results: Results) -> None:
    signed = results.signed()
    names = [row["name"] for row in signed.get(f"/api/v1{results.run}/classes?q=ca&sort=name").json()["rows"]]
    assert names == ["car", "cat"]
    errors = [row["errors"]["value"] for row in signed.get(f"/api/v1{results.run}/classes").json()["rows"]]
    assert errors == sorted(errors, reverse=True)


def test_slices_are_searched_by_their_words(results: Results) -> None:
    signed = results.signed()
    found = signed.get(f"/api/v1{results.run}/slices?q=NIGHT").json()
    assert [card["title"] for card in found["cards"]] == ["a photo of a car at night"]
    assert "No slice like that" in signed.get(f"{results.run}/slices?q=zebra").text


def _row(thumb: dict[str, str]) -> int:
    return int(thumb["src"].rsplit("/", 1)[1])
