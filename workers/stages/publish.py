"""The last stage: the score table, the findings, the report card, and what the run was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from app.audits.base import FindingDraft
from app.services import keys
from app.store.artifacts import artifact_key
from app.store.models import Finding
from app.store.places import get_artifacts
from app.store.repositories import jobs, subjects
from app.store.session import transaction
from workers.run_plan import RunPlan, load_run
from workers.stages import results
from workers.stages.card import report_card
from workers.stages.inputs import load_split
from workers.stages.score_table import Outcomes, outcomes, score_table
from workers.work import Work


def run(work: Work) -> dict[str, Any]:
    """Write scores.parquet, then in one transaction the findings and the run's summary."""
    plan, store = load_run(work.job.id), get_artifacts()
    work.begin()
    folders = {line: store.local(key) for line, key in work.args["keys"].items()}
    drafts = {line: results.findings(folder) for line, folder in folders.items()}
    split = load_split(plan, "audited", work.args["arrays"]["audited"])
    found = outcomes(split)
    parts = {"arrays": work.args["arrays"], "stages": work.args["keys"], "data": plan.data_hash}
    key = artifact_key("scores", keys.PUBLISH_VERSION, model=plan.model_hash, **parts)
    if not store.has(key):
        with store.write(key) as target:
            table = score_table(split, found, folders, [d for some in drafts.values() for d in some])
            pq.write_table(table, target / "scores.parquet", row_group_size=65_536, compression="zstd")
    _record(work, plan, key, _findings(plan, drafts), _summary(plan, folders, found))
    return {"scores": key}


def _record(work: Work, plan: RunPlan, key: str, findings: list[Finding], summary: dict[str, Any]) -> None:
    arrays = work.args["arrays"]
    details = {**work.args["keys"], "predict-all": arrays["audited"], "embed-all": arrays["audited"]}
    values = {
        "scores_key": key,
        "details_keys": details,
        "summary": summary,
        "provenance": _provenance(work, plan, key),
    }
    with transaction() as session:
        if jobs.wanted(session, work.job):
            subjects.replace_audit_findings(session, plan.rows.run.id, findings)
            subjects.fill_run(session, plan.rows.run.id, work.job.attempt, values)
            jobs.end_stage(session, work.job, work.line, "succeeded", artifact_key=key)


def _findings(plan: RunPlan, drafts: Mapping[str, list[FindingDraft]]) -> list[Finding]:
    return [
        _finding(plan.rows.run.id, line.partition(":")[0], draft) for line, some in drafts.items() for draft in some
    ]


def _finding(run_id: int, kind: str, draft: FindingDraft) -> Finding:
    return Finding(
        run_id=run_id,
        kind=kind,
        subject=draft.subject,
        key=draft.key,
        method=draft.method,
        class_index=draft.class_index,
        rank=draft.rank,
        title=draft.title,
        evidence=draft.evidence,
        metrics=results.plain(draft.metrics),
        rows_hash="" if draft.rows is None else hashlib.sha256(draft.rows.astype("<i8").tobytes()).hexdigest(),
    )


def _summary(plan: RunPlan, folders: Mapping[str, Path], found: Outcomes) -> dict[str, Any]:
    """{kind: its stages' summaries merged} and the report card."""
    summary: dict[str, Any] = {}
    for line, folder in folders.items():
        summary.setdefault(line.partition(":")[0], {}).update(results.summary(folder))
    return {**summary, "card": report_card(found, plan.rows.run.seed)}


def _provenance(work: Work, plan: RunPlan, key: str) -> dict[str, Any]:
    run = plan.rows.run
    return {
        "data": plan.data_hash,
        "model": plan.model_hash,
        "checkpoints": [row.sha256 for row in plan.rows.checkpoints],
        "encoder": {"name": plan.encoder, **work.args["encoder"]},
        "split": run.split,
        "second": {
            kind: {"data": own.data_hash, "name": own.rows.dataset.name, "split": own.split}
            for kind, own in plan.seconds.items()
        },
        "train_split": run.train_split,
        "params": {kind.name: plan.kind_params(kind) for kind in plan.kinds},
        "seed": run.seed,
        "code": keys.code_hash(),
        "libraries": keys.library_versions(),
        "policy": keys.numeric_policy(work.device),
        "artifacts": {**work.args["arrays"], **work.args["keys"], "scores": key},
        "work_on_model": work.args["model"],
    }
