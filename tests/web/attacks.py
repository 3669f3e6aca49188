"""What the stages of the kind `attacks` leave behind, for the finished run of the tests of pages."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.audits.attacks.budgets import sampled
from app.audits.attacks.schema import SQUARE, UNBROKEN, WRONG, Params
from app.audits.attacks.summarise import summarise
from app.audits.attacks.worst import first_column
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.measured import publish, square, stage_inputs

FRAIL = 2
"""A class that withstands less than the others."""
PARAMS = Params.model_validate({"radii": ["2/255", "8/255"], "budget": "standard"})


def add_attacks(results: Results, reason: str = "") -> dict[str, Any]:
    """Give the finished run a result of the kind; return its arrays."""
    return add_to(results.built.run_id, results.built.rows.label, results.built.rows.wrong, reason)


def add_to(run_id: int, label: np.ndarray, wrong: np.ndarray, reason: str = "") -> dict[str, Any]:
    """Give a run a result of the kind; return its arrays."""
    n = len(label)
    chosen = np.sort(sampled((TRAIN_ROWS, TRAIN_ROWS + n), 0, "standard")) - TRAIN_ROWS
    generator = np.random.default_rng(0)
    left = generator.random(len(chosen)) * np.where(label[chosen] == FRAIL, 0.7, 1)
    outcome = np.stack([~wrong[chosen], left > 0.2, left > 0.7], axis=1).astype(np.int8).cumprod(1).astype(np.int8)
    attack = np.full(len(chosen), SQUARE) if reason else generator.integers(0, 4, len(chosen))
    by = np.where(outcome[:, 1:] == 1, UNBROKEN, attack[:, None])
    by[outcome[:, 0] == 0] = WRONG
    taken = np.where(outcome == 1, label[chosen, None], (label[chosen, None] + 1) % len(CLASSES))
    signs = np.tile(np.array([0, 0, 0, 0]), (len(chosen), 1))
    broke = np.flatnonzero(first_column(outcome) > 0)[:20]
    files = [(int(chosen[i]) + TRAIN_ROWS, part, square(int(i) % 200, part * 90)) for i in broke for part in range(3)]
    model = {
        "list.row": chosen + TRAIN_ROWS,
        "list.outcome": outcome,
        "list.by": by.astype(np.int8),
        "list.margin": np.where(outcome == 1, 1.0, -1.0 - left[:, None]).astype(np.float32),
        "list.taken": taken.astype(np.int32),
        "list.signs": signs.astype(np.int8),
        "list.reason": np.frombuffer(reason.encode().ljust(400, b"\0"), np.uint8)[None],
        "list.other": np.frombuffer(b"ImageNet mean and std".ljust(400, b"\0"), np.uint8)[None],
        "list.tried": np.array([3]),
        "list.pictures": np.frombuffer(b"".join(data for _, _, data in files), np.uint8),
        "list.picture": np.array([(row, part, len(data)) for row, part, data in files]),
        "list.amplified": np.array([(int(chosen[i]) + TRAIN_ROWS, 15.9375) for i in broke]),
    }
    found = summarise(stage_inputs(label, "attack", model, PARAMS))
    publish(run_id, "attacks", "summarise", found, f"{n} {reason}")
    return dict(found.details)
