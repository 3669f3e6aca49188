"""The kind `attacks` on a run's page and an image's, on a telephone and without a script, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

RUN = "/runs/1"
PICTURES = "[...document.querySelectorAll('.attack-shown img')]"


@pytest.fixture
def attacked(page: Any) -> Any:
    """The page of a browser whose run has a result of the kind."""
    from app.store.models import AuditRun
    from app.store.session import reading
    from app.web.reader import LiveReader
    from tests.web.attacks import add_to

    with reading() as session:
        columns = LiveReader(session, session.get_one(AuditRun, 1)).score_reader.columns(["label", "correct"])
    add_to(1, columns["label"].astype(int), ~columns["correct"].astype(bool))
    return page


def test_three_pictures_of_an_image_lead_to_its_page(attacked: Any) -> None:
    page = attacked
    page.goto(f"{RUN}/robustness")
    first = page.locator(".attack-triple").first
    first.scroll_into_view_if_needed()
    assert "amplified" in first.inner_text()
    first.click()
    page.wait_for_url("**/images/**")
    panel = page.locator("#attacks-image")
    panel.scroll_into_view_if_needed()
    assert panel.inner_text().startswith("Under attack")
    page.wait_for_function(f"{PICTURES}.length === 3 && {PICTURES}.every(i => i.complete && i.naturalWidth > 0)")
    assert page.errors == []


@pytest.mark.parametrize("path", ["/robustness", "/classes/0"])
def test_its_pages_fit_a_telephone(attacked: Any, path: str) -> None:
    page = attacked
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(RUN + path)
    width, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= room
    assert page.locator("img:not([alt])").count() == 0
    assert page.errors == []


def test_shares_signs_and_pictures_can_be_read_without_a_script(attacked: Any, chromium: Any, site: Any) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=site.address)
    context.add_cookies(attacked.context.cookies())
    page = context.new_page()
    page.goto(f"{RUN}/robustness")
    assert page.locator(".attack-signs li").count() == 6
    assert page.locator(".attack-triple").count() > 0
    assert "Right under attack" in page.locator("#attacks").inner_text()
    context.close()
