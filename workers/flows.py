"""The order of things: which units make up an import, a check, an audit. Engine-independent, and without torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from app.store.repositories.jobs import Job
from workers import planning, retraining
from workers.run_plan import fit_line, stage_of
from workers.work import Answer, Unit

_LOG = logging.getLogger(__name__)


class Pending(Protocol):
    """A submitted unit."""

    def answer(self) -> Answer:
        """Wait for its end."""


class Engine(Protocol):
    """What a flow needs of the job engine: `workers.engine` on DBOS, `workers.testing` in one process."""

    def step(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function once; a flow that is taken up again gets the recorded result."""

    def submit(self, unit: Unit, device_queue: str, name: str) -> Pending:
        """Queue a unit as `name`, unique within the flow."""

    def run(self, unit: Unit) -> Answer:
        """Run a unit in this very process."""


class Ended(Exception):
    """The flow cannot go on; the message is for the person, empty when the job is no longer wanted."""


def import_dataset(engine: Engine, dataset_id: int, attempt: int) -> None:
    """Read an upload into a data set."""
    _flow(engine, Job("dataset", dataset_id, attempt), planning.plan_import, _import)


def check_model(engine: Engine, version_id: int, attempt: int) -> None:
    """Inspect an uploaded model and run it on a few images."""
    _flow(engine, Job("model_version", version_id, attempt), planning.plan_check, _check)


def audit_run(engine: Engine, run_id: int, attempt: int) -> None:
    """Predict, embed, run the stages of every kind, publish."""
    _flow(engine, Job("run", run_id, attempt), planning.plan_run, _audit)


def answer_query(engine: Engine, query_id: int, attempt: int) -> None:
    """Answer an analyst's question in this process, which holds the run's arrays."""

    def body(engine: Engine, job: Job, plan: dict[str, Any]) -> None:
        _result(engine.run({"job": list(job), "stage": "answer", "line": "", "args": {}}))

    _flow(engine, Job("query", query_id, attempt), planning.plan_query, body)


def _flow(
    engine: Engine,
    job: Job,
    plan: Callable[..., dict[str, Any]],
    body: Callable[[Engine, Job, dict[str, Any]], None],
) -> None:
    try:
        planned = engine.step(plan, list(job))
        _raise_message(planned)
        body(engine, job, planned)
        engine.step(planning.succeed, list(job))
    except Ended as end:
        engine.step(planning.fail, list(job), str(end))
    except Exception as error:
        _LOG.exception("the flow of %s broke", job)
        engine.step(planning.fail, list(job), f"Faultline itself failed here: {type(error).__name__}: {error}")


def _import(engine: Engine, job: Job, plan: dict[str, Any]) -> None:
    _one(engine, job, plan, "ingest", {})


def _check(engine: Engine, job: Job, plan: dict[str, Any]) -> None:
    for name in plan["units"]:
        _one(engine, job, plan, name, {})


def _audit(engine: Engine, job: Job, plan: dict[str, Any]) -> None:
    encoder = _one(engine, job, plan, "encoder", {"spec": plan["encoder"]}, "") if plan["encode"] else {}
    bases = engine.step(planning.shard_bases, list(job), plan["device"], encoder)
    fits = {name: _submit_fit(engine, job, plan, name, bases[name]) for name in plan.get("fits", [])}
    waiting = {name: _submit_shards(engine, job, plan, name, bases[name]) for name in bases if name not in fits}
    for name, pending in fits.items():
        if _fitted(engine, job, name, pending):
            waiting[name] = _submit_shards(engine, job, plan, name, bases[name])
    aside = {name: _gather(engine, job, name, pending) for name, pending in waiting.items()}
    arrays = _one(engine, job, plan, "assemble", {"bases": _of_rows(bases), "aside": _of_rows(aside)})
    model = {name: _join_model(engine, job, plan, name, bases[name], aside[name]) for name in waiting if ":" in name}
    keys: dict[str, str] = {}
    for spec in plan["stages"]:
        line = f"{spec['kind']}:{spec['name']}"
        if spec.get("retrains"):
            keys[line] = _retrain(engine, job, plan, line, keys)
            continue
        args = {**spec, "arrays": arrays, "model": _of_kind(model, spec["kind"]), "earlier": keys}
        keys[line] = _one(engine, job, plan, "kind", args, line)["key"]
    _one(engine, job, plan, "publish", {"arrays": arrays, "model": model, "keys": keys, "encoder": encoder})


