"""What the stages of the kind `corruptions` leave behind, for the finished run of the tests of pages."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from app.audits.base import Inputs, Split
from app.audits.corruptions.schema import Params
from app.audits.corruptions.summarise import summarise
from app.audits.drawn import drawn
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.measured import publish

PARAMS = Params.model_validate(
    {"kinds": ["fog", "frost", "saturate"], "severities": ["1", "3", "5"], "budget": "quick"}
)
CELLS, DRAWN = 9, 400


def add_corruptions(results: Results) -> dict[str, np.ndarray]:
    """Give the finished run a result of the kind; return its arrays."""
    return add_to(results.built.run_id, results.built.rows.label, results.built.rows.wrong)


def add_to(run_id: int, labels: np.ndarray, wrong: np.ndarray) -> dict[str, np.ndarray]:
    """Give a run a result of the kind; return its arrays."""
    n = len(labels)
    chosen = np.sort(drawn((TRAIN_ROWS, TRAIN_ROWS + n), 0, DRAWN)) - TRAIN_ROWS
    generator = np.random.default_rng(0)
    shape = (len(chosen), CELLS + 1)
    outcome = (generator.random(shape) < np.linspace(0.95, 0.3, CELLS + 1)).astype(np.int8)
    outcome[:, 0] = ~wrong[chosen]
    model = {
        "list.row": chosen + TRAIN_ROWS,
        "list.outcome": outcome,
        "list.margin": generator.normal(size=shape).astype(np.float16),
        "list.taken": generator.integers(0, 3, shape).astype(np.int32),
    }
    places = [(int(row) + TRAIN_ROWS, column) for row in chosen for column in range(CELLS + 1)]
    files = [_webp(row % 200, column * 20) for row, column in places]
    model["list.pictures"] = np.frombuffer(b"".join(files), np.uint8)
    model["list.picture"] = np.array([(*place, len(file)) for place, file in zip(places, files, strict=True)])
    model["list.size"] = np.array([[160, 160]])
    found = summarise(_inputs(labels, {f"measure.{name}": array for name, array in model.items()}))
    publish(run_id, "corruptions", "summarise", found, str(n))
    return dict(found.details)


def _inputs(labels: np.ndarray, model: dict[str, np.ndarray]) -> Inputs:
    manifest = pa.table({"row": np.arange(len(labels)) + TRAIN_ROWS, "label": labels.astype(np.int32)})
    split = Split("val", manifest, None, None, None, model)
    return Inputs(split, None, CLASSES, PARAMS, 0, "cpu", None, {}, lambda _share, _message: None)


def _webp(red: int, green: int) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 8), (red, green, 90)).save(target, "WEBP")
    return target.getvalue()
