"""The kind `certificates` on the robustness page, an image's and a part's, on a telephone and without a script."""

from __future__ import annotations

from typing import Any

import pytest

RUN = "/runs/1"
PICTURES = "[...document.querySelectorAll('#certificates-image .attack-shown img')]"


@pytest.fixture
def proven(page: Any) -> Any:
    """The page of a browser whose run has a result of the kind."""
    from app.store.models import AuditRun
    from app.store.session import reading
    from app.web.reader import LiveReader
    from tests.web.certificates import add_to

    with reading() as session:
        columns = LiveReader(session, session.get_one(AuditRun, 1)).score_reader.columns(["label", "correct"])
    add_to(1, columns["label"].astype(int), ~columns["correct"].astype(bool))
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
    page = proven
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(RUN + path)
    width, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= room
    assert page.locator("img:not([alt])").count() == 0
    assert page.errors == []


def test_the_bracket_can_be_read_without_a_script(proven: Any, chromium: Any, site: Any) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=site.address)
    context.add_cookies(proven.context.cookies())
    page = context.new_page()
    page.goto(f"{RUN}/robustness")
    text = page.locator("#certificates").inner_text()
    assert "Between proof and attack" in text
    assert "“Proven” means" in text
    assert page.locator("#certificates .bracket svg").count() > 0
    context.close()
