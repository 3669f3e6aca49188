"""Two sets side by side on a telephone, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.looks import fits_a_telephone

RUN = "/runs/1"


@pytest.fixture
def shifted(page: Any, tmp_path: Path) -> Any:
    """The page of a browser whose run has a result of the kind."""
    from app.store.models import AuditRun
    from app.store.session import reading
    from tests.results_rows import draw_rows
    from tests.web.shift import both, publish_all, slices

    rows = draw_rows(np.random.default_rng(5), 40)
    with reading() as session:
        dataset = session.get_one(AuditRun, 1).dataset_id
    publish_all(1, replace(both(rows, dataset, True, True), earlier=slices(tmp_path, rows)), "browser")
    return page


def test_a_class_leads_to_images_of_both_sets_and_on_to_one(shifted: Any) -> None:
    page = shifted
    page.goto(f"{RUN}/robustness")
    page.locator("#shift table.shift-lines a", has_text="cat").last.click()
    page.wait_for_url("**/cells/shift/class-2")
    page.wait_for_load_state("networkidle")
    shown = page.locator(".thumbs").first.locator("img")
    assert shown.count() > 3
    assert shown.first.evaluate("e => e.naturalWidth") > 0
    page.locator(".thumbs").first.locator("a").first.click()
    page.wait_for_url("**/cells/shift/image-*")
    assert "The picture as it came" in page.locator("main").inner_text()
    assert page.errors == []


@pytest.mark.parametrize("path", ["/robustness", "/cells/shift/class-2", "/cells/shift/typical", "/classes/2"])
def test_its_pages_fit_a_telephone(shifted: Any, path: str) -> None:
    fits_a_telephone(shifted, RUN + path)


@pytest.mark.usefixtures("shifted")
def test_it_can_be_read_without_a_script(unscripted: Any) -> None:
    page = unscripted
    page.goto(f"{RUN}/robustness")
    assert "What kind of shift it is" in page.locator("#shift").inner_text()
    page.locator("#shift table.shift-lines a").first.click()
    page.wait_for_url("**/cells/shift/**")
    assert page.locator(".thumbs img").count() > 0
