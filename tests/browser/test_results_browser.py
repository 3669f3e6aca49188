"""Keyboard triage, the map's lasso, the scatter and the loop of marks, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest

RUN = "/runs/1"


def drag_around(page: Any, box: dict[str, float], corners: list[tuple[float, float]]) -> None:
    """Draw a closed line through corners given as shares of the chart."""
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*at[0])
    page.mouse.down()
    for corner in at[1:]:
        page.mouse.move(*corner, steps=4)
    page.mouse.up()


@pytest.fixture
def drawn_map(page: Any) -> Any:
    """The map's page, its points drawn."""
    page.goto(f"{RUN}/map")
    page.wait_for_selector(".map-key", timeout=60_000)
    return page


def test_slices_are_judged_without_a_mouse(page: Any) -> None:
    page.goto(f"{RUN}/slices")
    page.wait_for_timeout(300)
    page.keyboard.press("j")
    first = page.evaluate("location.hash")
    assert re.fullmatch(r"#slice-\d+", first)
    page.keyboard.press("a")
    page.wait_for_selector(f"{first} [value=accept][aria-pressed=true]")
    page.locator(f".card[data-here]:not({first})").wait_for()
    page.keyboard.press("k")
    assert page.evaluate("location.hash") == first
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("j")
    assert page.input_value("[name=q]") == "j"
    page.reload()
    assert page.locator(f"{first} [value=accept]").get_attribute("aria-pressed") == "true"
    assert page.errors == []


def test_a_lasso_picks_images_and_saves_them(drawn_map: Any) -> None:
    page = drawn_map
    box = page.locator("[data-map-plot]").bounding_box()
    drag_around(page, box, [(0.02, 0.02), (0.5, 0.02), (0.5, 0.5), (0.02, 0.5)])
    page.wait_for_selector("[data-map-thumbs] img")
    said = page.locator("[data-map-picked]").inner_text()
    picked = int(re.match(r"([\d,]+) images picked", said).group(1).replace(",", ""))
    assert picked > 10
    page.click("[data-map-picked] button")
    page.wait_for_url("**/picked")
    assert page.locator("h1").inner_text() == f"{picked} picked images"
    page.fill("[name=title]", "a corner of the map")
    page.click("text=Save as a slice")
    page.wait_for_url(re.compile(r"/slices/\d+$"))
    assert page.locator("h1").inner_text() == "a corner of the map"
    assert "Being measured on confirm images" in page.content()
    assert page.errors == []


def test_a_drag_that_surrounds_nothing_says_so(drawn_map: Any) -> None:
    page = drawn_map
    page.check("[name=drag][value=box]")
    box = page.locator("[data-map-plot]").bounding_box()
    drag_around(page, box, [(0.01, 0.01), (0.06, 0.06)])
    page.locator("[data-map-picked]", has_text="Nothing was picked").wait_for()


def test_the_colour_of_the_map_is_in_its_address(drawn_map: Any) -> None:
    page = drawn_map
    page.check("[name=colour][value=class]")
    page.wait_for_url("**/map?colour=class")
    page.reload()
    page.wait_for_selector(".map-key")
    assert page.is_checked("[name=colour][value=class]")
    assert "cat (" in page.locator("[data-map-legend]").inner_text()


def test_the_scatter_says_what_it_draws(page: Any) -> None:
    page.goto(f"{RUN}/classes/2")
    page.locator("[data-scatter]").scroll_into_view_if_needed()
    page.wait_for_selector("[data-scatter] canvas", timeout=60_000)
    note = page.locator("[data-scatter-note]")
    note.locator(".map-key").first.wait_for()
    assert "Every image of the class is drawn." in note.inner_text()
    assert page.errors == []


def test_marks_are_made_by_clicks_on_the_picture(page: Any) -> None:
    page.goto(f"{RUN}/climb?label=2")
    page.wait_for_timeout(300)
    pictures = page.locator(".climb-item img")
    pictures.nth(0).click()
    for _ in range(2):
        pictures.nth(1).click()
    for _ in range(3):
        pictures.nth(2).click()
    assert page.locator("[data-climb-count]").inner_text().endswith("now 1 in, 1 out")
    assert page.locator(".climb-item").nth(2).locator(":checked").count() == 0
    assert page.errors == []


def test_pages_read_without_scripts(chromium: Any, site: Any) -> None:
    from app.web.deps import SESSION_COOKIE

    context = chromium.new_context(java_script_enabled=False, base_url=site.address)
    context.add_cookies([{"name": SESSION_COOKIE, "value": site.session, "url": site.address}])
    page = context.new_page()
    page.goto(f"{RUN}/slices")
    page.locator(".card-title a").first.click()
    assert page.locator("#slices-evidence").inner_text().count("confirm images") >= 1
    page.click("[data-verdicts] [value=unsure]")
    assert page.locator("[data-verdicts] [value=unsure]").get_attribute("aria-pressed") == "true"
    context.close()
