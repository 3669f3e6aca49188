"""An analyst's question of a finished run, answered from the arrays that this process keeps open."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from app.audits import kind as kind_named
from app.audits.base import Action, ActionResult, Inputs
from app.errors import NotFound, UserError
from app.numerics.online_fdr import online_adjusted_p_values
from app.services import ask
from app.store.artifacts import artifact_key
from app.store.models import Query
from app.store.places import get_artifacts
from app.store.repositories import subjects
from app.store.session import reading, transaction
from workers.run_plan import load_run
from workers.stages import results
from workers.stages.inputs import load_inputs
from workers.stages.kind_stage import load_function
from workers.work import Work

_OPEN_RUNS = 4


def run(work: Work) -> dict[str, Any]:
    """Answer the question and store the answer; a p-value takes the next place in the run's sequence of tests."""
    with reading() as session:
        query = subjects.existing(session, Query, work.job.id)
    if query.result:
        # A worker that was killed right after its answer would otherwise spend a second test on it.
        return {}
    action = _action(query.kind, query.action)
    payload = action.payload.model_validate(query.payload)
    others = [query.payload["other_run_id"]] if action.other_run else []
    inputs = [_inputs(run_id, query.kind, work.device) for run_id in (query.run_id, *others)]
    answered = _ask(action, inputs, payload)
    _store(query.id, query.run_id, answered)
    return {}


def _ask(action: Action, inputs: Sequence[Inputs], payload: Any) -> ActionResult:
    try:
        answered: ActionResult = load_function(action.function)(inputs[0], payload, *inputs[1:])
    except ValueError as error:
        raise UserError(str(error)) from error
    return answered


def _action(kind: str, name: str) -> Action:
    for action in kind_named(kind).actions:
        if action.name == name:
            return action
    raise NotFound(f"The audit kind “{kind}” answers no question “{name}”.")


@lru_cache(maxsize=_OPEN_RUNS)
def _inputs(run_id: int, kind: str, device: str) -> Inputs:
    plan = load_run(run_id)
    run = plan.rows.run
    if run.status != "succeeded":
        raise UserError("The run has not finished; ask again when it has.")
    earlier = {line.partition(":")[2]: key for line, key in run.details_keys.items() if line.startswith(f"{kind}:")}
    arrays = {
        role: run.provenance["artifacts"][role] for role in ("audited", "train", f"second@{kind}") if _has(run, role)
    }
    model = {
        line.partition(":")[2]: keys
        for line, keys in run.provenance.get("work_on_model", {}).items()
        if line.startswith(f"{kind}:")
    }
    return load_inputs(plan, arrays, kind_named(kind), earlier, device, lambda _share, _message: None, model)


def _has(run: Any, role: str) -> bool:
    return role in run.provenance.get("artifacts", {})


def _store(query_id: int, run_id: int, answered: ActionResult) -> None:
    values: dict[str, Any] = {"result": results.plain(answered.result)}
    if answered.arrays:
        values["result"]["arrays_key"] = _keep(query_id, answered)
    with transaction() as session:
        if answered.p_value is not None:
            position = subjects.next_position(session, run_id)
            earlier = subjects.tested_p_values(session, run_id)
            adjusted = online_adjusted_p_values(np.array([*earlier, answered.p_value]))[-1]
            values |= {"p_value": answered.p_value, "adjusted_p_value": float(adjusted), "position": position}
        subjects.answer_query(session, query_id, values)
        session.expire_all()
        ask.settle(session, query_id)


def _keep(query_id: int, answered: ActionResult) -> str:
    parts = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in answered.arrays.items()}
    key, store = artifact_key("answer", 1, query=query_id, arrays=parts), get_artifacts()
    if not store.has(key):
        with store.write(key) as folder:
            for name, array in answered.arrays.items():
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return key
