"""The robustness page in a real browser: at a desk, on a telephone, without a script."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web import attacks, certificates, corruptions, patches, smoothing

RUN = "/runs/1"
PAGE = f"{RUN}/robustness"
WIDTHS = {1440: 900, 390: 844}


@pytest.fixture
def tested(page: Any, judged: Any) -> Any:
    """The page of a browser whose run was attacked and corrupted."""
    for kind in (attacks, corruptions):
        kind.add_to(1, *judged)
    return page


@pytest.mark.parametrize("width", WIDTHS)
def test_every_stress_test_and_its_marks_fit_the_window(tested: Any, judged: Any, width: int) -> None:
    label, wrong = judged
    for kind in (certificates, patches, smoothing):
        kind.add_to(1, label, (label == label[0]) | wrong)
    page = tested
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    page.goto(PAGE)
    page.wait_for_timeout(150)
    wide, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= room
    assert page.locator(".stress-line").count() == 5
    assert page.locator(".joint-worse").count() > 0
    assert page.errors == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", [PAGE, RUN])
def test_nothing_is_wider_than_the_window(tested: Any, width: int, path: str) -> None:
    page = tested
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    page.goto(path)
    page.wait_for_timeout(150)
    wide, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= room
    assert page.locator("h1").count() == 1
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator(".stress-line").count() >= 2
    assert page.errors == []


def test_a_headline_leads_to_its_panel_and_a_cell_to_its_images(tested: Any) -> None:
    page = tested
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(RUN)
    page.click("#robustness a.title >> text=Common corruptions")
    page.wait_for_url(f"**{PAGE}#corruptions")
    assert page.locator("#corruptions h2").inner_text() == "Common corruptions"
    page.locator("#groups .joint-cell").first.click()
    page.wait_for_url("**/classes/*sort=attacks_withstood*")
    assert page.locator("#images select[name=sort]").input_value() == "attacks_withstood"
    assert page.errors == []


def test_the_name_of_a_row_stays_while_the_table_is_moved(tested: Any) -> None:
    page = tested
    page.goto(PAGE)
    wrap = page.locator("#groups .table-wrap").last
    wrap.scroll_into_view_if_needed()
    name = wrap.locator("tbody th").nth(1)
    before = name.bounding_box()["x"]
    wrap.evaluate("e => { e.scrollLeft = 150 }")
    assert wrap.evaluate("e => e.scrollLeft") > 50
    assert abs(name.bounding_box()["x"] - before) < 1


@pytest.mark.usefixtures("tested")
def test_it_can_be_read_without_a_script(unscripted: Any) -> None:
    page = unscripted
    page.goto(PAGE)
    assert page.locator("#groups tbody tr").count() > 4
    page.click("#groups thead a >> nth=1")
    assert "sort=corruptions.right" in page.url
    assert page.locator("#groups th[aria-sort]").count() == 1
