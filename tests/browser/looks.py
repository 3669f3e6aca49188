"""What every page of results has to be on a telephone."""

from __future__ import annotations

from typing import Any

TELEPHONE = {"width": 390, "height": 844}


def fits_a_telephone(page: Any, path: str) -> None:
    """Nothing is wider than the window, tables opened; every picture has its words; nothing breaks the policy."""
    page.set_viewport_size(TELEPHONE)
    page.goto(path)
    for box in page.locator(".heat-more > summary").all():
        box.click()
    width, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= room
    assert page.locator("img:not([alt])").count() == 0
    assert page.errors == []
