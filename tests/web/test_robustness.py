"""The robustness page: headlines, classes and slices against every stress test, its twin and its place in a report."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from app import audits
from app.audits.pieces import Estimate, GroupColumn, GroupFigure
from app.store.score_reader import ScoreReader
from app.web.robustness import Group, Shape, joint_classes
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.attacks import add_attacks
from tests.web.conftest import Results
from tests.web.corruptions import add_corruptions


@pytest.fixture
def tested(results: Results) -> tuple[Results, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The finished run under attack and corrupted, with the arrays of both."""
    return results, add_attacks(results), add_corruptions(results)


def twin(results: Results, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = results.signed("viewer").get(f"/api/v1{results.robustness}{query}").json()
    return found


def test_headlines_stand_on_one_scale_with_interval_doubt_and_what_is_left_out(tested: Any) -> None:
    results, attacked, corrupted = tested
    card = twin(results)["scorecard"]
    attacks, corruptions = card["lines"]
    assert attacks["estimate"]["value"] == pytest.approx(attacked["outcome"][:, -1].mean())
    assert attacks["estimate"]["low"] < attacks["estimate"]["value"] < attacks["estimate"]["high"]
    assert attacks["doubt"].startswith("Guessing beats gradients")
    assert "700 of 1,200 images" in attacks["leaves_out"]
    assert corruptions["estimate"]["value"] == pytest.approx(1 - corrupted["outcome"][:, 1:7].mean())
    assert corruptions["good"] is False
    assert "16 of 19 kinds" in corruptions["leaves_out"]
    assert card["scale"] == [0.0, 1.0]
    html = results.signed("viewer").get(results.robustness).text
    for line in (attacks, corruptions):
        assert f'href="{line["href"]}"' in html
        assert f'id="{line["href"].partition("#")[2]}"' in html


def test_classes_are_joined_over_all_tests(tested: Any) -> None:
    results, attacked, corrupted = tested
    joint = twin(results)["classes"]
    assert [column["key"] for column in joint["columns"]] == ["attacks.robust", "corruptions.right"]
    assert {row["name"] for row in joint["rows"]} == set(CLASSES)
    rows = results.built.rows
    for row in joint["rows"]:
        index = CLASSES.index(row["name"])
        under_attack, under_corruption = row["cells"]
        members = attacked["outcome"][attacked["labels"] == index, -1]
        assert under_attack["estimate"]["value"] == pytest.approx(members.mean())
        assert under_attack["estimate"]["n"] == len(members)
        mean = corrupted["outcome"][corrupted["labels"] == index, 1:].mean(axis=1)
        half = stats.t.ppf(0.975, len(mean) - 1) * mean.std(ddof=1) / len(mean) ** 0.5
        assert under_corruption["estimate"]["low"] == pytest.approx(mean.mean() - half)
        assert row["unchanged"]["value"] == pytest.approx(1 - rows.wrong[rows.label == index].mean())


def test_what_is_worse_than_chance_explains_is_marked(tested: Any) -> None:
    results, attacked, _ = tested
    page = twin(results)
    right, n = attacked["outcome"][:, -1], len(attacked["outcome"])
    groups = [(row, place) for name in ("slices", "classes") for place, row in enumerate(page[name]["rows"])]
    assert page["slices"]["rows"]
    p_values = []
    for row, _ in groups:
        size = row["cells"][0]["estimate"]["n"]
        inside = round(row["cells"][0]["estimate"]["value"] * size)
        p_values.append(stats.hypergeom.cdf(inside, n, int(right.sum()), size))
    expected = stats.false_discovery_control(p_values) <= 0.05
    assert [row["cells"][0]["worse"] for row, _ in groups] == expected.tolist()
    assert expected.any()
    html = results.signed().get(results.robustness).text
    assert html.count("joint-worse") >= int(expected.sum())
    assert "Benjamini and Hochberg" in html


def test_the_worst_come_first_and_a_column_can_be_chosen(tested: Any) -> None:
    results, *_ = tested
    for number, key in enumerate(("attacks.robust", "corruptions.right")):
        rows = twin(results, f"?sort={key}")["classes"]["rows"]
        values = [row["cells"][number]["estimate"]["value"] for row in rows]
        assert values == sorted(values)
    assert twin(results, "?sort=weather.wind")["classes"]["sort"] == ""


def test_a_cell_leads_to_its_images_the_worst_first(tested: Any) -> None:
    results, attacked, _ = tested
    row = twin(results)["classes"]["rows"][0]
    href = row["cells"][0]["href"]
    assert "sort=attacks_withstood" in href
    index = CLASSES.index(row["name"])
    shown = results.signed().get("/api/v1" + href.partition("#")[0]).json()["images"]["items"]
    places = {int(position): place for place, position in enumerate(attacked["positions"])}
    rows = [int(re.search(r"/images/(\d+)", item["href"])[1]) - TRAIN_ROWS for item in shown]
    members = int((attacked["labels"] == index).sum())
    withstood = [attacked["outcome"][places[position]].mean() for position in rows[:members]]
    assert withstood == sorted(withstood)
    image = results.signed().get("/api/v1" + shown[1]["href"]).json()
    assert image["previous"].partition("?")[0].endswith(str(rows[0] + TRAIN_ROWS))
    assert image["next"].partition("?")[0].endswith(str(rows[2] + TRAIN_ROWS))
    chosen = twin(results)["slices"]["rows"][0]["cells"][0]["href"]
    assert results.signed().get(chosen).status_code == 200


def test_a_run_without_stress_tests_says_which_there_are_and_how_to_add_them(results: Results) -> None:
    page = twin(results)
    assert page["scorecard"] is None
    assert {one["name"] for one in page["untested"]} >= {"attacks", "corruptions"}
    assert page["again"] == ""
    html = results.signed("analyst").get(results.robustness).text
    form = re.search(r'href="(/audits/new[^"]+)"', html)[1].replace("&amp;", "&")
    for name in ("attacks", "corruptions"):
        assert f"kinds={name}" in form
    asked = results.signed("analyst").get(form).text
    ticked = re.findall(r'name="kinds" value="(\w+)" checked', asked)
    assert set(ticked) == {one["name"] for one in page["untested"]}
    assert 'name="corruptions.kinds" value="fog" checked' in asked


def test_only_what_is_missing_is_offered(tested: Any) -> None:
    results, *_ = tested
    names = {one["name"] for one in twin(results)["untested"]}
    assert not names & {"attacks", "corruptions"}
    assert names == {kind.name for kind in audits.kinds().values() if kind.stress_test} - {"attacks", "corruptions"}


def test_the_report_card_shows_the_headlines(tested: Any) -> None:
    results, *_ = tested
    page = results.signed().get(f"/api/v1{results.run}").json()
    panel = next(one for one in page["panels"] if one["key"] == "robustness")
    assert [line["kind"] for line in panel["context"]["lines"]] == ["attacks", "corruptions"]
    html = results.signed().get(results.run).text
    assert f'href="{results.robustness}#attacks"' in html
    assert "Can it be believed?" not in html


def test_others_see_nothing_of_it(tested: Any) -> None:
    results, *_ = tested
    assert results.signed("outsider").get(results.robustness).status_code == 404
    assert results.signed("outsider").get(f"/api/v1{results.robustness}").status_code == 404


def test_a_report_holds_headlines_groups_and_pictures_in_every_form(tested: Any) -> None:
    results, *_ = tested
    live, report = twin(results), results.report()
    view = results.signed().get(f"/api/v1/reports/{report}").json()["view"]
    keys = [panel["key"] for panel in view["panels"]]
    assert keys.index("robustness") < keys.index("attacks") < keys.index("corruptions")
    stress = next(panel for panel in view["panels"] if panel["key"] == "robustness")["context"]
    assert [line["estimate"] for line in stress["scorecard"]["lines"]] == [
        line["estimate"] for line in live["scorecard"]["lines"]
    ]
    for name in ("classes", "slices"):
        assert [[cell["estimate"] for cell in row["cells"]] for row in stress[name]["rows"]] == [
            [cell["estimate"] for cell in row["cells"]] for row in live[name]["rows"]
        ]
        assert not any(cell["href"] for row in stress[name]["rows"] for cell in row["cells"])
    content = json.loads(results.signed().get(f"/reports/{report}/files/report.json").text)
    assert set(content["groups"]) == {"attacks", "corruptions"}
    assert content["groups"]["attacks"][0]["classes"]["0"]["estimate"]["n"] > 0
    one_file = results.signed().get(f"/reports/{report}/files/report.html").text
    assert one_file.count('src="data:image/webp;base64,') >= 3 * 4 + 2 * 3
    assert 'src="/' not in one_file
    assert "joint-worse" in one_file


def test_a_shared_link_shows_the_kept_pictures_of_its_report_alone(tested: Any) -> None:
    results, *_ = tested
    report = results.report()
    page = results.signed().post(f"/reports/{report}/links", data={"days": "3"}).text
    link = re.search(r"(/shared/[\w.-]+)", page)[1]
    shown = results.client.get(link).text
    pictures = re.findall(rf'src="({re.escape(link)}/kept/[^"]+)"', shown)
    assert len(pictures) == 3 * 4 + 2 * 3
    assert all(results.client.get(path).headers["content-type"] == "image/webp" for path in pictures)
    assert results.client.get(f"{link}/kept/attacks/summarise/99999").status_code == 404
    assert results.client.get(f"{link}/kept/attacks/..%2Fsummarise/1").status_code == 404


def test_pictures_beyond_their_budget_are_left_out(tested: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    results, *_ = tested
    monkeypatch.setattr("app.services.reports.shown.PICTURE_BUDGET", 500)
    page = results.signed().get(f"/reports/{results.report()}").text
    assert 0 < page.count("/kept/attacks/") < 12
    assert 'src=""' not in page
    assert 'src="#"' not in page


def test_a_thousand_classes_are_shown_a_part_at_a_time() -> None:
    figures = {
        number: GroupFigure(estimate=Estimate(value=number / 1000, low=0, high=1, n=9), worse=number in {500, 700})
        for number in range(1000)
    }
    column = GroupColumn(key="k", title="t", overall=Estimate(value=0.5, n=9), classes=figures)
    other = column.model_copy(update={"key": "l", "good": False, "unit": "2"})
    groups = [Group(number, f"c{number}", "", None) for number in range(1000)]
    joint = joint_classes([("a", column), ("b", other)], groups, Shape(None, "", 25))
    assert (len(joint.rows), joint.total) == (25, 1000)
    assert {row.name for row in joint.rows[:2]} == {"c500", "c700"}
    assert [row.name for row in joint_classes([("a", column), ("b", other)], groups, Shape(None, "b.l", 2)).rows] == [
        "c999",
        "c998",
    ]
    assert [row.name for row in joint_classes([("a", column), ("b", other)], groups, Shape(None, "a.k", 2)).rows] == [
        "c0",
        "c1",
    ]


def test_the_slices_of_a_row_are_looked_up_once(tested: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    results, *_ = tested
    asked: list[int] = []
    real = ScoreReader.memberships

    def noted(reader: ScoreReader, rows: list[int], *, confirm: bool = False) -> dict[int, list[str]]:
        asked.extend(rows)
        return real(reader, rows, confirm=confirm)

    monkeypatch.setattr(ScoreReader, "memberships", noted)
    assert twin(results)["slices"]["rows"]
    assert len(asked) == len(set(asked)) > 0


def test_a_second_data_set_is_asked_for_in_sight(results: Results) -> None:
    html = results.signed("analyst").get("/audits/new?kinds=attacks&kinds=shift").text
    form = html[html.index("Shift to a second data set") :]
    assert form.index('name="shift.second"') < form.index("<details")
    assert "needs a second data set" not in html
