"""The kind `smoothing` on the robustness page, on a telephone and without a script, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.looks import fits_a_telephone
from tests.web import smoothing

RUN = "/runs/1"


@pytest.fixture
def smoothed(page: Any, judged: Any) -> Any:
    """The page of a browser whose run has a result of the kind, copies too."""
    smoothing.add_to(1, *judged, copies=1)
    return page


@pytest.mark.parametrize("path", ["/robustness", "/cells/smoothing/v0-r2", "/classes/0"])
def test_its_pages_fit_a_telephone(smoothed: Any, path: str) -> None:
    fits_a_telephone(smoothed, RUN + path)


def test_a_share_leads_to_its_images_and_an_image_to_its_radius(smoothed: Any) -> None:
    page = smoothed
    page.goto(RUN + "/robustness")
    page.locator("#smoothing .smooth-cell").first.click()
    page.wait_for_url("**/cells/smoothing/v0-r1")
    page.locator("a.thumb").first.click()
    page.wait_for_url("**/images/**")
    assert "Smoothed answer" in page.locator("#smoothing-image").inner_text()
    assert page.errors == []


@pytest.mark.usefixtures("smoothed")
def test_the_curves_can_be_read_without_a_script(unscripted: Any) -> None:
    page = unscripted
    page.goto(RUN + "/robustness")
    assert page.locator(".smooth-chart polyline.curve").count() == 8
    strokes = page.evaluate(
        "[...document.querySelectorAll('.smooth-chart svg:first-child .curve')].map(e => getComputedStyle(e).stroke)"
    )
    assert len({*strokes}) == 2, "a colour for each noise"
    assert "Certified at r?" in page.locator("#smoothing").inner_text()
