"""Pages of the kind `patches`: the robustness page, a cell, an image, a class, a slice and a report."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from app.audits.patches.headlines import group_columns, headlines
from app.audits.patches.page_files import files
from app.audits.patches.schema import METHODS
from app.store.models import AuditRun
from app.store.session import reading, transaction
from app.web.reader import LiveReader
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results
from tests.web.patches import add_patches

ANCHORS = ["patch-4px", "patch-5px", "patch-8px"]


def panel(results: Results, path: str) -> dict[str, Any]:
    found = results.signed().get(f"/api/v1{path}").json()["panels"]
    context: dict[str, Any] = next(one for one in found if one["key"] == "patches")["context"]
    return context


def test_the_run_shows_each_method_at_each_size_with_intervals_and_cost(results: Results) -> None:
    details = add_patches(results)
    context = panel(results, results.robustness)
    assert context["sizes"] == [
        "1 % of the area (4 × 4 px)",
        "2 % of the area (5 × 5 px)",
        "5 % of the area (8 × 8 px)",
    ]
    for place, row in enumerate(context["methods"]):
        for column, cell in enumerate(one["certified"] for one in row["cells"]):
            assert cell["value"] == pytest.approx(details["certified"][:, place, column].mean())
            assert cell["low"] <= cell["value"] <= cell["high"]
            assert cell["n"] == len(details["labels"])
        assert row["defended"]["value"] == pytest.approx((details["clean"] == details["labels"]).mean())
    assert [row["passes"] for row in context["methods"]] == [45, 32]
    html = results.signed("viewer").get(results.robustness).text
    assert "Not run: the budget “quick” leaves it out." in html
    assert "its votes are weak" in html
    assert "leaves out block smoothing" in html
    assert "<script>" not in html
    assert "style=" not in html


def test_each_size_has_a_view_with_an_address_and_the_middle_one_is_chosen(results: Results) -> None:
    details = add_patches(results)
    views = panel(results, results.robustness)["views"]
    assert [view["anchor"] for view in views] == ANCHORS
    assert [view["chosen"] for view in views] == [False, True, False]
    html = results.signed().get(results.robustness).text
    for anchor in ANCHORS:
        assert f'href="#{anchor}"' in html
        assert html.count(f'id="{anchor}"') == 1
    held = details["certified"][:, 0] == 1
    right = details["clean"] == details["labels"]
    for column, view in enumerate(views):
        shown = {int(thumb["href"].rpartition("/")[2]) - TRAIN_ROWS for thumb in view["certified"]}
        assert shown <= set(details["positions"][held[:, column]].tolist())
        assert len(shown) == min(12, held[:, column].sum())
        worst = [int(thumb["href"].rpartition("/")[2]) - TRAIN_ROWS for thumb in view["worst"]]
        assert set(worst) <= set(details["positions"][right & ~held[:, column]].tolist())
        counts = [int(held[details["positions"].tolist().index(position)].sum()) for position in worst]
        assert counts == sorted(counts), "those that are certified at fewest sizes come first"


def test_the_map_of_the_run_is_the_share_of_images_that_are_not_safe_at_a_place(results: Results) -> None:
    details = add_patches(results)
    right = np.isin(details["mapped"], details["positions"][details["clean"] == details["labels"]])
    found = panel(results, results.robustness)["views"][1]["map"]
    harm = (details["map"][right][:, 0, 1] < 0).mean(axis=0)
    assert found["safe"]["value"] == pytest.approx(1 - harm.mean())
    assert f"in {100 * (1 - harm.max()):.0f} % and at the best place in {100 * (1 - harm.min()):.0f} %" in found["told"]
    cells = {}
    for shade in found["shades"]:
        for x, y, run in re.findall(r"M(\d+) (\d+)h(\d+)", shade["path"]):
            cells |= {(int(y), int(x) + step): shade["level"] for step in range(int(run))}
    assert len(cells) == harm.size
    assert all(level == round(10 * harm[place]) for place, level in cells.items())


def test_a_cell_shows_its_certified_images_and_the_others(results: Results) -> None:
    details = add_patches(results)
    path = f"{results.run}/cells/patches/columns-4px"
    context = panel(results, path)
    held = details["certified"][:, 1, 0] == 1
    assert (context["of_held"], context["certified"]["n"]) == (held.sum(), len(held))
    assert context["of_open"] == ((details["clean"] == details["labels"]) & ~held).sum()
    html = results.signed().get(path).text
    assert "Columns that vote, patch of 1 % of the area (4 × 4 px)" in html
    for name in ("blocks-4px", "columns-7px", "nothing"):
        assert results.signed().get(f"{results.run}/cells/patches/{name}").status_code == 404
    assert f'href="{path}"' in results.signed().get(results.robustness).text


def test_an_image_says_where_it_is_safe(results: Results) -> None:
    details = add_patches(results)
    positions = details["positions"].tolist()
    for number, position in enumerate(details["mapped"].tolist()[:6]):
        path, place = f"{results.run}/images/{TRAIN_ROWS + position}", positions.index(position)
        context = panel(results, path)
        for column, size in enumerate(context["sizes"]):
            for method, row in enumerate(size["methods"]):
                assert row["certified"] == (details["certified"][place, method, column] == 1)
                safe = int((details["map"][number, method, column] >= 0).sum())
                assert f"Safe at {safe} of 144 places." in row["map"]["told"]
        assert "Votes to spare: −12 at the worst place" in str(context) or details["certified"][place, 1].any()
        html = results.signed().get(path).text
        source = re.search(rf'src="({results.run}/kept/patches/summarise/{number})"', html)
        assert source
        assert results.signed().get(source[1]).headers["content-type"] == "image/webp"
    rest = next(position for position in positions if position not in details["mapped"])
    context = panel(results, f"{results.run}/images/{TRAIN_ROWS + rest}")
    assert "first 24 images that were drawn" in context["no_map"]
    assert context["sizes"][0]["methods"][0]["map"] is None
    assert context["src"] == ""


def test_classes_and_slices_have_their_own_shares(results: Results) -> None:
    details = add_patches(results)
    mine = details["labels"] == 1
    context = panel(results, f"{results.run}/classes/1")
    assert context["methods"][0]["cells"][2]["value"] == pytest.approx(details["certified"][mine, 0, 2].mean())
    assert context["methods"][0]["cells"][2]["n"] == mine.sum()
    found = panel(results, results.robustness)
    assert [row["certified"]["value"] for row in found["classes"]] == sorted(
        r["certified"]["value"] for r in found["classes"]
    )
    for line in found["slices"]:
        middle = panel(results, line["href"])["methods"][0]["cells"][1]
        assert middle["value"] == line["certified"]["value"]
    assert found["slices"] or found["no_slices"]


def test_the_headline_is_the_leading_method_at_the_middle_size_whatever_another_found(results: Results) -> None:
    details = add_patches(results)
    with reading() as session:
        reader = LiveReader(session, session.get_one(AuditRun, results.built.run_id))
        (line,), (column,) = headlines(reader), group_columns(reader)
    assert line.estimate is not None
    assert line.estimate.value == pytest.approx(details["certified"][:, METHODS.index("two masks"), 1].mean())
    assert "2 % of the area (5 × 5 px)" in line.text
    assert "block smoothing" in line.leaves_out
    assert column.overall.value == line.estimate.value
    assert column.classes[0].estimate.value == pytest.approx(details["certified"][details["labels"] == 0, 0, 1].mean())


def test_doubts_stand_beside_the_figures_and_the_file_holds_every_answer(results: Results) -> None:
    details = add_patches(results)
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        doubtful = {**run.summary["patches"], "doubts": ["Random outputs: nothing here is proven."]}
        run.summary = {**run.summary, "patches": doubtful}
    assert "Random outputs: nothing here is proven." in results.signed().get(results.robustness).text
    with reading() as session:
        reader = LiveReader(session, session.get_one(AuditRun, results.built.run_id))
        assert headlines(reader)[0].doubt == "Random outputs: nothing here is proven."
        (file,) = files(reader)
        made = file.read()
    assert np.array_equal(made.arrays["certified"], details["certified"])
    assert np.array_equal(made.rows["images"], details["positions"] + TRAIN_ROWS)
    assert all(name in made.text for name in (*made.arrays, "5 × 5 px"))


def test_what_could_not_be_tested_says_why(results: Results) -> None:
    assert "There is no network." in results.unmeasured("patches", "There is no network.")


def test_a_report_holds_the_shares_without_images(results: Results) -> None:
    add_patches(results)
    report = results.report()
    page = results.signed().get(f"/reports/{report}").text
    assert "Patch certificates" in page
    assert "A patch of 2 % of the area (5 × 5 px)" in page
    assert "/kept/" not in page
    assert "/cells/" not in page
