"""The demo's shipped files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

DEMO = Path(__file__).parents[3] / "demo"


@pytest.fixture(scope="session")
def demo() -> Path:
    return DEMO


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    return pq.read_table(DEMO / "scenes.parquet").to_pylist()


@pytest.fixture(scope="session")
def test_rows(rows) -> list[dict[str, Any]]:
    return [row for row in rows if row["split"] == "test"]


@pytest.fixture(scope="session")
def planted() -> list[dict[str, Any]]:
    return json.loads((DEMO / "planted.json").read_text())


def picture(row: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")


def covered(plant: dict[str, Any], row: dict[str, Any]) -> bool:
    return row["label"] == plant["class"] and all(row[name] == value for name, value in plant["where"].items())


def sample(rows: list[dict[str, Any]], count: int, seed: int = 0) -> list[dict[str, Any]]:
    chosen = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    return [rows[int(i)] for i in chosen]
