"""The kind `patches` in a real browser: the slider, the address, and the same without a script."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.looks import fits_a_telephone
from tests.web import patches

RUN = "/runs/1/robustness"
SHOWN = "[...document.querySelectorAll('.patch-view')].filter(v => v.offsetHeight > 0).map(v => v.id)"


@pytest.fixture
def certified(page: Any, judged: Any) -> Any:
    """The page of a browser whose run has a result of the kind."""
    patches.add_to(1, *judged)
    return page


def test_the_slider_shows_one_size_and_keeps_it_in_the_address(certified: Any) -> None:
    page = certified
    page.goto(RUN)
    slider = page.get_by_role("slider", name="Patch size")
    slider.wait_for()
    assert page.evaluate(SHOWN) == ["patch-5px"]
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(SHOWN) == ["patch-8px"]
    assert page.url.endswith("#patch-8px")
    page.reload()
    slider.wait_for()
    assert page.evaluate(SHOWN) == ["patch-8px"]
    page.locator(".patch-sizes a").first.click()
    assert page.evaluate(SHOWN) == ["patch-4px"]
    assert slider.input_value() == "0"
    assert page.errors == []


@pytest.mark.parametrize("path", ["/robustness", "/classes/0", "/cells/patches/two-masks-5px"])
def test_its_pages_fit_a_telephone(certified: Any, path: str) -> None:
    fits_a_telephone(certified, "/runs/1" + path)


@pytest.mark.usefixtures("certified")
def test_sizes_are_links_without_a_script(unscripted: Any) -> None:
    page = unscripted
    page.goto(RUN)
    shown = page.locator(".patch-view:visible")
    assert shown.count() == 1
    assert shown.get_attribute("id") == "patch-5px"
    page.locator(".patch-sizes a").last.click()
    page.wait_for_url(re.compile("#patch-8px$"))
    assert [view.get_attribute("id") for view in shown.all()] == ["patch-8px"]
    assert page.get_by_role("slider").count() == 0
