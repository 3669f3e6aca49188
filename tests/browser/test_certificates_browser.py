"""The kind `certificates` on the robustness page, an image's and a part's, on a telephone and without a script."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.looks import fits_a_telephone
from tests.web import certificates

RUN = "/runs/1"
PICTURES = "[...document.querySelectorAll('#certificates-image .attack-shown img')]"


@pytest.fixture
def proven(page: Any, judged: Any) -> Any:
    """The page of a browser whose run has a result of the kind."""
    certificates.add_to(1, *judged)
    return page


def test_a_part_of_the_bracket_leads_to_its_images_and_on_to_one(proven: Any) -> None:
    page = proven
    page.goto(f"{RUN}/robustness")
    part = page.locator("#certificates .bracket-part a").first
    part.scroll_into_view_if_needed()
    assert part.inner_text().endswith("proven")
    part.click()
    page.wait_for_url("**/cells/certificates/**")
    page.locator(".thumbs a").first.click()
    page.wait_for_url("**/images/**")
    assert "proven" in page.locator("#certificates-image").inner_text().lower()
    assert page.errors == []


def test_a_counterexample_leads_to_its_image(proven: Any) -> None:
    page = proven
    page.goto(f"{RUN}/robustness")
    page.locator("#certificates .attack-triple").first.click()
    page.wait_for_url("**/images/**")
    page.locator("#certificates-image").scroll_into_view_if_needed()
    page.wait_for_function(f"{PICTURES}.length === 3 && {PICTURES}.every(i => i.complete && i.naturalWidth > 0)")
    assert page.errors == []


@pytest.mark.parametrize("path", ["/robustness", "/classes/0", "/cells/certificates/0-proven"])
def test_its_pages_fit_a_telephone(proven: Any, path: str) -> None:
    fits_a_telephone(proven, RUN + path)


@pytest.mark.usefixtures("proven")
def test_the_bracket_can_be_read_without_a_script(unscripted: Any) -> None:
    page = unscripted
    page.goto(f"{RUN}/robustness")
    text = page.locator("#certificates").inner_text()
    assert "Between proof and attack" in text
    assert "“Proven” means" in text
    assert page.locator("#certificates .bracket svg").count() > 0
