"""Makes a report: gathers what a run says now, with the thumbnails that it shows, into an immutable artifact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from app.audits import kind
from app.audits.base import RunReader
from app.audits.pieces import Estimate
from app.errors import Conflict, NotFound
from app.services.membership import scores_of
from app.services.proportions import estimate
from app.services.reports.schema import (
    ReportComment,
    ReportContent,
    ReportData,
    ReportFinding,
    ReportImage,
    ReportModel,
    ReportQuery,
    ReportVerdict,
)
from app.services.reports.shown import digests, group_columns, record, shown_files
from app.store.artifacts import artifact_key
from app.store.images import DatasetImages
from app.store.models import AuditRun, Dataset, Finding, Report, User
from app.store.models.base import utcnow
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import marks
from app.store.repositories import reports as repository
from app.store.repositories.findings import SUBJECT

T = TypeVar("T")
THUMBNAIL_BUDGET = 6_500_000
"""Bytes of all pictures and arrays together: in base64, with the text, the one-file report stays below 10 MB."""
CONTENT = "report.json"
MOST_CLASSES = 100_000


def make_report(session: Session, run: AuditRun, user: User, live: RunReader, title: str = "") -> Report:
    """Take a snapshot of `run`, which `live` reads.

    Raises:
        Conflict: the run has not finished.
    """
    if run.status != "succeeded":
        raise Conflict("A report is made of a finished run; this one is " + run.status + ".")
    content = _gather(session, run, user, title)
    content.groups, content.unchanged = group_columns(live, run.kinds), _unchanged(run)
    key, digest = _store(session, content, run, live)
    report = Report(
        project_id=run.project_id,
        run_id=run.id,
        title=content.title,
        artifact_key=key,
        content_hash=digest,
        created_by=user.id,
    )
    session.add(report)
    session.flush()
    return report


def read_report(report: Report) -> ReportContent:
    """Return a report's content."""
    return ReportContent.model_validate_json((report_folder(report) / CONTENT).read_bytes())


def report_folder(report: Report) -> Path:
    """Return the folder of a report's content and thumbnails (`<row>.webp`)."""
    return get_artifacts().local(report.artifact_key)


def _gather(session: Session, run: AuditRun, user: User, title: str) -> ReportContent:
    project, model, version, dataset, split = repository.run_parts(session, run)
    architecture = version.spec.get("architecture") or ""
    return ReportContent(
        title=title or f"{model.name} v{version.number} on {dataset.name} / {run.split}",
        project=project.name,
        created_at=utcnow(),
        created_by=user.name,
        run_id=run.id,
        run_name=run.name,
        seed=run.seed,
        encoder=run.encoder,
        started_at=run.started_at,
        finished_at=run.finished_at,
        model=ReportModel(
            name=model.name,
            version=version.number,
            format=version.format,
            architecture=architecture if isinstance(architecture, str) else json.dumps(architecture),
            sha256=version.model_hash,
        ),
        data=ReportData(
            name=dataset.name,
            sha256=dataset.data_hash,
            split=run.split,
            train_split=run.train_split,
            rows=split.stop - split.start,
            classes=version.spec.get("classes") or dataset.classes,
        ),
        dataset_id=dataset.id,
        split_start=split.start,
        params=run.params,
        provenance=run.provenance,
        card=run.summary.get("card", {}),
        kinds={name: run.summary[name] for name in run.kinds if name in run.summary},
        findings=_findings(session, run),
        queries=_queries(session, run),
        images=[],
    )


def _findings(session: Session, run: AuditRun) -> list[ReportFinding]:
    found = repository.live_findings(session, run.id)
    ids = [finding.id for finding in found]
    verdicts = _by_finding(
        (row[0], ReportVerdict(reviewer=row[1], verdict=row[2])) for row in repository.newest_verdicts(session, ids)
    )
    comments = _by_finding(
        (row[0], ReportComment(author=row[1], text=row[2], created_at=row[3]))
        for row in repository.comments_on(session, ids)
    )
    tags = marks.tags(session, SUBJECT, run.id, ids)
    return [
        _finding(
            finding,
            tags=tags.get(finding.id, []),
            verdicts=verdicts.get(finding.id, []),
            comments=comments.get(finding.id, []),
        )
        for finding in found
    ]


