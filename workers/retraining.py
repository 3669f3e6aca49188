"""Recorded steps of a retraining stage: which networks it trains, which of them are in the store. JSON in, JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.audits import kind as kind_named
from app.audits.base import RetrainStageSpec
from app.audits.retraining import StoredPlan
from app.services import fit, keys
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.repositories.jobs import Job
from app.store.session import transaction
from workers.labels import labels_between
from workers.run_plan import RunPlan, load_run, require

SMALL = 300_000
"""Parameters up to which a network trains in seconds, so that several share a unit."""
TOGETHER = 8


def require_retrainable(plan: RunPlan) -> None:
    """Raise a `UserError` that says why the version's network cannot be trained anew on the training split."""
    rows = plan.range("train")
    why = fit.why_not_retrained(plan.rows.version, plan.rows.dataset)
    require(not why, why)
    assert rows is not None
    there = set(labels_between(plan, *rows).tolist())
    missing = [name for index, name in enumerate(plan.classes) if index not in there]
    named = ", ".join(f"“{name}”" for name in missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
    require(
        not missing,
        f"The training split has no image of {named}; a network that is trained on it cannot know every class.",
    )


def chosen(line: str, earlier: dict[str, str]) -> str:
    """Key of the plan that the retraining stage "<kind>:<stage>" follows."""
    kind, spec = stage_of(line)
    return earlier[f"{kind}:{spec.plan}"]


def stage_of(line: str) -> tuple[str, RetrainStageSpec]:
    """The kind's name and the retraining stage that a line "<kind>:<stage>" speaks of."""
    kind, _, name = line.partition(":")
    return kind, next(s for s in kind_named(kind).stages if isinstance(s, RetrainStageSpec) and s.name == name)


def open_models(job: list[Any], line: str, plan_key: str, device: str) -> list[list[int]]:
    """Mark a retraining stage running and return its ranges of networks that are not in the store."""
    this, store = Job(*job), get_artifacts()
    plan = load_run(this.id)
    planned = planned_models(plan, plan_key, line)
    shards = ranges(plan, len(planned))
    missing = [models for models in shards if not store.has(models_key(plan, planned, device, *models))]
    left = sum(stop - start for start, stop in missing)
    with transaction() as session:
        jobs.begin_stage(session, this, line, total=len(planned), cached=len(planned) - left)
        jobs.log(session, this, f"{line}: {left:,} of {len(planned):,} models to train")
    return missing


def set_aside(job: list[Any], line: str, models: list[int], message: str) -> None:
    """Log that some networks will not be part of this run."""
    text = f"{line}: models {models[0]:,} to {models[1] - 1:,} are left out. {message}"
    with transaction() as session:
        jobs.log(session, Job(*job), text, "warning")


def close_shards(job: list[Any], line: str, aside: list[list[int]]) -> None:
    """Say how many networks could not be trained; the join ends the stage."""
    left_out = sum(stop - start for start, stop in aside)
    if left_out:
        with transaction() as session:
            jobs.log(session, Job(*job), f"{line}: {left_out:,} models are left out", "warning")


def planned_models(plan: RunPlan, plan_key: str, line: str) -> StoredPlan:
    """The plan that the retraining stage "<kind>:<stage>" follows, with what it measures of each network."""
    rows = plan.range("train")
    assert rows is not None
    kind, spec = stage_of(line)
    params = plan.kind_params(kind_named(kind))
    asked = {
        "function": spec.measure,
        "version": spec.version,
        "params": {name: params[name] for name in spec.params},
        "seed": plan.rows.run.seed,
    }
    return StoredPlan(get_artifacts().local(plan_key), rows[1] - rows[0], asked if spec.measure else None)


def ranges(plan: RunPlan, count: int) -> list[list[int]]:
    """Ranges [start, stop) of networks that a unit trains: one where they are large."""
    parameters = plan.rows.version.inspection.get("n_parameters") or 0
    size = TOGETHER if parameters <= SMALL else 1
    return [[start, min(start + size, count)] for start in range(0, count, size)]


def models_key(plan: RunPlan, planned: StoredPlan, device: str, start: int, stop: int) -> str:
    """The key of the networks [start, stop) of a plan: equal architecture, rows, recipe, seeds, targets, equal key."""
    rows, version = [plan.range("audited"), plan.range("train")], plan.rows.version
    return keys.models_key(
        plan.data_hash,
        keys.architecture_hash(version.spec, version.inspection.get("n_parameters")),
        device,
        rows=rows,
        recipe=plan.recipe or {},
        chosen=planned.fingerprint(start, stop),
    )


def folder_of(plan: RunPlan, planned: StoredPlan, device: str, models: list[int]) -> Path:
    """Where the networks of a range left their outputs."""
    return get_artifacts().local(models_key(plan, planned, device, *models))
