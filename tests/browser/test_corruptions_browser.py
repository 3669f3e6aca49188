"""The heat map, a cell and an image of the kind `corruptions` on a telephone, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

RUN = "/runs/1"


@pytest.fixture
def corrupted(page: Any) -> Any:
    """The page of a browser whose run has a result of the kind."""
    from app.store.models import AuditRun
    from app.store.session import reading
    from app.web.reader import LiveReader
    from tests.web.corruptions import add_to

    with reading() as session:
        columns = LiveReader(session, session.get_one(AuditRun, 1)).score_reader.columns(["label", "correct"])
    add_to(1, columns["label"].astype(int), ~columns["correct"].astype(bool))
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
    page = corrupted
    page.goto(RUN + path)
    for box in page.locator(".heat-more > summary").all():
        box.click()
    width, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= room
    assert page.locator("img:not([alt])").count() == 0
    assert page.errors == []


def test_every_cell_can_be_read_without_a_script(corrupted: Any, chromium: Any, site: Any) -> None:
    cookies = corrupted.context.cookies()
    context = chromium.new_context(java_script_enabled=False, base_url=site.address)
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(f"{RUN}/robustness")
    assert page.locator("td.heat-cell a").count() == 9
    page.locator("td.heat-cell a").first.click()
    page.wait_for_url("**/cells/corruptions/**")
    assert page.locator(".kept-pair img").count() > 0
    context.close()
