"""The kind `smoothing` on the robustness page, on a telephone and without a script, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

RUN = "/runs/1"


@pytest.fixture
def smoothed(page: Any) -> Any:
    """The page of a browser whose run has a result of the kind, copies too."""
    from app.store.models import AuditRun
    from app.store.session import reading
    from app.web.reader import LiveReader
    from tests.web.smoothing import add_to

    with reading() as session:
        columns = LiveReader(session, session.get_one(AuditRun, 1)).score_reader.columns(["label", "correct"])
    add_to(1, columns["label"].astype(int), ~columns["correct"].astype(bool), copies=1)
    return page


@pytest.mark.parametrize("path", ["/robustness", "/cells/smoothing/v0-r2", "/classes/0"])
def test_its_pages_fit_a_telephone(smoothed: Any, path: str) -> None:
    page = smoothed
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(RUN + path)
    width, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= room
    assert page.locator("img:not([alt])").count() == 0
    assert page.errors == []


def test_a_share_leads_to_its_images_and_an_image_to_its_radius(smoothed: Any) -> None:
    page = smoothed
    page.goto(RUN + "/robustness")
    page.locator("#smoothing .smooth-cell").first.click()
    page.wait_for_url("**/cells/smoothing/v0-r1")
    page.locator("a.thumb").first.click()
    page.wait_for_url("**/images/**")
    assert "Smoothed answer" in page.locator("#smoothing-image").inner_text()
    assert page.errors == []


def test_the_curves_can_be_read_without_a_script(smoothed: Any, chromium: Any, site: Any) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=site.address)
    context.add_cookies(smoothed.context.cookies())
    page = context.new_page()
    page.goto(RUN + "/robustness")
    assert page.locator(".smooth-chart polyline.curve").count() == 8
    strokes = page.evaluate(
        "[...document.querySelectorAll('.smooth-chart svg:first-child .curve')].map(e => getComputedStyle(e).stroke)"
    )
    assert len({*strokes}) == 2, "a colour for each noise"
    assert "Certified at r?" in page.locator("#smoothing").inner_text()
    context.close()
