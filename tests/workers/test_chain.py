"""From upload to published run, in one process: every stage on real files and a real sandboxed child."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from app.store.models import AuditRun, Dataset, Finding, ModelVersion, Query
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.session import reading, transaction
from tests.workers import build
from workers.testing import Twin


def imported(twin: Twin) -> Dataset:
    with transaction() as session:
        dataset = build.dataset(session, build.project(session), build.images_zip())
    twin.run_workflow("import_dataset", dataset.id)
    with reading() as session:
        return session.get_one(Dataset, dataset.id)


def checked(project_id: int) -> ModelVersion:
    with transaction() as session:
        version = build.version(session, project_id, build.weights())
        version.status = "succeeded"
    return version


def test_whole_chain(home: Path, trivial: str) -> None:
    twin = Twin()
    dataset = imported(twin)
    assert (dataset.status, dataset.error) == ("succeeded", "")
    with transaction() as session:
        run = build.run(session, dataset, checked(dataset.project_id))
    twin.run_workflow("audit_run", run.id)
    with reading() as session:
        run = session.get_one(AuditRun, run.id)
        print([(s.name, s.status, s.done, s.total, s.message) for s in jobs.stages(session, "run", run.id)])
        print([line.text for line in jobs.log_lines(session, "run", run.id)])
    assert (run.status, run.error) == ("succeeded", "")
    table = pq.read_table(get_artifacts().local(run.scores_key) / "scores.parquet")
    print(table.slice(0, 3).to_pylist(), run.summary, run.provenance, run.details_keys)
