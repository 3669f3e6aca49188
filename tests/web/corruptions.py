"""What the stages of the kind `corruptions` leave behind, for the finished run of the tests of pages."""

from __future__ import annotations

import numpy as np

from app.audits.corruptions.schema import Params
from app.audits.corruptions.summarise import summarise
from app.audits.drawn import drawn
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results
from tests.web.measured import publish, square, stage_inputs

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
    files = [square(row % 200, column * 20) for row, column in places]
    model["list.pictures"] = np.frombuffer(b"".join(files), np.uint8)
    model["list.picture"] = np.array([(*place, len(file)) for place, file in zip(places, files, strict=True)])
    model["list.size"] = np.array([[160, 160]])
    found = summarise(stage_inputs(labels, "measure", model, PARAMS))
    publish(run_id, "corruptions", "summarise", found, str(n))
    return dict(found.details)
