"""What a job consists of, and its progress rows. Every function is a recorded step of a flow: JSON in, JSON out."""

from __future__ import annotations

from typing import Any

from app.audits import kind as kind_named
from app.errors import FaultlineError
from app.services import keys
from app.settings import get_settings
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.repositories.jobs import Job, StagePlan
from app.store.session import transaction
from workers.device import device_class, device_queue
from workers.retraining import require_retrainable
from workers.run_plan import RunPlan, fit_line, load_run, model_stage, stage_of

ASIDE_SHARE = 0.2
ASIDE_LEAST = 3


def plan_import(job: list[Any]) -> dict[str, Any]:
    """Mark the data set running and lay out its one stage."""
    return _begin(Job(*job), [StagePlan("ingest", "Read the files")], {"queue": device_queue("cpu")})


def plan_check(job: list[Any]) -> dict[str, Any]:
    """Mark the model version running and lay out its two stages."""
    plans = [StagePlan("inspect", "Inspect the file", "steps", 1), StagePlan("smoke", "Try it on images", "steps", 1)]
    device = device_class(get_settings())
    return _begin(Job(*job), plans, {"queue": device_queue(device), "units": ["inspect", "smoke"]})


def plan_run(job: list[Any]) -> dict[str, Any]:
    """Mark the run running, check that it can run, and lay out its stages."""
    this = Job(*job)
    try:
        plan = load_run(this.id)
        plan.require_runnable()
        if plan.retrains:
            require_retrainable(plan)
    except FaultlineError as error:
        return {"ended": error.message}
    rest = {
        "device": plan.device,
        "queue": device_queue(plan.device),
        "encode": any(own.embeddings == "encoder" for own in (plan, *plan.seconds.values())),
        "encoder": plan.encoder,
        "stages": plan.stages,
        "fits": [line for line in plan.model_stages if model_stage(line)[1].fit],
    }
    return _begin(this, _run_lines(plan), rest)


def plan_query(job: list[Any]) -> dict[str, Any]:
    """Mark the question running; it has no stages."""
    return _begin(Job(*job), [], {})


def shard_bases(job: list[Any], device: str, encoder: dict[str, Any]) -> dict[str, Any]:
    """Return the common part of the keys of each sharded stage that this run needs."""
    plan = load_run(Job(*job).id)
    bases: dict[str, Any] = {}
    for at, own in _sets(plan):
        if own.predicts:
            bases[f"predict{at}"] = keys.predict_base(own.data_hash, own.model_hash, device)
        if own.embeddings == "encoder":
            bases[f"embed{at}"] = keys.embed_base(own.data_hash, encoder["weights_hash"], device)
    return bases | {line: _model_base(plan, line, device) for line in plan.model_stages}


def _sets(plan: RunPlan) -> list[tuple[str, RunPlan]]:
    """The run's own data set, and the second ones with what their lines' names end in."""
    return [("", plan), *((f"@{kind}", own) for kind, own in plan.seconds.items())]


def _model_base(plan: RunPlan, line: str, device: str) -> dict[str, Any]:
    kind, stage = model_stage(line)
    params = plan.kind_params(kind_named(kind))
    chosen = {name: params[name] for name in stage.params}
    return keys.model_stage_base(
        plan.data_hash,
        plan.model_hash,
        device,
        function=stage.function,
        version=stage.version,
        params=chosen,
        seed=plan.rows.run.seed,
        fit={"rows": stage.fit.rows, "train": plan.range("train")} if stage.fit else None,
    )


def leave_out(job: list[Any], name: str, message: str) -> None:
    """Say that a kind's work on the network is left out, since what it fits first could not be fitted."""
    this = Job(*job)
    with transaction() as session:
        jobs.log(session, this, f"{name} is left out. {message}", "warning")
        for line in (fit_line(name), name):
            jobs.end_stage(session, this, line, "failed", done=0, message="left out")


