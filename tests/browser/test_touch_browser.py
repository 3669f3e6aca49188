"""Charts under a finger: the page scrolls until somebody selects; axes are equal; a wheel is the page's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.web.deps import SESSION_COOKIE
from tests.browser.conftest import Site

MAP = "/runs/1/map"
PLOT = "[data-map-plot]"
UNITS = """() => { const { xaxis, yaxis } = document.querySelector("[data-map-plot]")._fullLayout;
  return [xaxis._length / (xaxis.range[1] - xaxis.range[0]), yaxis._length / (yaxis.range[1] - yaxis.range[0])]; }"""
WRONG = """() => { const plot = document.querySelector("[data-map-plot]"), edge = plot.getBoundingClientRect();
  const { x, y } = plot.data.find((trace) => trace.name === "wrong"), { xaxis, yaxis } = plot._fullLayout;
  return [edge.x + xaxis._offset + xaxis.l2p(x[0]), edge.y + yaxis._offset + yaxis.l2p(y[0])]; }"""


@pytest.fixture
def phone(chromium: Any, site: Site) -> Iterator[Any]:
    """A telephone with the map drawn, scrolled so that the chart lies under the finger."""
    context = chromium.new_context(
        viewport={"width": 390, "height": 700}, base_url=site.address, has_touch=True, is_mobile=True
    )
    context.add_cookies([{"name": SESSION_COOKIE, "value": site.session, "url": site.address}])
    page = context.new_page()
    page.goto(MAP)
    page.wait_for_selector(".map-key", timeout=60_000)
    yield page
    context.close()


def swipe(page: Any, up: int) -> float:
    """Move a finger up across the chart; return how far the page went."""
    finger = page.context.new_cdp_session(page)
    page.evaluate(f"document.querySelector('{PLOT}').scrollIntoView({{ block: 'center' }})")
    page.wait_for_timeout(100)
    box, before = page.locator(PLOT).bounding_box(), page.evaluate("scrollY")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] - 20
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 9):
        finger.send(
            "Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - up * step / 8}]}
        )
        page.wait_for_timeout(20)
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(400)
    return float(page.evaluate("scrollY") - before)


def test_a_finger_scrolls_the_page_until_it_is_told_to_select(phone: Any) -> None:
    assert phone.is_checked("[name=drag][value=page]")
    assert swipe(phone, 120) > 40
    phone.check("[name=drag][value=lasso]")
    assert swipe(phone, 120) == 0
    assert phone.url.endswith(MAP)


def test_a_tap_opens_the_image_at_the_point(phone: Any) -> None:
    phone.evaluate(f"document.querySelector('{PLOT}').scrollIntoView({{ block: 'center' }})")
    phone.touchscreen.tap(*phone.evaluate(WRONG))
    phone.wait_for_url("**/runs/1/images/*")


def test_a_unit_is_as_long_across_as_up(page: Any) -> None:
    page.goto(MAP)
    page.wait_for_selector(".map-key", timeout=60_000)
    across, up = page.evaluate(UNITS)
    assert across == pytest.approx(up, rel=1e-3)


def test_a_wheel_scrolls_the_page_and_zooms_only_with_ctrl(page: Any) -> None:
    page.goto(MAP)
    page.wait_for_selector(".map-key", timeout=60_000)
    page.locator(PLOT).hover()
    before, at = page.evaluate(UNITS), page.evaluate("scrollY")
    page.mouse.wheel(0, 60)
    page.wait_for_timeout(400)
    assert page.evaluate("scrollY") > at
    assert page.evaluate(UNITS) == pytest.approx(before)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -60)
    page.wait_for_timeout(600)
    page.keyboard.up("Control")
    assert page.evaluate(UNITS)[0] > before[0]
