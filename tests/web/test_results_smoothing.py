"""Pages of the kind `smoothing`: the robustness page, a cell, an image, a class, a slice, and the report."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from app.audits.smoothing.figures import Found
from app.audits.smoothing.headlines import group_columns, headlines
from app.audits.smoothing.schema import SmoothingSummary
from app.store.models import AuditRun
from app.store.session import reading, transaction
from app.web.reader import LiveReader
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results
from tests.web.smoothing import add_smoothing


def panel(results: Results, path: str, key: str = "smoothing") -> dict[str, Any]:
    found = results.signed().get(f"/api/v1{path}").json()["panels"]
    context: dict[str, Any] = next(one for one in found if one["key"] == key)["context"]
    return context


def certified(details: dict[str, Any], variant: int, column: int) -> np.ndarray:
    right = details["taken"][:, variant] == details["labels"]
    found: np.ndarray = right & (details["decided"][:, variant, column] == 1)
    return found


def test_each_noise_has_its_shares_with_intervals_and_a_way_to_the_images(results: Results) -> None:
    details = add_smoothing(results)
    context = panel(results, results.robustness)
    assert [row["name"] for row in context["variants"]] == ["σ = 0.25, uploaded model", "σ = 0.5, uploaded model"]
    for variant, row in enumerate(context["variants"]):
        for column, one in enumerate(row["asked"], 1):
            assert one["certified"]["value"] == pytest.approx(certified(details, variant, column).mean())
            assert one["certified"]["low"] <= one["certified"]["value"] < one["certified"]["high"]
            assert one["href"].endswith(f"/cells/smoothing/v{variant}-r{column}")
        assert row["smoothed"]["value"] == pytest.approx(certified(details, variant, 0).mean())
        assert row["abstained"]["value"] == pytest.approx((details["decided"][:, variant, 0] != 1).mean())
    html = results.signed("viewer").get(results.robustness).text
    assert "wrong with probability at most α = 0.001" in html
    assert "are shown for σ = 0.25, under which most images are certified at r = 0.25" in html
    assert "Clopper, Pearson" in html
    assert "<script>" not in html


def test_the_curve_is_that_of_the_radii_and_ends_at_what_the_copies_allow(results: Results) -> None:
    details = add_smoothing(results)
    chart = panel(results, results.robustness)["chart"]
    assert len(chart["curves"]) == 2
    for variant, curve in enumerate(chart["curves"]):
        right = details["taken"][:, variant] == details["labels"]
        radius = np.where(right, np.nan_to_num(details["radius"][:, variant], nan=-1), -1)
        for dot in curve["dots"][:: len(curve["dots"]) - 2]:
            share = (radius > float(dot["radius"])).mean()
            assert dot["certified"]["value"] == pytest.approx(share, abs=0.01)
            assert chart["height"] * (1 - dot["certified"]["value"]) == pytest.approx(dot["y"], abs=0.1)
        assert curve["reach_text"] == ("0.8", "1.6")[variant]
        assert curve["dots"][-1]["certified"]["value"] == 0
        assert curve["dots"][-2]["certified"]["value"] > 0
        assert curve["dots"][-1]["x"] <= curve["reach"] + 0.1
        shares = [dot["certified"]["value"] for dot in curve["dots"]]
        assert shares == sorted(shares, reverse=True)
    html = results.signed().get(results.robustness).text
    assert html.count("<polyline") == 4, "two curves and their keys"
    assert "Between two radii that were asked" not in html


def test_a_quick_audit_says_what_stayed_open_and_draws_only_what_was_asked(results: Results) -> None:
    details = add_smoothing(results, "quick")
    context = panel(results, results.robustness)
    right = details["taken"][:, 0] == details["labels"]
    assert [one["open"] for one in context["variants"][0]["asked"]] == [
        int((right & (details["decided"][:, 0, column] == -1)).sum()) for column in (1, 2, 3)
    ]
    assert [dot["radius"] for dot in context["chart"]["curves"][0]["dots"]] == ["0", "0.1", "0.25", "0.5"]
    html = results.signed().get(results.robustness).text
    assert "Between two radii that were asked" in html
    assert re.search(r"\d+ open", html)
    assert "leaves out every radius but those asked" in html


def test_the_copy_stands_beside_the_uploaded_model(results: Results) -> None:
    add_smoothing(results, copies=1)
    context = panel(results, results.robustness)
    assert [row["name"] for row in context["variants"]][2:] == [
        "σ = 0.25, copy trained with this noise",
        "σ = 0.5, copy trained with this noise",
    ]
    assert [curve["copied"] for curve in context["chart"]["curves"]] == [False, False, True, True]
    assert context["noise"] == "σ = 0.25", "groups are of the uploaded model"
    cell = panel(results, context["variants"][3]["asked"][0]["href"])
    assert cell["name"] == "σ = 0.5, copy trained with this noise"


def test_what_noise_breaks_is_said_plainly(results: Results) -> None:
    details = add_smoothing(results)
    plain = panel(results, results.robustness)["plain"]
    clean = (details["base"] == details["labels"][:, None]).mean(axis=0)
    assert (details["noisy"].mean(axis=0) < 0.75 * clean).tolist() == [False, True]
    assert len(plain) == 1
    assert "does not stand noise of σ = 0.5" in plain[0]
    assert "a copy trained with it is what would help" in plain[0]


def test_a_cell_shows_the_images_that_are_certified_and_those_that_fell(results: Results) -> None:
    details = add_smoothing(results)
    path = panel(results, results.robustness)["variants"][0]["asked"][1]["href"]
    context = panel(results, path)
    held, clean = certified(details, 0, 2), details["base"][:, 0] == details["labels"]
    assert context["certified"]["value"] == pytest.approx(held.mean())
    assert context["fell"] == int((clean & ~held).sum())
    places = {int(position) + TRAIN_ROWS: place for place, position in enumerate(details["positions"])}
    shown = [places[int(thumb["href"].rpartition("/")[2])] for thumb in context["held"]]
    assert held[shown].all()
    radius = details["radius"][shown, 0].tolist()
    assert radius == sorted(radius, reverse=True)
    lost = [places[int(thumb["href"].rpartition("/")[2])] for thumb in context["lost"]]
    assert (clean & ~held)[lost].all()
    assert len(context["others"]) == 3
    assert results.signed().get(path).status_code == 200
    assert results.signed().get(f"{results.run}/cells/smoothing/v9-r1").status_code == 404


def test_an_image_has_its_radius_under_every_noise(results: Results) -> None:
    details = add_smoothing(results)
    found = [Found.of(details, details["labels"], variant) for variant in range(2)]
    sure = int(np.nanargmax(np.where(found[0].right, details["radius"][:, 0], np.nan)))
    path = f"{results.run}/images/{TRAIN_ROWS + int(details['positions'][sure])}"
    context = panel(results, path, "smoothing-image")
    best = max(float(details["radius"][sure, variant]) for variant in range(2) if found[variant].right[sure])
    assert (
        f"up to {best:.3g}, with probability of error at most 0.002: 0.001 for each of the 2 lines below"
        in context["sentence"]
    )
    assert [line["radius"] for line in context["variants"]] == [
        f"{float(details['radius'][sure, variant]):.3g}" for variant in range(2)
    ]
    assert context["variants"][0]["answers"] == ["yes" if c == 1 else "no" for c in details["decided"][sure, 0, 1:]]
    none = int(np.flatnonzero(found[0].abstained & found[1].abstained)[0])
    path = f"{results.run}/images/{TRAIN_ROWS + int(details['positions'][none])}"
    assert "Under no noise that was tried" in results.signed().get(path).text
    assert panel(results, path, "smoothing-image")["variants"][0]["taken"] == "abstains"


def test_classes_and_slices_have_their_own_shares(results: Results) -> None:
    details = add_smoothing(results)
    context = panel(results, f"{results.run}/classes/1")
    members = details["labels"] == 1
    assert [one["certified"]["value"] for one in context["asked"]] == pytest.approx(
        [certified(details, 0, column)[members].mean() for column in (1, 2, 3)]
    )
    run = panel(results, results.robustness)
    slices = run["slices"]
    assert [line["certified"]["value"] for line in slices] == sorted(line["certified"]["value"] for line in slices)
    context = panel(results, slices[0]["href"])
    assert context["asked"][1]["certified"] == slices[0]["certified"]
    assert {line["name"] for line in run["classes"]}


def test_the_headline_is_the_middle_radius(results: Results) -> None:
    details = add_smoothing(results)
    with reading() as session:
        reader = LiveReader(session, session.get_one(AuditRun, results.built.run_id))
        (headline,), (column,) = headlines(reader), group_columns(reader)
    assert "up to 0.25, smoothed with σ = 0.25" in headline.text
    assert headline.estimate is not None
    assert headline.estimate.value == pytest.approx(certified(details, 0, 2).mean())
    assert "100,000" in headline.leaves_out
    assert headline.doubt == ""
    assert column.overall == headline.estimate


def test_a_report_holds_the_curve_and_what_was_not_done_says_why(results: Results) -> None:
    add_smoothing(results)
    report = results.report()
    page = results.signed().get(f"/reports/{report}").text
    assert "Certified at r?" in page
    assert "<polyline" in page
    assert "/cells/" not in page
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        run.summary = {**run.summary, "smoothing": SmoothingSummary(unavailable="There is no network.").model_dump()}
    assert "There is no network." in results.signed().get(results.robustness).text
