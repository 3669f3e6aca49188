"""The report card: accuracy and calibration over the audited split, each number with its n and interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.numerics.calibration import ReliabilityTable, expected_calibration_error, reliability_table
from app.numerics.intervals import wilson_interval
from workers.stages.score_table import Outcomes

BINS = 10


def report_card(found: Outcomes, seed: int) -> dict[str, Any]:
    """Return {"accuracy", "calibration", "rows", "not_judged"}; the first two are absent when no row can be judged."""
    judged = found.judged & (found.prediction >= 0)
    n = int(judged.sum())
    card: dict[str, Any] = {"rows": len(judged), "not_judged": len(judged) - n}
    if n == 0:
        return card
    correct = found.correct[judged]
    confidence = np.clip(found.confidence[judged].astype(np.float64), 0, 1)
    error = expected_calibration_error(confidence, correct, np.random.default_rng(seed), bins=BINS)
    table = reliability_table(confidence, correct, bins=BINS)
    calibration = {"ece": error.value, "low": error.low, "high": error.high, "n": n, "bins": _bins(table)}
    return {**card, "accuracy": rate(int(correct.sum()), n), "calibration": calibration}


def rate(k: int, n: int) -> dict[str, Any]:
    """A share with its evidence: k of n, 95 % Wilson interval."""
    low, high = wilson_interval(k, n)
    return {"k": k, "n": n, "value": k / n if n else 0.0, "low": float(low), "high": float(high)}


def _bins(table: ReliabilityTable) -> list[dict[str, Any]]:
    return [
        {
            "low": float(table.lower[i]),
            "high": float(table.upper[i]),
            "confidence": float(table.confidence[i]),
            "accuracy": rate(round(float(table.accuracy[i]) * int(n)), int(n)),
        }
        for i, n in enumerate(table.n)
        if n
    ]
