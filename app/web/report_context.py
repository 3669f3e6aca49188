"""What a report shows, wherever it is shown: on its page, behind a share link, in one file."""

from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from app.audits.base import Panel, Subject
from app.audits.pieces import Estimate
from app.services.reports.reader import SnapshotReader, Source
from app.services.reports.schema import ReportContent, ReportFinding, ReportQuery
from app.web.panels import STRESS_ORDER, ShownPanel, render_panels
from app.web.robustness import (
    Shape,
    Stress,
    accuracy,
    class_groups,
    joint_classes,
    joint_slices,
    scorecard,
    slice_groups,
)

SHOWN_GROUPS = 25


class ReportView(BaseModel):
    """A report as people read it."""

    title: str
    project: str
    created_at: datetime
    created_by: str
    facts: list[tuple[str, str]] = Field(description="What was audited, and how.")
    accuracy: Estimate | None
    calibration: Estimate | None = Field(description="Expected calibration error; 0 is best.")
    panels: list[ShownPanel]
    discussed: list[ReportFinding] = Field(description="Findings that somebody judged or remarked on.")
    queries: list[ReportQuery]
    provenance: dict[str, Any] = Field(description="Hashes of data, model, code and parameters; library versions.")
    content_hash: str
    images_left_out: int


def report_view(content: ReportContent, content_hash: str, source: Source, folder: Path) -> ReportView:
    """Return a report's view; its files are in `folder`, and `source` gives the URLs of its pictures."""
    reader = SnapshotReader(content, source, folder)
    calibration = content.card.get("calibration")
    return ReportView(
        title=content.title,
        project=content.project,
        created_at=content.created_at,
        created_by=content.created_by,
        facts=_facts(content),
        accuracy=_estimate(content.card.get("accuracy")),
        calibration=_estimate({**calibration, "value": calibration["ece"]} if calibration else None),
        panels=render_panels(Subject("report", content.run_id), reader, list(content.kinds), _stress(reader)),
        discussed=[finding for finding in content.findings if finding.verdicts or finding.comments],
        queries=content.queries,
        provenance=content.provenance,
        content_hash=content_hash,
        images_left_out=content.images_left_out,
    )


def _stress(reader: SnapshotReader) -> list[Panel]:
    content = reader.content
    lines = scorecard(reader, list(content.kinds))
    columns = [(kind, column) for kind, found in content.groups.items() for column in found]
    shape = Shape(accuracy(content.card), most=SHOWN_GROUPS)
    classes = joint_classes(columns, class_groups(reader, content.unchanged), shape)
    slices = joint_slices(columns, slice_groups(reader), shape)
    if lines is None:
        return []
    found = Stress(scorecard=lines, slices=slices if slices.rows else None, classes=classes if classes.rows else None)
    return [Panel("robustness", "Robustness", "results/stress.html", found, STRESS_ORDER)]


def picture_file(path: str) -> str:
    """Return the file in a report's folder of a picture's path: `thumbs/<row>` or `kept/<kind>/<stage>/<number>`."""
    return path.partition("/")[2].replace("/", ".") + ".webp"


def embedded(folder: Path) -> Source:
    """Return the pictures of a report's folder as data: URIs."""

    def source(path: str) -> str:
        data = (folder / picture_file(path)).read_bytes()
        return "data:image/webp;base64," + base64.b64encode(data).decode()

    return source


def _facts(content: ReportContent) -> list[tuple[str, str]]:
    model, data = content.model, content.data
    trained = f", trained on {data.train_split}" if data.train_split else ""
    return [
        ("Model", f"{model.name}, version {model.version} ({model.format})"),
        ("Model hash", model.sha256),
        ("Data set", f"{data.name}, split {data.split}{trained}, {data.rows:,} images, {len(data.classes):,} classes"),
        ("Data hash", data.sha256),
        ("Encoder", content.encoder),
        ("Seed", str(content.seed)),
        ("Run", f"{content.run_id}, finished {content.finished_at:%Y-%m-%d %H:%M} UTC" if content.finished_at else ""),
    ]


def _estimate(found: dict[str, float] | None) -> Estimate | None:
    if not found:
        return None
    return Estimate(value=found["value"], low=found.get("low"), high=found.get("high"), n=int(found["n"]))
