"""The pages of training influence in a real browser: rules, keyboard, and reading without JavaScript."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from app.web.deps import SESSION_COOKIE
from tests.browser.conftest import Site
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import draw_rows
from tests.web.conftest import Results
from tests.web.influence import add_influence

PATHS = [
    f"/runs/1/images/{TRAIN_ROWS + 7}",
    "/runs/1/training",
    "/runs/1/training?list=mislabelled",
    "/runs/1/training?list=influence-effects",
    "/runs/1/training/images/8?list=duplicated",
    "/runs/1/compare",
    "/runs/1",
]


@pytest.fixture(scope="module", autouse=True)
def influence(site: Site) -> None:
    """Give the site's finished run a result of the kind `influence`."""
    rows = draw_rows(np.random.default_rng(5), 40)
    add_influence(cast("Results", SimpleNamespace(built=SimpleNamespace(run_id=1, rows=rows))))


@pytest.mark.parametrize("path", PATHS)
def test_a_page_keeps_the_rules(page: Any, path: str) -> None:
    page.errors.clear()
    assert page.goto(path).status == 200
    page.wait_for_timeout(150)
    assert page.errors == []
    width, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= room
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("h1").count() == 1


def test_methods_open_from_the_keyboard_one_at_a_time(page: Any) -> None:
    page.goto(PATHS[0])
    panel = page.locator("#influence-image")
    first, second = panel.locator("details").all()[:2]
    assert first.get_attribute("open") is not None
    second.locator("summary").focus()
    page.keyboard.press("Enter")
    assert second.get_attribute("open") is not None
    assert first.get_attribute("open") is None
    page.keyboard.press("Tab")
    focused = page.evaluate(
        "[document.activeElement.getAttribute('href'), getComputedStyle(document.activeElement).outlineStyle]"
    )
    assert focused[0].startswith("/runs/1/training/images/")
    assert focused[1] != "none"


def test_a_list_is_walked_from_the_keyboard(page: Any) -> None:
    page.goto("/runs/1/training?list=mislabelled")
    page.locator(".thumbs a").first.click()
    page.wait_for_url("**/training/images/70?list=mislabelled")
    page.keyboard.press("j")
    page.wait_for_url("**/training/images/3?list=mislabelled")
    page.keyboard.press("k")
    page.wait_for_url("**/training/images/70?list=mislabelled")


def test_everything_can_be_read_without_javascript(chromium: Any, site: Site) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=site.address)
    context.add_cookies([{"name": SESSION_COOKIE, "value": site.session, "url": site.address}])
    page = context.new_page()
    page.goto(PATHS[0])
    panel = page.locator("#influence-image")
    assert "only partly stable" in panel.inner_text()
    second = panel.locator("details").nth(1)
    second.locator("summary").click()
    assert second.locator("img").first.is_visible()
    page.goto(PATHS[2])
    assert "wrong labels were planted" in page.locator("main").inner_text()
    context.close()
