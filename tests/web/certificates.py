"""What the stages of the kind `certificates` leave behind, for the finished run of the tests of pages."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.audits.certificates.budgets import chosen
from app.audits.certificates.evidence import CROWN, IBP, Evidence
from app.audits.certificates.schema import (
    COMPLETE,
    COSTS,
    EVIDENCE,
    FIRST_ATTACK,
    PGD,
    SAFE,
    STEPS,
    TIMEOUT,
    Params,
)
from app.audits.certificates.summarise import summarise
from app.audits.certificates.worst import worst_places
from app.audits.texts import lines
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.measured import publish, square, stage_inputs

PARAMS = Params.model_validate({"radii": ["2/255", "8/255"], "budget": "standard"})


def add_certificates(results: Results, reason: str = "") -> dict[str, Any]:
    """Give the finished run a result of the kind; return its arrays. `reason`: why nothing can be proven."""
    return add_to(results.built.run_id, results.built.rows.label, results.built.rows.wrong, reason)


def add_to(run_id: int, label: np.ndarray, wrong: np.ndarray, reason: str = "") -> dict[str, Any]:
    """Give a run a result of the kind; return its arrays."""
    n = len(label)
    places = np.sort(chosen((TRAIN_ROWS, TRAIN_ROWS + n), 0, PARAMS.model_dump())) - TRAIN_ROWS
    found = summarise(stage_inputs(label, "prove", _shards(label[places], wrong[places], places, reason), PARAMS))
    publish(run_id, "certificates", "summarise", found, f"{len(label)} {reason}")
    return dict(found.details)


def evidence(wrong: np.ndarray, reason: str) -> Evidence:
    """Every fourth image is proven by intervals at the smaller ε, others by CROWN, by verification, broken or open."""
    made = Evidence.nothing(len(wrong), 2)
    made.right[:] = ~wrong
    kind = np.arange(len(wrong)) % 8
    if not reason:
        made.bounds[:, :, IBP] = -0.5
        made.bounds[kind < 2, 0, IBP] = 0.2
        made.bounds[kind < 5, :, CROWN] = -0.1
        made.bounds[kind < 3, 0, CROWN] = 0.3
        made.bounds[kind == 1, 1, CROWN] = 0.1
        made.complete[kind == 3, 0], made.complete[kind == 4, 0] = SAFE, TIMEOUT
    made.found[kind == 0, 1] = made.found[kind == 5, 0] = PGD
    made.found[kind == 6, 0], made.found[kind == 2, 1] = COMPLETE, FIRST_ATTACK
    made.found[wrong] = -1
    return made


def _shards(label: np.ndarray, wrong: np.ndarray, places: np.ndarray, reason: str) -> dict[str, np.ndarray]:
    known = evidence(wrong, reason)
    margin = np.full((len(label), 3), np.nan, np.float32)
    margin[:, 0], margin[:, 1:] = np.where(wrong, -1, 1 + label), np.where(known.broken(), -0.5, np.nan)
    next_class = (label + 1) % len(CLASSES)
    taken = np.where(np.stack([wrong, *known.broken().T], 1), next_class[:, None], label[:, None])
    worst = worst_places(known.found, margin)[:20]
    files = [(int(places[i]) + TRAIN_ROWS, part, square(int(i) % 200, part * 90)) for i in worst for part in range(3)]
    cost = np.zeros((1, len(STEPS) + 1, len(COSTS)))
    cost[0, : FIRST_ATTACK + 2] = (50, 0, 1.25)
    cost[0, PGD] = (200, 24_000, 3.5)
    return {
        "list.row": places + TRAIN_ROWS,
        **{f"list.{name}": getattr(known, name) for name in EVIDENCE},
        "list.margin": margin,
        "list.taken": taken.astype(np.int32),
        "list.radius": np.where(known.proven()[:, 0], 0.01, 0.0).astype(np.float32) * known.right,
        "list.differs": np.zeros(len(label), np.float32),
        "list.cost": cost,
        "list.why": lines([reason, "", "", ""])[None],
        "list.probabilities": np.zeros(1, np.int8),
        "list.pictures": np.frombuffer(b"".join(data for _, _, data in files), np.uint8),
        "list.picture": np.array([(row, part, len(data)) for row, part, data in files]),
        "list.amplified": np.array([(int(places[i]) + TRAIN_ROWS, 15.9375) for i in worst]),
    }
