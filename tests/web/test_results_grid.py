"""Filtering, sorting and paging of a run's images, against the rows that the run was made of."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from app.web.pages.results_grid import PAGE, ImageFilter
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results


def rows_of(page: dict[str, Any]) -> list[int]:
    return [int(item["src"].rsplit("/", 1)[1]) - TRAIN_ROWS for item in page["items"]]


def images(results: Results, query: str) -> dict[str, Any]:
    found: dict[str, Any] = results.signed().get(f"/api/v1{results.run}/images?{query}").json()["images"]
    return found


@pytest.mark.parametrize(
    ("query", "keep"),
    [
        ("", lambda r: np.ones(len(r.label), bool)),
        ("outcome=wrong", lambda r: r.wrong),
        ("outcome=right&label=3", lambda r: ~r.wrong & (r.label == 3)),
        ("predicted=0", lambda r: r.prediction == 0),
        ("role=confirm&label=2", lambda r: r.confirm & (r.label == 2)),
        ("slice=1", lambda r: r.where(2, "white", "grass")),
        ("slice=1&outcome=right", lambda r: r.where(2, "white", "grass") & ~r.wrong),
    ],
)
def test_a_filter_keeps_what_it_says(results: Results, query: str, keep: Any) -> None:
    wanted = np.flatnonzero(keep(results.built.rows))
    page = images(results, query)
    assert page["total"] == len(wanted)
    shown = rows_of(page)
    assert set(shown) <= set(wanted.tolist())
    assert len(shown) == min(len(wanted), PAGE)


@pytest.mark.parametrize("column", ["decision", "confidence", "p_true"])
@pytest.mark.parametrize("direction", ["", " DESC"])
def test_the_order_is_that_of_the_column(results: Results, column: str, direction: str) -> None:
    values = getattr(results.built.rows, column).astype(np.float32)
    shown = values[rows_of(images(results, f"sort={column}{direction}"))]
    ordered = np.sort(values)[::-1][:PAGE] if direction else np.sort(values)[:PAGE]
    np.testing.assert_array_equal(shown, ordered)


def test_an_unknown_order_is_that_of_the_data_set(results: Results) -> None:
    assert rows_of(images(results, "sort=label;DROP")) == list(range(PAGE))


def test_pages_partition_the_list(results: Results) -> None:
    seen: list[int] = []
    path = f"{results.run}/images?label=2&sort=confidence"
    while path:
        page = results.signed().get("/api/v1" + path.partition("#")[0]).json()["images"]
        assert page["first"] == len(seen) + 1
        seen += rows_of(page)
        path = page["next"]
    assert sorted(seen) == np.flatnonzero(results.built.rows.label == 2).tolist()
    assert page["previous"]


def test_steps_from_image_to_image_follow_the_list(results: Results) -> None:
    query = "label=2&outcome=wrong&sort=decision+DESC"
    shown = rows_of(images(results, query))
    for before, here, after in zip(shown, shown[1:], shown[2:5], strict=False):
        page = results.signed().get(f"/api/v1{results.run}/images/{here + TRAIN_ROWS}?{query}").json()
        assert page["previous"].split("?")[0].endswith(f"/images/{before + TRAIN_ROWS}")
        assert page["next"].split("?")[0].endswith(f"/images/{after + TRAIN_ROWS}")
        assert "sort=decision+DESC" in page["next"]
    first = results.signed().get(f"/api/v1{results.run}/images/{shown[0] + TRAIN_ROWS}?{query}").json()
    assert first["previous"] == ""


def test_links_of_a_grid_keep_its_filter(results: Results) -> None:
    page = images(results, "label=2&sort=confidence")
    assert all(item["href"].endswith("?label=2&sort=confidence") for item in page["items"])


def test_a_class_page_does_not_repeat_its_class_in_its_links(results: Results) -> None:
    page = results.signed().get(f"/api/v1{results.run}/classes/2").json()["images"]
    assert page["next"] == f"{results.run}/classes/2?page=2#images"
    assert page["fixed"] == ["label"]


@pytest.mark.parametrize("query", ["label=x", "page=0", "outcome=maybe", "slice=-1"])
def test_nonsense_is_refused_in_words(results: Results, query: str) -> None:
    answer = results.signed().get(f"{results.run}/images?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.text


def test_a_slice_of_another_run_filters_nothing_here(results: Results) -> None:
    assert results.signed().get(f"{results.run}/images?slice=404").status_code == 404


def test_a_filter_is_shortest_in_its_address() -> None:
    assert ImageFilter().query() == ""
    assert ImageFilter(label="3", page=2).query(page=1) == "label=3"
    assert ImageFilter(sort="confidence DESC").query() == "sort=confidence+DESC"


def test_no_image_is_on_two_pages_when_values_tie(results: Results) -> None:
    pages = [rows_of(images(results, f"sort=row&page={number}")) for number in (1, 2, 3)]
    assert all(not set(a) & set(b) for a, b in pairwise(pages))
