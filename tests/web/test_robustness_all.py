"""All stress tests of one run side by side: on the robustness page, in every form of a report, from a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app import audits
from app.audits import base
from tests.cli.test_commands import said
from tests.web.attacks import add_attacks
from tests.web.certificates import add_certificates
from tests.web.conftest import Results
from tests.web.corruptions import add_corruptions
from tests.web.patches import add_patches
from tests.web.shift import add_shift
from tests.web.smoothing import add_smoothing
from tests.web.test_robustness import twin

STRESS = sorted(name for name, kind in audits.kinds().items() if kind.stress_test)
MOST_BYTES = 10_000_000


@pytest.fixture
def tested(results: Results, tmp_path: Path) -> Results:
    """The finished run after every stress test."""
    for add in (add_attacks, add_certificates, add_corruptions, add_patches, add_smoothing):
        add(results)
    add_shift(results, tmp_path)
    return results


@pytest.mark.parametrize("name", STRESS)
def test_each_kind_fills_every_place(name: str) -> None:
    kind = audits.kinds()[name]
    assert kind.group_columns is not base._no_columns
    assert kind.files is not base._no_files
    assert {"quick", "standard", "thorough"} <= set(kind.params.model_fields["budget"].annotation.__args__)
    assert not kind.by_default


def test_every_test_has_a_line_a_column_and_a_panel(tested: Results) -> None:
    page = twin(tested)
    lines = page["scorecard"]["lines"]
    assert sorted({line["kind"] for line in lines}) == STRESS
    assert page["untested"] == []
    html = tested.signed("viewer").get(tested.robustness).text
    for line in lines:
        assert line["estimate"]["low"] <= line["estimate"]["value"] <= line["estimate"]["high"]
        assert line["estimate"]["n"] > 0
        assert html.count(f'id="{line["href"].partition("#")[2]}"') == 1
    assert sorted({panel["kind"] for panel in page["panels"]}) == STRESS
    assert sorted({column["kind"] for column in page["classes"]["columns"]}) == STRESS
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_every_cell_leads_to_a_page_with_its_images_in_that_order(tested: Results) -> None:
    page = twin(tested)
    browser = tested.signed("viewer")
    for name in ("slices", "classes"):
        row = page[name]["rows"][0]
        for column, cell in zip(page[name]["columns"], row["cells"], strict=True):
            if cell is None:
                continue
            answer = browser.get("/api/v1" + cell["href"].partition("#")[0])
            assert answer.status_code == 200
            if column["kind"] == "shift":
                shown = answer.json()["panels"][0]["context"]
                assert shown["second"], "images of the second data set"
                continue
            assert column["score"], column["key"]
            assert answer.json()["images"]["filter"]["sort"] == column["score"]


def test_a_report_holds_them_all_and_stays_small(tested: Results) -> None:
    report = tested.report()
    browser = tested.signed()
    keys = {panel["kind"] for panel in browser.get(f"/api/v1/reports/{report}").json()["view"]["panels"]}
    assert set(STRESS) <= keys
    one_file = browser.get(f"/reports/{report}/files/report.html").content
    assert len(one_file) < MOST_BYTES
    assert b'src=""' not in one_file
    assert b'href="/runs' not in one_file
    content: dict[str, Any] = json.loads(browser.get(f"/reports/{report}/files/report.json").text)
    assert sorted(content["groups"]) == STRESS


def test_the_terminal_shows_every_line(tested: Results) -> None:
    text = said("runs", "show", str(tested.built.run_id))
    for line in twin(tested)["scorecard"]["lines"]:
        assert f"{line['title']}: {line['estimate']['value']:.1%}" in text