def _finding(finding: Finding, **said: Any) -> ReportFinding:
    own = {name: getattr(finding, name) for name in ReportFinding.model_fields if name not in said}
    return ReportFinding(**own, **said)


def _queries(session: Session, run: AuditRun) -> list[ReportQuery]:
    return [
        ReportQuery(
            kind=query.kind,
            action=query.action,
            asked_by=name or "",
            created_at=query.created_at,
            payload=query.payload,
            p_value=query.p_value,
            adjusted_p_value=query.adjusted_p_value,
        )
        for query, name in repository.asked(session, run.id)
    ]


def _by_finding(pairs: Iterable[tuple[int, T]]) -> dict[int, list[T]]:
    grouped: dict[int, list[T]] = {}
    for finding_id, item in pairs:
        grouped.setdefault(finding_id, []).append(item)
    return grouped


def _store(session: Session, content: ReportContent, run: AuditRun, live: RunReader) -> tuple[str, str]:
    """Write the artifact; return its key and the content's hash."""
    dataset, asked = session.get_one(Dataset, run.dataset_id), record(content, live)
    files = shown_files(asked, live, lambda dataset_id, row: _thumbnail(session, run, dataset_id, row))
    wanted = list(dict.fromkeys([*_telling_rows(content), *(content.split_start + p for p in asked.positions)]))
    images = DatasetImages(get_artifacts().local(dataset.artifact_key), get_blobs())
    held = sum(len(data) for data in files.values())
    thumbnails = _within_budget(images, wanted, THUMBNAIL_BUDGET - held)
    known = scores_of(run).by_rows(sorted(thumbnails))
    content.images = [ReportImage.model_validate(score) for score in known.values()]
    content.images_left_out = len(wanted) - len(thumbnails)
    content.files = digests(files)
    body = content.model_dump_json(indent=1).encode()
    digest = hashlib.sha256(body).hexdigest()
    key = artifact_key("report", 1, content=digest)
    with get_artifacts().write(key) as folder:
        (folder / CONTENT).write_bytes(body)
        for name, data in {**files, **{f"{row}.webp": data for row, data in thumbnails.items()}}.items():
            (folder / name).write_bytes(data)
    return key, digest


def _thumbnail(session: Session, run: AuditRun, dataset_id: int, row: int) -> bytes:
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.project_id != run.project_id:
        raise NotFound("The second data set of this run is gone, and with it the pictures that the report would show.")
    return DatasetImages(get_artifacts().local(dataset.artifact_key), get_blobs()).thumbnail(row)


def _unchanged(run: AuditRun) -> dict[int, Estimate]:
    tallied = scores_of(run).tally("label", "correct IS NOT NULL", limit=MOST_CLASSES)
    return {label: estimate(n - errors, n) for label, n, errors in tallied}


def _telling_rows(content: ReportContent) -> list[int]:
    """Rows in the order in which findings need them: the first image of each, then the second of each …"""
    lists = [[content.split_start + p for p in kind(f.kind).report_rows(f.metrics)] for f in content.findings]
    depth = max((len(rows) for rows in lists), default=0)
    return list(dict.fromkeys(rows[i] for i in range(depth) for rows in lists if i < len(rows)))


def _within_budget(images: DatasetImages, rows: Sequence[int], left: int) -> dict[int, bytes]:
    taken: dict[int, bytes] = {}
    for row in rows:
        data = images.thumbnail(row)
        left -= len(data)
        if left < 0:
            break
        taken[row] = data
    return {row: data for row, data in taken.items() if data}