def _retrain(engine: Engine, job: Job, plan: dict[str, Any], line: str, keys: Mapping[str, str]) -> str:
    """Train the networks that an earlier stage of the kind chose; return the key of what they gave."""
    chosen = engine.step(retraining.chosen, line, dict(keys))
    missing = engine.step(retraining.open_models, list(job), line, chosen, plan["device"])
    pending = []
    for start, stop in missing:
        unit: Unit = {
            "job": list(job),
            "stage": "retrain",
            "line": line,
            "args": {"plan": chosen, "models": [start, stop]},
        }
        pending.append(([start, stop], engine.submit(unit, plan["queue"], f"{line}-{start}".replace(":", "-"))))
    aside = _gather(engine, job, line, pending, retraining)
    args = {"plan": chosen, "aside": aside, "line": line}
    joined: Unit = {"job": list(job), "stage": "join-retrained", "line": line, "args": args}
    return str(_result(engine.submit(joined, plan["queue"], f"join-{line}".replace(":", "-")).answer())["key"])


def _join_model(
    engine: Engine, job: Job, plan: dict[str, Any], name: str, base: dict[str, Any], aside: list[list[int]]
) -> dict[str, Any]:
    args = {"name": name, "base": base, "aside": aside}
    unit: Unit = {"job": list(job), "stage": "join-model", "line": "", "args": args}
    return _result(engine.submit(unit, plan["queue"], f"join-{name}".replace(":", "-")).answer())


def _of_rows(stages: Mapping[str, Any]) -> dict[str, Any]:
    """What every kind reads: predictions and embeddings, without the kinds' own work on the network."""
    return {name: value for name, value in stages.items() if ":" not in name}


def _of_kind(model: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {name.partition(":")[2]: keys for name, keys in model.items() if name.startswith(f"{kind}:")}


def _submit_fit(engine: Engine, job: Job, plan: dict[str, Any], name: str, base: dict[str, Any]) -> Pending:
    unit: Unit = {"job": list(job), "stage": "fit-model", "line": fit_line(name), "args": {"name": name, "base": base}}
    return engine.submit(unit, plan["queue"], f"fit-{name}".replace(":", "-"))


def _fitted(engine: Engine, job: Job, name: str, pending: Pending) -> bool:
    """Wait for a fit; False where it crashed every time, so that the run goes on without it."""
    answer = pending.answer()
    if answer["outcome"] == "crashed":
        engine.step(planning.leave_out, list(job), name, answer["message"])
        return False
    _result(answer)
    return True


def _submit_shards(
    engine: Engine, job: Job, plan: dict[str, Any], name: str, base: dict[str, Any]
) -> list[tuple[list[int], Pending]]:
    missing = engine.step(planning.open_shards, list(job), name, base)
    pending = []
    for start, stop in missing:
        args = {"base": base, "start": start, "stop": stop}
        stage = "model-shard" if ":" in name else stage_of(name)
        unit: Unit = {"job": list(job), "stage": stage, "line": name, "args": args}
        pending.append(([start, stop], engine.submit(unit, plan["queue"], f"{name}-{start}".replace(":", "-"))))
    return pending


def _gather(
    engine: Engine, job: Job, name: str, pending: list[tuple[list[int], Pending]], steps: Any = planning
) -> list[list[int]]:
    """Wait for a stage's shards; return those that were set aside because they crashed every time.

    `steps` has `set_aside` and `close_shards`.
    """
    aside: list[list[int]] = []
    for rows, unit in pending:
        answer = unit.answer()
        if answer["outcome"] != "crashed":
            _result(answer)
            continue
        aside.append(rows)
        engine.step(steps.set_aside, list(job), name, rows, answer["message"])
        if len(aside) > planning.most_aside(len(pending)):
            raise Ended(f"{len(aside)} of {len(pending)} shards failed again and again. {answer['message']}")
    engine.step(steps.close_shards, list(job), name, aside)
    return aside


def _one(
    engine: Engine, job: Job, plan: Mapping[str, Any], stage: str, args: dict[str, Any], line: str | None = None
) -> dict[str, Any]:
    """Run a stage that is one unit, and return its result."""
    row = stage if line is None else line
    unit: Unit = {"job": list(job), "stage": stage, "line": row, "args": args}
    return _result(engine.submit(unit, plan["queue"], (row or stage).replace(":", "-")).answer())


def _result(answer: Answer) -> dict[str, Any]:
    if answer["outcome"] != "done":
        raise Ended("" if answer["outcome"] == "stopped" else answer["message"])
    return answer["result"]


def _raise_message(planned: dict[str, Any]) -> None:
    if "ended" in planned:
        raise Ended(planned["ended"])
