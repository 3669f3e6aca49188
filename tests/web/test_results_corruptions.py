"""Pages of the kind `corruptions`: the heat map, its cells with their images, classes and slices."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.corruptions import CELLS, add_corruptions


def panel(results: Results, path: str) -> dict:
    found = results.signed().get(f"/api/v1{path}").json()["panels"]
    return next(one for one in found if one["key"] == "corruptions")["context"]


def test_the_heat_map_leads_to_every_cell(results: Results) -> None:
    outcome = add_corruptions(results)["outcome"]
    page = results.signed().get(results.robustness).text
    links = re.findall(rf'href="({results.run}/cells/corruptions/[a-z_]+-\d)"', page)
    assert len(links) == CELLS
    assert all(results.signed().get(link).status_code == 200 for link in links)
    context = panel(results, results.robustness)
    cells = [cell for row in context["heat"]["rows"] for cell in row["cells"]]
    assert [cell["accuracy"]["value"] for cell in cells] == pytest.approx(outcome[:, 1:].mean(axis=0))
    assert all(f"n {len(outcome):,}" in cell["told"] for cell in cells)
    assert [row["group"] for row in context["heat"]["rows"]] == ["weather", "", "beside the fifteen"]
    levels = [cell["level"] for cell in cells]
    assert levels[-1] > levels[0]
    assert "is not normalised" in page
    assert "leaves out the other" in page
    assert "Frost is grown" in page


def test_classes_and_slices_that_lose_most_are_named(results: Results) -> None:
    found = add_corruptions(results)
    context = panel(results, results.robustness)
    assert {line["name"] for line in context["classes"]} <= set(CLASSES)
    assert context["classes"]
    assert context["slices"]
    members = {key: [] for key in {k for keys in results.built.rows.slices for k in keys}}
    for place, position in enumerate(found["positions"]):
        for key in results.built.rows.slices[position] if results.built.rows.confirm[position] else ():
            members[key].append(place)
    for line in context["slices"]:
        key = next(k for k, id_ in results.built.finding_ids.items() if line["href"].endswith(f"/slices/{id_}"))
        assert line["clean"]["n"] == len(members[key])
        assert line["corrupted"]["value"] == pytest.approx(found["outcome"][members[key], 1:].mean())


def test_a_cell_shows_the_surest_mistakes_first_clean_and_corrupted(results: Results) -> None:
    found = add_corruptions(results)
    path = f"{results.run}/cells/corruptions/frost-3"
    context, column = panel(results, path), 2
    fell = np.flatnonzero((found["outcome"][:, 0] == 1) & (found["outcome"][:, column] == 0))
    order = fell[np.argsort(found["margin"][fell, column], kind="stable")]
    assert context["fell"] == len(fell)
    rows = [int(pair["href"].rpartition("/")[2]) - TRAIN_ROWS for pair in context["pairs"]]
    assert rows[:6] == [int(found["positions"][place]) for place in order[:6]]
    pair = context["pairs"][0]
    for side, number in (("clean", (rows[0], 0)), ("corrupted", (rows[0], column))):
        answer = results.signed().get(pair[side]["src"])
        assert answer.headers["content-type"] == "image/webp"
        ends, at = found["pictures.ends"], found["pictures.of"].tolist().index(list(number))
        assert answer.content == found["pictures.bytes"][ends[at - 1] if at else 0 : ends[at]].tobytes()
        again = results.signed().get(pair[side]["src"], headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    assert context["more"]
    html = results.signed().get(path).text
    assert "as the network sees them" in html
    assert f"{results.run}/cells/corruptions/frost-5" in html


def test_classes_and_slices_have_their_own_heat_map(results: Results) -> None:
    found = add_corruptions(results)
    of_class = panel(results, f"{results.run}/classes/1")
    members = found["labels"] == 1
    cells = [cell["accuracy"]["value"] for row in of_class["heat"]["rows"] for cell in row["cells"]]
    assert cells == pytest.approx(found["outcome"][members, 1:].mean(axis=0))
    assert panel(results, results.slice())["clean"]["n"] > 0
    for path in (f"{results.run}/classes/1", results.slice()):
        assert "Under common corruptions" in results.signed().get(path).text


@pytest.mark.parametrize(
    "path", ["cells/corruptions/hail-3", "cells/influence/x-1", "kept/corruptions/summarise/99999"]
)
def test_what_was_not_measured_is_not_there(results: Results, path: str) -> None:
    add_corruptions(results)
    assert results.signed().get(f"{results.run}/{path}").status_code == 404


def test_a_stage_without_pictures_has_none(results: Results) -> None:
    assert results.signed().get(f"{results.run}/kept/slices/slices/0").status_code == 404


@pytest.mark.parametrize("path", ["cells/corruptions/fog-1", "kept/corruptions/summarise/0"])
def test_others_see_nothing_of_it(results: Results, path: str) -> None:
    add_corruptions(results)
    assert results.signed("outsider").get(f"{results.run}/{path}").status_code == 404
    assert results.signed("viewer").get(f"{results.run}/{path}").status_code == 200


def test_an_image_tells_what_became_of_it(results: Results) -> None:
    found = add_corruptions(results)
    place = 7
    row = int(found["positions"][place]) + TRAIN_ROWS
    context = panel(results, f"{results.run}/images/{row}")
    rights = [cell["right"] for kind in context["rows"] for cell in kind["cells"]]
    assert rights == [bool(value) for value in found["outcome"][place, 1:]]
    assert context["share"]["value"] == pytest.approx(found["outcome"][place, 1:].mean())
    assert "Under common corruptions" in results.signed().get(f"{results.run}/images/{row}").text
    other = next(
        r for r in range(TRAIN_ROWS, TRAIN_ROWS + 999) if r - TRAIN_ROWS not in set(found["positions"].tolist())
    )
    assert "Under common corruptions" not in results.signed().get(f"{results.run}/images/{other}").text


def test_one_image_is_shown_in_every_cell(results: Results) -> None:
    add_corruptions(results)
    rows = panel(results, results.robustness)["gallery"]
    assert [len(row["pictures"]) for row in rows] == [4, 4, 4]
    assert {row["pictures"][0]["text"] for row in rows} == {"clean"}


def test_a_report_holds_the_heat_map_and_leads_nowhere(results: Results) -> None:
    add_corruptions(results)
    report = results.report()
    page = results.signed().get(f"/reports/{report}").text
    assert "Common corruptions" in page
    assert "Frost, severity 5" in page
    assert "/cells/" not in page
