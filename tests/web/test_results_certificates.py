"""Pages of the kind `certificates`: robustness, an image, a class, a slice, a part of a bracket, a report, the form."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from app.audits.certificates.page import MOST_IN_REPORT
from app.audits.certificates.schema import (
    BROKEN,
    COMPLETE,
    FIRST_BOUND,
    OPEN,
    PROVEN,
    STEPS,
    WRONG,
)
from app.store.models import AuditRun
from app.store.session import reading
from tests.factories import People, Signed
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.certificates import add_certificates
from tests.web.conftest import Results
from tests.web.test_objects import _choice

KIND = "certificates"


def panel(results: Results, path: str, key: str = KIND) -> dict[str, Any]:
    found = results.signed().get(f"/api/v1{path}").json()["panels"]
    context: dict[str, Any] = next(one for one in found if one["key"] == key)["context"]
    return context


def test_the_run_shows_the_bracket_with_intervals_and_what_decided(results: Results) -> None:
    details = add_certificates(results)
    state, by = details["state"], details["by"]
    context = panel(results, f"{results.run}/robustness")
    for column, line in enumerate(context["levels"]):
        proven, unbroken = line["bracket"]["proven"], line["bracket"]["unbroken"]
        assert proven["value"] == pytest.approx((state[:, column] == PROVEN).mean())
        assert unbroken["value"] == pytest.approx((state[:, column] != BROKEN).mean())
        assert proven["low"] < proven["value"] < proven["high"] < unbroken["high"]
        counts = {part["state"]: part["count"] for part in line["parts"]}
        codes = {"proven": PROVEN, "undecided": OPEN, "broken": BROKEN}
        assert counts == {name: int((state[:, column] == code).sum()) for name, code in codes.items()}
    steps = {step["name"]: step for step in context["steps"]}
    assert steps[STEPS[FIRST_BOUND]]["proven"] == [int((by[:, c] == FIRST_BOUND).sum()) for c in range(2)]
    assert steps[STEPS[COMPLETE]]["broken"][0] > 0
    html = results.signed("viewer").get(f"{results.run}/robustness").text
    assert "no image whose every pixel value differs by at most ε gets another class" in html
    assert "24,000" in html
    assert "leaves out complete verification beyond 5 seconds an image" in html
    assert "<script>" not in html
    assert "style=" not in html.partition('id="certificates"')[2].partition("</section>")[0]


def test_every_part_of_a_bracket_leads_to_its_images(results: Results) -> None:
    details = add_certificates(results)
    line = panel(results, f"{results.run}/robustness")["levels"][0]
    for part, code in zip(line["parts"], (PROVEN, OPEN, BROKEN), strict=True):
        context = panel(results, part["href"])
        members = details["positions"][details["state"][:, 0] == code] + TRAIN_ROWS
        shown = [int(thumb["href"].rpartition("/")[2]) for thumb in context["thumbs"]]
        assert set(shown) <= set(members.tolist())
        assert len(shown) + context["left"] == len(members) == part["count"]
        assert sum(n for _, n in context["by"]) == (0 if code == OPEN else len(members))
    assert results.signed().get(part["href"]).status_code == 200


@pytest.mark.parametrize("key", ["7-proven", "0-nonsense", "0-proven-c99", "0-proven-s999999", "0-proven-x1"])
def test_a_part_that_does_not_exist_is_not_found(results: Results, key: str) -> None:
    add_certificates(results)
    assert results.signed().get(f"{results.run}/cells/{KIND}/{key}").status_code == 404


def test_counterexamples_are_shown_as_original_change_and_result(results: Results) -> None:
    details = add_certificates(results)
    kept = {int(position) for position, _ in details["pictures.of"]}
    shown = panel(results, f"{results.run}/robustness")["triples"]
    assert {int(one["href"].rpartition("/")[2]) - TRAIN_ROWS for one in shown} == kept
    first, change, last = shown[0]["pictures"]
    assert change["text"] == "change, amplified ×15.9"
    position = int(shown[0]["href"].rpartition("/")[2]) - TRAIN_ROWS
    label = int(details["labels"][details["positions"].tolist().index(position)])
    assert (first["text"], first["wrong"]) == (CLASSES[label], False)
    assert (last["text"], last["wrong"]) == (CLASSES[(label + 1) % len(CLASSES)], True)
    html = results.signed().get(f"{results.run}/robustness").text
    sources = re.findall(rf'src="({results.run}/kept/{KIND}/summarise/\d+)"', html)
    assert len(sources) == 3 * len(shown)
    assert results.signed().get(sources[0]).headers["content-type"] == "image/webp"


def test_an_image_says_what_is_known_of_it(results: Results) -> None:
    details = add_certificates(results)
    state, by = details["state"], details["by"]
    for place, words in (
        (
            np.flatnonzero((state == (PROVEN, BROKEN)).all(1))[0],
            "no change of up to L∞ ε = 2/255 makes",
        ),
        (np.flatnonzero((state == OPEN).all(1) & (details["complete"][:, 0] == 0))[0], "ran out of time"),
        (np.flatnonzero(by[:, 0] == WRONG)[0], "there is nothing to prove"),
        (
            np.flatnonzero((by[:, 0] == COMPLETE) & (state[:, 0] == BROKEN))[0],
            "roken: a change of at most L∞ ε = 2/255",
        ),
    ):
        path = f"{results.run}/images/{TRAIN_ROWS + int(details['positions'][place])}"
        context = panel(results, path, f"{KIND}-image")
        assert words in results.signed().get(path).text
        assert (context["radius"] is None) == (by[place, 0] == WRONG)
        assert len(context["levels"]) == 2


def test_classes_and_slices_have_their_own_brackets(results: Results) -> None:
    details = add_certificates(results)
    context = panel(results, f"{results.run}/classes/1")
    members = details["state"][details["labels"] == 1]
    values = [line["bracket"]["proven"]["value"] for line in context["levels"]]
    assert values == pytest.approx((members == PROVEN).mean(axis=0))
    proven = next(part for part in context["levels"][0]["parts"] if part["state"] == "proven")
    assert panel(results, proven["href"])["share"]["n"] == len(members)
    lines = panel(results, f"{results.run}/robustness")["slices"]
    assert lines
    values = [line["bracket"]["proven"]["value"] for line in lines]
    assert values == sorted(values)
    context = panel(results, lines[0]["href"])
    assert context["levels"][1]["bracket"] == lines[0]["bracket"]
    part = next(one for one in lines[0]["parts"] if one["href"])
    assert panel(results, part["href"])["of"]["href"] == lines[0]["href"]


def test_a_network_that_cannot_be_followed_says_why_and_what_remains(results: Results) -> None:
    add_certificates(results, "Proofs cannot pass the layer gelu.")
    html = results.signed().get(f"{results.run}/robustness").text
    assert "Nothing can be proven of this network. Proofs cannot pass the layer gelu." in html
    assert "randomised smoothing, which needs no look inside" in html


def test_what_could_not_be_measured_says_why(results: Results) -> None:
    assert "There is no network." in results.unmeasured(KIND, "There is no network.")


def test_the_headline_holds_both_ends_of_the_bracket(results: Results) -> None:
    details = add_certificates(results)
    card = results.signed().get(f"/api/v1{results.run}/robustness").json()["scorecard"]
    line = next(one for one in card["lines"] if one["kind"] == KIND)
    last = details["state"][:, 1]
    assert line["estimate"]["value"] == pytest.approx((last == PROVEN).mean())
    assert f"and {100 * (last != BROKEN).mean():.1f} % at ε = 8/255" in line["text"]
    assert line["doubt"] == ""


def test_a_report_holds_the_bracket(results: Results) -> None:
    add_certificates(results)
    report = results.signed().post(f"{results.run}/reports", {}).headers["location"]
    page = results.signed().get(report).text
    assert "Proofs of robustness" in page
    assert "The bracket" in page
    pictures = re.findall(rf'src="({report}/kept/{KIND}/summarise/\d+)"', page)
    assert len(pictures) == 3 * MOST_IN_REPORT
    assert results.signed().get(pictures[0]).headers["content-type"] == "image/webp"
    assert "/cells/" not in page


def test_an_epsilon_that_makes_no_sense_is_refused_and_kept(analyst: Signed, people: People) -> None:
    form = _choice(people) | {"kinds": KIND, f"{KIND}.radii": "8", f"{KIND}.budget": "quick"}
    answer = analyst.post("/audits/new", form)
    assert answer.status_code == 422
    assert "If you meant steps of 1/255, write 8/255" in answer.text
    with reading() as session:
        assert session.query(AuditRun).count() == 0
