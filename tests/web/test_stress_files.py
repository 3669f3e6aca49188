"""Every stress test hands out what it measured of each image, with a README that names every array."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.results_fixture import TRAIN_ROWS
from tests.web.certificates import add_certificates
from tests.web.conftest import Results
from tests.web.patches import add_patches
from tests.web.shift import add_shift
from tests.web.smoothing import add_smoothing

DRAWN: dict[str, tuple[Callable[[Results], dict[str, Any]], str]] = {
    "certificates": (add_certificates, "state"),
    "patches": (add_patches, "certified"),
    "smoothing": (add_smoothing, "radius"),
}
OWN = {"README.txt", "images_ids.json"}


def file_of(results: Results, name: str) -> Any:
    listed = results.signed("viewer").get(f"/api/v1{results.run}").json()["files"]
    href = next(one["href"] for one in listed if one["name"] == name)
    return np.load(io.BytesIO(results.signed("viewer").get(href).content), allow_pickle=False)


@pytest.mark.parametrize("kind", DRAWN)
def test_what_was_measured_of_each_drawn_image_is_a_file(results: Results, kind: str) -> None:
    add, telling = DRAWN[kind]
    details = add(results)
    file = file_of(results, f"{kind}.npz")
    assert file["images_rows"].tolist() == (np.asarray(details["positions"]) + TRAIN_ROWS).tolist()
    np.testing.assert_array_equal(file[telling], details[telling])
    lines = file["README.txt"].decode().splitlines()
    for name in set(file.files) - OWN - {"images_rows"}:
        assert any(line.split()[:1] == [name] for line in lines), name
        assert len(file[name]) == len(file["images_rows"])


def test_both_sets_of_a_shift_are_a_file(results: Results, tmp_path: Path) -> None:
    add_shift(results, tmp_path)
    file = file_of(results, "shift.npz")
    text = file["README.txt"].decode()
    assert all(name in text for name in set(file.files) - OWN)
    assert len(file["second_rows"]) == len(file["second_predictions"]) == len(file["second_scores"]) == TRAIN_ROWS
    assert len(file["first_scores"]) == len(results.built.rows.label)


def test_without_embeddings_the_file_of_a_shift_has_no_scores(results: Results, tmp_path: Path) -> None:
    add_shift(results, tmp_path, embedded=False)
    assert "first_scores" not in file_of(results, "shift.npz").files