def open_shards(job: list[Any], name: str, base: dict[str, Any]) -> list[list[int]]:
    """Mark a sharded stage running and return the shards that are not in the store."""
    this, store, plan = Job(*job), get_artifacts(), load_run(Job(*job).id)
    shards = plan.shards(name)
    missing = [rows for rows in shards if not store.has(keys.shard_key(stage_of(name), base, *rows))]
    total, left = _rows(shards), _rows(missing)
    with transaction() as session:
        jobs.begin_stage(session, this, name, total=total, cached=total - left)
        before = f"; {total - left:,} were computed before" if left < total else ""
        jobs.log(session, this, f"{plan.spoken(name)}: {left:,} rows to go in {len(missing):,} shards{before}")
    return missing


def set_aside(job: list[Any], name: str, rows: list[int], message: str) -> None:
    """Log that a shard will not be part of this run."""
    spoken = load_run(Job(*job).id).spoken(name)
    text = f"{spoken}: rows {rows[0]:,} to {rows[1] - 1:,} are set aside and not audited. {message}"
    with transaction() as session:
        jobs.log(session, Job(*job), text, "warning")


def close_shards(job: list[Any], name: str, aside: list[list[int]]) -> None:
    """Mark a sharded stage succeeded, with what it covers."""
    this = Job(*job)
    total, missing = _rows(load_run(this.id).shards(name)), _rows(aside)
    message = f"{missing:,} of {total:,} rows set aside" if missing else ""
    with transaction() as session:
        jobs.end_stage(session, this, name, "succeeded", done=total - missing, message=message)


def succeed(job: list[Any]) -> None:
    """Mark the job succeeded."""
    with transaction() as session:
        jobs.finish(session, Job(*job), "succeeded")


def fail(job: list[Any], message: str) -> None:
    """Mark the job failed with a sentence for the person; an empty one says that it is no longer wanted."""
    this = Job(*job)
    with transaction() as session:
        if jobs.finish(session, this, "failed" if message else "cancelled", message) and message:
            jobs.log(session, this, message, "error")


def most_aside(shards: int) -> int:
    """How many shards of a stage may crash for good before the run fails."""
    return min(max(ASIDE_LEAST, int(ASIDE_SHARE * shards)), max(shards - 1, 0))


def _run_lines(plan: RunPlan) -> list[StagePlan]:
    lines = []
    for at, own in _sets(plan):
        name = f" {own.rows.dataset.name} / {own.split}"[:80] if at else ""
        if own.predicts:
            lines.append(StagePlan(f"predict{at}", f"Predict{name}", "rows", _rows(own.shards("predict"))))
        if own.embeddings == "encoder":
            lines.append(StagePlan(f"embed{at}", f"Embed{name}", "rows", _rows(own.shards("embed"))))
    for line, title in plan.model_stages.items():
        if fit := model_stage(line)[1].fit:
            lines.append(StagePlan(fit_line(line), fit.title, "rows"))
        lines.append(StagePlan(line, title, "rows", _rows(plan.shards(line))))
    lines.append(StagePlan("assemble", "Join the shards", "%", 100))
    lines += [_kind_line(spec) for spec in plan.stages]
    return [*lines, StagePlan("publish", "Write the results", "%", 100)]


def _kind_line(spec: dict[str, Any]) -> StagePlan:
    name = f"{spec['kind']}:{spec['name']}"
    # How many networks there are is known once the stage before has chosen them.
    return StagePlan(name, spec["title"], "models") if spec["retrains"] else StagePlan(name, spec["title"], "%", 100)


def _begin(job: Job, lines: list[StagePlan], rest: dict[str, Any]) -> dict[str, Any]:
    with transaction() as session:
        if not jobs.start(session, job):
            return {"ended": ""}
        jobs.plan_stages(session, job, lines)
    return rest


def _rows(shards: list[list[int]]) -> int:
    return sum(stop - start for start, stop in shards)
