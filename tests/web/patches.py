"""What the stages of the kind `patches` leave behind, for the finished run of the tests of pages."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from app.audits.drawn import drawn
from app.audits.patches.budgets import EFFORTS
from app.audits.patches.schema import GRID, METHODS, NOT_RUN, UNKNOWN, Params
from app.audits.patches.summarise import summarise
from app.audits.texts import lines
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.measured import publish, stage_inputs

PARAMS = Params.model_validate({"sizes": ["5 %", "1 %", "2 %"], "budget": "quick"})
SIDE = 32
RAN = (0, 1)


def add_patches(results: Results, **changes: Any) -> dict[str, Any]:
    """Give the finished run a result of the kind; return its arrays."""
    return add_to(results.built.run_id, results.built.rows.label, results.built.rows.wrong, **changes)


def add_to(run_id: int, label: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """Give a run a result of the kind; return its arrays."""
    n, effort, sizes = len(label), EFFORTS["quick"], len(PARAMS.sizes)
    order = drawn((TRAIN_ROWS, TRAIN_ROWS + n), 0, effort.rows)
    chosen, mapped = np.sort(order) - TRAIN_ROWS, np.sort(order[: effort.mapped])
    generator = np.random.default_rng(0)
    clean = np.where(wrong[chosen], (label[chosen] + 1) % len(CLASSES), label[chosen])
    luck = generator.random((len(chosen), 2, 1))
    held = (luck < np.array([[0.1, 0.7, 0.4], [0.02, 0.3, 0.1]])) & ~wrong[chosen, None, None]
    shape = (len(chosen), len(METHODS), sizes)
    certified, defended = np.full(shape, NOT_RUN, np.int8), np.full(shape, NOT_RUN, np.int32)
    certified[:, RAN], defended[:, RAN] = held, clean[:, None, None]
    vote = np.full(shape[:2], np.nan, np.float32)
    vote[:, 1] = 0.4 * generator.random(len(chosen))
    maps = np.full((len(mapped), len(METHODS), sizes, GRID, GRID), UNKNOWN, np.int16)
    ramp = np.arange(GRID)[None, :] + np.arange(GRID)[:, None] - GRID
    at = np.searchsorted(chosen, mapped - TRAIN_ROWS)
    maps[:, RAN] = np.where(held[at][..., None, None], 3, ramp)
    maps[:, 0] = np.minimum(maps[:, 0], 0).clip(-1)
    files = [_webp(int(row) % 200) for row in mapped]
    model = {
        "list.row": chosen + TRAIN_ROWS,
        "list.clean": clean.astype(np.int32),
        "list.defended": defended,
        "list.certified": certified,
        "list.vote": vote,
        "list.signs": np.zeros((len(chosen), 2), np.int8),
        "list.map": maps,
        "list.mapped": mapped,
        "list.asked": np.array([[len(chosen), 45 * len(chosen), 32 * len(chosen), 0, 0]]),
        "list.size": np.array([[SIDE, SIDE]]),
        "list.reason": lines(["", "", "the budget “quick” leaves it out", "it is no transformer"]),
        "list.picture": np.array([len(file) for file in files]),
        "list.pictures": np.frombuffer(b"".join(files), np.uint8),
    }
    found = summarise(stage_inputs(label, "certify", model, PARAMS))
    publish(run_id, "patches", "summarise", found)
    return dict(found.details)


def _webp(red: int) -> bytes:
    target, grey = io.BytesIO(), np.linspace(0, 255, SIDE, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(np.uint8(red), grey[:, None], grey[None]), axis=2)
    Image.fromarray(pixels).save(target, "WEBP")
    return target.getvalue()
