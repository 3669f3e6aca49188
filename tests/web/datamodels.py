"""What the stages of the kind `datamodels` leave of networks whose outputs are planted, for the tests of pages."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from app.audits.base import Inputs, Result, Split
from app.audits.datamodels import fit, memory, proof, removal, subsets
from app.audits.datamodels.schema import Params
from app.audits.retraining import read_plan
from app.store.artifacts import artifact_key
from app.store.models import AuditRun
from app.store.places import get_artifacts
from app.store.session import transaction
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from workers.stages import results as stored

PARAMS = Params(retrain=120, targets=150, top=12, counterfactuals=5, removed=8)
MEMORISED = 20
"""Training images whose own output needs them."""


def add_datamodels(built: Any) -> dict[str, Path]:
    """Give the finished run a result of the kind `datamodels`; return the folders of its stages."""
    with tempfile.TemporaryDirectory() as place:
        summary, keys = _run(_inputs(built), Path(place))
    with transaction() as session:
        run = session.get_one(AuditRun, built.run_id)
        run.kinds = [*run.kinds, "datamodels"]
        run.summary = {**run.summary, "datamodels": summary}
        run.details_keys = {**run.details_keys, **{f"datamodels:{stage}": key for stage, key in keys.items()}}
    return {stage: get_artifacts().local(key) for stage, key in keys.items()}


def panel(results: Results, path: str, key: str) -> dict[str, Any]:
    """Context of a panel on a page."""
    answer = results.signed("viewer").get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.text
    context: dict[str, Any] = next(one["context"] for one in answer.json()["panels"] if one["key"] == key)
    return context


def _inputs(built: Any) -> Inputs:
    label, rng = built.rows.label, np.random.default_rng(4)
    looks = rng.normal(size=(len(label) + TRAIN_ROWS, 8)).astype(np.float32)
    own = label[:TRAIN_ROWS].astype(np.int32)
    looks[np.arange(TRAIN_ROWS), own] += 2
    looks[TRAIN_ROWS + np.arange(len(label)), label] += 2
    train = pa.table({"row": np.arange(TRAIN_ROWS), "label": own})
    audited = pa.table({"row": TRAIN_ROWS + np.arange(len(label)), "label": label.astype(np.int32)})
    return Inputs(
        Split("val", audited, None, built.rows.logits, looks[TRAIN_ROWS:]),
        Split("train", train, None, None, looks[:TRAIN_ROWS]),
        CLASSES, PARAMS, 0, "cpu", None, {}, lambda _share, _message: None,
    )  # fmt: skip


def _run(inputs: Inputs, place: Path) -> tuple[dict[str, Any], dict[str, str]]:
    summary: dict[str, Any] = {}
    keys: dict[str, str] = {}

    def done(stage: str, result: Result) -> None:
        nonlocal inputs
        key = artifact_key(f"datamodels-{stage}", 1, test="web", place=str(place))
        with get_artifacts().write(key) as folder:
            stored.save(result, folder)
        inputs = replace(inputs, earlier={**inputs.earlier, stage: get_artifacts().local(key)})
        keys[stage] = key
        summary.update(result.summary)

    done("plan", subsets.plan(inputs))
    truth = _truth(inputs)
    done("retrain", _trained(inputs, "plan", truth))
    done("fit", fit.fit(inputs))
    done("choose", removal.choose(inputs))
    done("without", _trained(inputs, "choose", truth))
    done("prove", proof.prove(inputs))
    done("memorise", memory.memorise(inputs))
    return summary, keys


def _truth(inputs: Inputs) -> np.ndarray:
    """Weights [N, audited]: images of the own class help, those of others harm, a few of them much."""
    assert inputs.train is not None
    rng = np.random.default_rng(6)
    own, other = (split.manifest["label"].to_numpy() for split in (inputs.train, inputs.audited))
    sign = np.where(own[:, None] == other[None], 1.0, -0.3)
    return sign * rng.gamma(0.3, 0.6, size=(len(own), len(other))) * (rng.random((len(own), len(other))) < 0.4)


def _trained(inputs: Inputs, plan: str, truth: np.ndarray) -> Result:
    planned, rng = read_plan(inputs.earlier[plan], TRAIN_ROWS), np.random.default_rng(len(plan))
    margins = planned.masks @ truth[:, planned.targets] - 2 + 0.4 * rng.normal(size=(len(planned.masks), 1))
    margins = margins + 0.4 * rng.normal(size=margins.shape)
    own = rng.normal(size=planned.masks.shape) + planned.masks * np.where(np.arange(TRAIN_ROWS) < MEMORISED, 4.0, 0.2)
    details = {"models": np.arange(len(planned.masks)), "margins": margins.astype(np.float32), "right": margins > 0}
    return Result(summary={}, details={**details, "own": own.astype(np.float32)})
