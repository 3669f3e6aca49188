"""Points of the map and of a class's scatter: unpacked, they are the run's rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from app.services import annotate
from app.store.models import AuditRun, User
from app.store.session import transaction
from app.web.pages.results_points import MOST_POINTS
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results

LAYOUT = (("x", "<f4"), ("y", "<f4"), ("row", "<u4"), ("label", "<u2"), ("outcome", "u1"), ("slice", "u1"))
BYTES = sum(np.dtype(kind).itemsize for _, kind in LAYOUT)


def unpacked(body: bytes) -> dict[str, np.ndarray]:
    """Columns in the documented order."""
    m, columns, at = len(body) // BYTES, {}, 0
    for name, kind in LAYOUT:
        width = np.dtype(kind).itemsize * m
        columns[name] = np.frombuffer(body[at : at + width], kind)
        at += width
    assert at == len(body)
    return columns


def points(results: Results, path: str) -> tuple[Any, dict[str, np.ndarray]]:
    answer = results.signed().get(results.run + path)
    assert answer.status_code == 200
    return answer, unpacked(answer.content)


def test_the_map_is_the_runs_map(results: Results) -> None:
    rows = results.built.rows
    answer, found = points(results, "/map/points.bin")
    np.testing.assert_array_equal(np.stack([found["x"], found["y"]], 1), rows.xy)
    np.testing.assert_array_equal(found["row"], np.arange(len(rows.label)) + TRAIN_ROWS)
    np.testing.assert_array_equal(found["label"], rows.label)
    np.testing.assert_array_equal(found["outcome"], rows.wrong)
    assert answer.headers["X-Total"] == str(len(rows.label))
    assert "private" in answer.headers["Cache-Control"]


def test_a_point_names_the_first_slice_that_holds_it(results: Results) -> None:
    rows = results.built.rows
    _, found = points(results, "/map/points.bin")
    panel = results.signed().get(f"/api/v1{results.run}/map").json()["panels"][0]
    titles = panel["context"]["slices"]
    number = titles.index("a photo of a car at night") + 1
    np.testing.assert_array_equal(found["slice"] == number, rows.where(1, None, "night"))
    in_none = np.array([not keys for keys in rows.slices])
    np.testing.assert_array_equal(found["slice"] == 0, in_none)


def test_a_slice_that_people_saved_is_on_the_map(results: Results) -> None:
    house = np.flatnonzero(results.built.rows.label == 4)[:7] + TRAIN_ROWS
    with transaction() as session:
        run, user = session.get_one(AuditRun, results.built.run_id), session.get_one(User, results.built.owner_id)
        annotate.save_slice(session, run, "slices", house.tolist(), user, "some houses", "lasso")
    _, found = points(results, "/map/points.bin")
    assert set(found["row"][(found["slice"] > 0) & (found["label"] == 4)].tolist()) == set(house.tolist())


def test_the_scatter_holds_its_class_errors_first(results: Results) -> None:
    rows = results.built.rows
    answer, found = points(results, "/points.bin?label=2")
    of_class = np.flatnonzero(rows.label == 2)
    assert sorted(found["row"].tolist()) == (of_class + TRAIN_ROWS).tolist()
    assert found["outcome"].tolist() == sorted(found["outcome"].tolist(), reverse=True)
    np.testing.assert_array_equal(found["x"], rows.decision.astype(np.float32)[found["row"] - TRAIN_ROWS])
    np.testing.assert_array_equal(found["y"], rows.confidence.astype(np.float32)[found["row"] - TRAIN_ROWS])
    assert answer.headers["X-Points"] == str(len(of_class))


def test_the_largest_map_stays_below_a_megabyte() -> None:
    assert math.prod((MOST_POINTS, BYTES)) <= 1_000_000
