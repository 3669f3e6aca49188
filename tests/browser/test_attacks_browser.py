"""The kind `attacks` on a run's page and an image's, on a telephone and without a script, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.looks import fits_a_telephone
from tests.web import attacks

RUN = "/runs/1"
PICTURES = "[...document.querySelectorAll('.attack-shown img')]"


@pytest.fixture
def attacked(page: Any, judged: Any) -> Any:
    """The page of a browser whose run has a result of the kind."""
    attacks.add_to(1, *judged)
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
    fits_a_telephone(attacked, RUN + path)


@pytest.mark.usefixtures("attacked")
def test_shares_signs_and_pictures_can_be_read_without_a_script(unscripted: Any) -> None:
    page = unscripted
    page.goto(f"{RUN}/robustness")
    assert page.locator(".attack-signs li").count() == 6
    assert page.locator(".attack-triple").count() > 0
    assert "Right under attack" in page.locator("#attacks").inner_text()
