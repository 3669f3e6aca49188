"""The heat map, a cell and an image of the kind `corruptions` on a telephone, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.looks import fits_a_telephone
from tests.web import corruptions

RUN = "/runs/1"


@pytest.fixture
def corrupted(page: Any, judged: Any) -> Any:
    """The page of a browser whose run has a result of the kind."""
    corruptions.add_to(1, *judged)
    return page


def test_the_heat_map_leads_to_pictures_and_on_to_an_image(corrupted: Any) -> None:
    page = corrupted
    page.goto(f"{RUN}/robustness")
    cells = page.locator("td.heat-cell a")
    assert cells.count() == 9
    shades = [cell.evaluate("e => getComputedStyle(e.parentElement).backgroundColor") for cell in cells.all()]
    assert len(set(shades)) > 3
    cells.last.click()
    page.wait_for_url("**/cells/corruptions/**")
    page.wait_for_load_state("networkidle")
    shown = page.locator(".kept-pair").first.locator("img").all()
    assert [image.evaluate("e => e.naturalWidth") for image in shown] == [8, 8]
    page.locator(".kept-pair").first.click()
    page.wait_for_url("**/images/**")
    assert page.locator("#corruptions").inner_text().startswith("Under common corruptions")
    assert page.errors == []


@pytest.mark.parametrize("path", ["/robustness", "/cells/corruptions/fog-5", "/classes/0"])
def test_its_pages_fit_a_telephone(corrupted: Any, path: str) -> None:
    fits_a_telephone(corrupted, RUN + path)


@pytest.mark.usefixtures("corrupted")
def test_every_cell_can_be_read_without_a_script(unscripted: Any) -> None:
    page = unscripted
    page.goto(f"{RUN}/robustness")
    assert page.locator("td.heat-cell a").count() == 9
    page.locator("td.heat-cell a").first.click()
    page.wait_for_url("**/cells/corruptions/**")
    assert page.locator(".kept-pair img").count() > 0
