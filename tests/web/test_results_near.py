"""The images nearest to one among all of the run: asked once, waited for, shown with how many were searched."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.store.models import Query
from app.store.session import transaction
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results

POSITION = 40


def page(results: Results, position: int = POSITION) -> str:
    return f"{results.run}/images/{TRAIN_ROWS + position}"


def panel(results: Results, position: int = POSITION) -> dict[str, Any]:
    """The block as the page's twin has it."""
    panels = results.signed().get(f"/api/v1{page(results, position)}").json()["panels"]
    context: dict[str, Any] = next(entry["context"] for entry in panels if entry["key"] == "slices-near")
    return context


def settle(results: Results, status: str, result: dict[str, Any] | None = None, error: str = "") -> None:
    """End the latest question as a worker does."""
    with transaction() as session:
        query = session.get_one(Query, results.questions()[-1].id)
        query.status, query.result, query.error = status, result or {}, error


def ask(results: Results, role: str = "viewer", position: int = POSITION) -> Any:
    return results.signed(role).post(f"{page(results, position)}/near")


def test_before_anybody_asked_there_is_a_button_without_script(results: Results) -> None:
    html = results.signed("viewer").get(page(results)).text
    total = panel(results)["total"]
    assert f"Find the nearest of all {total:,} images" in html
    assert f'method="post" action="{page(results)}/near"' in html


def test_it_is_asked_once_and_waited_for(results: Results) -> None:
    before = len(results.questions())
    answer = ask(results)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{page(results)}#slices-near"
    asked = results.questions()[-1]
    assert (asked.kind, asked.action, asked.status) == ("slices", "neighbours", "queued")
    assert asked.payload["position"] == POSITION
    ask(results, "owner")
    assert len(results.questions()) == before + 1
    html = results.signed().get(page(results)).text
    assert f'hx-get="{page(results)}/near"' in html
    assert f'href="{page(results)}#slices-near">Look again' in html
    assert "hx-get" in results.signed().get(f"{page(results)}/near").text


def test_the_answer_stands_on_the_page_with_how_many_were_searched(results: Results) -> None:
    ask(results)
    settle(results, "succeeded", {"rows": [7, 3, 12], "scores": [0.93, 0.4, -0.1], "compared": 4711})
    found = panel(results)
    rows = results.built.rows
    assert [int(re.findall(r"images/(\d+)", item["href"])[0]) - TRAIN_ROWS for item in found["items"]] == [7, 3, 12]
    assert [item["text"] for item in found["items"]] == [
        f"{CLASSES[int(rows.label[position])]}, similarity {score:.2f}"
        for position, score in ((7, 0.93), (3, 0.4), (12, -0.1))
    ]
    for path in (page(results), f"{page(results)}/near", f"{results.run}/questions/{results.questions()[-1].id}"):
        html = results.signed("viewer").get(path).text
        assert "All 4,711 other images were searched" in html
        assert "hx-get" not in html.split("<main")[-1]
    before = len(results.questions())
    ask(results)
    assert len(results.questions()) == before


def test_a_failure_says_why_and_can_be_asked_again(results: Results) -> None:
    ask(results)
    settle(results, "failed", error="The artifact is gone.")
    html = results.signed().get(page(results)).text
    assert "The artifact is gone." in html
    assert "Find the nearest of all" in html
    before = len(results.questions())
    ask(results)
    assert len(results.questions()) == before + 1
    assert panel(results)["waiting"]


def test_each_image_has_its_own_question(results: Results) -> None:
    ask(results)
    settle(results, "succeeded", {"rows": [7], "scores": [0.9], "compared": 10})
    other = panel(results, POSITION + 1)
    assert (other["items"], other["waiting"]) == ([], False)


def test_an_only_image_has_no_neighbour(results: Results) -> None:
    ask(results)
    settle(results, "succeeded", {"rows": [], "scores": [], "compared": 0})
    assert panel(results)["items"] == []
    html = results.signed().get(page(results)).text
    assert "There is no other image." in html
    assert "Find the nearest" not in html


def test_the_log_of_questions_leaves_these_out(results: Results) -> None:
    before = results.signed().get(f"/api/v1{results.run}/ask").json()
    ask(results)
    after = results.signed().get(f"/api/v1{results.run}/ask").json()
    assert (after["total"], after["log"]) == (before["total"], before["log"])


@pytest.mark.parametrize("row", [0, TRAIN_ROWS - 1, 10**8])
def test_images_that_the_run_did_not_audit(results: Results, row: int) -> None:
    path = f"{results.run}/images/{row}/near"
    assert results.signed().post(path).status_code == 404
    assert results.signed().get(path).status_code == 404


def test_strangers_ask_nothing(results: Results) -> None:
    before = len(results.questions())
    assert results.client.post(f"{page(results)}/near").status_code in {303, 401, 403}
    assert len(results.questions()) == before
