"""Runs one stage of an audit kind and stores its result."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

from app.audits import kind as kind_named
from app.audits.base import StageSpec
from app.services import keys
from app.store.places import get_artifacts
from workers.run_plan import RunPlan, load_run
from workers.stages import results
from workers.stages.inputs import load_inputs
from workers.work import Work


def run(work: Work) -> dict[str, Any]:
    """Store the stage's result under its key, unless it is there; return the key."""
    plan, kind = load_run(work.job.id), kind_named(work.args["kind"])
    spec = next(s for s in kind.stages if isinstance(s, StageSpec) and s.name == work.args["name"])
    earlier = work.args["earlier"]
    needed = {name: earlier[f"{kind.name}:{name}"] for name in spec.needs if f"{kind.name}:{name}" in earlier}
    needed |= {name: earlier[name] for name in spec.reads if name in earlier}
    key = _key(plan, kind.name, spec, work, needed)
    work.begin()
    store = get_artifacts()
    if store.has(key):
        work.end(key, cached=True)
        return {"key": key}
    began, say = time.monotonic(), work.progress()
    inputs = load_inputs(plan, _arrays(work, kind.name), kind, needed, work.device, say, work.args["model"])
    result = load_function(spec.function)(inputs)
    work.check()
    with store.write(key) as folder:
        results.save(result, folder)
    work.log(f"{spec.title}: {time.monotonic() - began:.1f} s")
    work.end(key)
    return {"key": key}


def load_function(name: str) -> Callable[..., Any]:
    """Import what "package.module:callable" names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _arrays(work: Work, kind: str) -> dict[str, str]:
    """The joined arrays that a kind reads: another kind's second data set is none of its business."""
    return {role: key for role, key in work.args["arrays"].items() if "@" not in role or role == f"second@{kind}"}


def _key(plan: RunPlan, kind: str, spec: StageSpec, work: Work, needed: dict[str, str]) -> str:
    params = plan.kind_params(kind_named(kind))
    inputs: dict[str, Any] = {
        "arrays": _arrays(work, kind),
        "earlier": needed,
        # Labels, classes and metadata come from these two; the arrays' keys do not name them when both are given.
        "data": plan.data_hash,
        "model": plan.model_hash,
        "ranges": [plan.range("audited"), plan.range("train")],
        "encoder": plan.encoder,
    }
    if own := plan.seconds.get(kind):
        inputs["second"] = [own.rows.dataset.id, own.data_hash, *own.rows_of_split]
    if work.args["model"]:
        inputs["work_on_model"] = work.args["model"]
    return keys.kind_stage_key(
        kind, spec.name, spec.version, params=params, seed=plan.rows.run.seed, inputs=inputs, device_class=work.device
    )
