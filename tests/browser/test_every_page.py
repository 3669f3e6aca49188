"""Every page in a real browser: no violation of the policy, no script error, nothing wider than a telephone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import EMAIL
from tests.factories import PASSWORD

PATHS = [
    "/",
    "/account",
    "/projects/1",
    "/models",
    "/models/1",
    "/models/1/versions/1",
    "/models/new",
    "/datasets",
    "/datasets/1",
    "/datasets/new",
    "/audits/new",
    "/runs",
    "/runs/1",
    "/runs/2",
    "/runs/3",
    "/runs/1/slices",
    "/runs/1/classes",
    "/runs/1/images",
    "/runs/1/robustness",
    "/runs/1/map",
    "/runs/1/ask",
    "/api/v1/docs",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_keeps_the_rules(page: Any, path: str) -> None:
    page.errors.clear()
    answer = page.goto(path)
    assert answer.status == 200
    page.wait_for_timeout(150)
    assert page.errors == []
    width, room = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= room
    assert page.evaluate("document.fonts.check('16px Figtree')")
    assert page.locator("h1").count() == 1
    assert page.locator("img:not([alt])").count() == 0
    unnamed = page.locator("input:not([type=hidden]):not([aria-label]):not([id])").all()
    assert all(field.evaluate("e => e.closest('label') !== null") for field in unnamed)


FOCUS = """
() => {
  const focused = document.activeElement, style = getComputedStyle(focused);
  return [focused.tagName, style.outlineStyle, style.outlineWidth];
}
"""


def test_focus_is_visible_all_the_way(page: Any) -> None:
    page.goto("/audits/new")
    seen = 0
    for _ in range(12):
        page.keyboard.press("Tab")
        style = page.evaluate(FOCUS)
        if style[0] != "BODY":
            assert style[1] != "none", style
            assert style[2] != "0px", style
            seen += 1
    assert seen >= 10


def test_signing_in_leads_where_one_wanted_to_go(page: Any) -> None:
    page.context.clear_cookies()
    page.goto("/runs/1/slices")
    page.fill("#email", EMAIL)
    page.fill("#password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url("**/runs/1/slices")


def test_dark_and_light_stay_chosen(page: Any) -> None:
    page.goto("/")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("[data-theme-toggle]")
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert before != after
    page.goto("/models")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after


CONTRAST = """
() => {
  const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = c => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = c; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data]; };
  const light = c => { const [r, g, b] = rgb(c).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const style = getComputedStyle(document.documentElement);
  const value = name => { const e = document.createElement('i'); e.style.color = `var(${name})`;
    document.body.append(e); const c = getComputedStyle(e).color; e.remove(); return c; };
  const ratio = (a, b) => { const [x, y] = [light(value(a)), light(value(b))].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05); };
  const found = {};
  for (const ink of ['--ink', '--ink-2', '--accent', '--wrong', '--right'])
    for (const ground of ['--paper', '--surface', '--sunken']) found[`${ink} on ${ground}`] = ratio(ink, ground);
  return found;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto("/")
    ratios = page.evaluate(CONTRAST)
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


def test_progress_polls_while_the_run_works(page: Any) -> None:
    with page.expect_response(lambda answer: answer.url.endswith("/runs/2/progress"), timeout=8000) as polled:
        page.goto("/runs/2")
    assert polled.value.status == 200
    assert page.locator("progress").count() == 1


def test_a_chosen_file_is_sent_in_pieces_before_the_form(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "größe eins.csv"
    file.write_text("path,label\n" + "a.png,cat\n" * 2_000_000)
    page.goto("/datasets/new")
    page.fill("#name", "Table")
    page.set_input_files("#files", file)
    page.click("main button[type=submit]")
    page.wait_for_url(re.compile(r"/datasets/\d+$"), timeout=60_000)
    assert "Table" in page.locator("h1").inner_text()
    assert page.errors == []


def test_an_upload_goes_on_after_a_break(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("path,label\n" + "b.png,dog\n" * 2_000_000)
    sent = []
    page.on("request", lambda r: sent.append(r.headers.get("upload-offset")) if r.method == "PATCH" else None)
    page.goto("/datasets/new")
    page.route("**/api/v1/uploads/*", lambda route: route.abort() if len(sent) == 2 else route.continue_())
    page.set_input_files("#files", file)
    page.wait_for_selector(".progress-done", timeout=60_000)
    assert sent[0] == "0"
    assert sent.count(sent[1]) == 2
    assert page.locator('input[name="files_token"]').count() == 1
