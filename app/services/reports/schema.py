"""What a report holds; its JSON Schema is published at /api/v1/schemas/report.json and with every export."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.audits.pieces import Estimate, GroupColumn


class ReportModel(BaseModel):
    """The audited model version."""

    name: str
    version: int
    format: str
    architecture: str
    sha256: str


class ReportData(BaseModel):
    """The audited data."""

    name: str
    sha256: str
    split: str
    train_split: str
    rows: int
    classes: list[str] = Field(description="In the model's order, which `class_index` counts.")


class ReportVerdict(BaseModel):
    """What one reviewer said of a finding."""

    reviewer: str
    verdict: str


class ReportComment(BaseModel):
    """A remark on a finding."""

    author: str
    text: str
    created_at: datetime


class ReportFinding(BaseModel):
    """A finding as it stood when the snapshot was made."""

    id: int
    kind: str
    key: str
    subject: str
    method: str
    class_index: int | None
    rank: int
    title: str
    evidence: str
    origin: str
    metrics: dict[str, Any]
    tags: list[str] = []
    verdicts: list[ReportVerdict] = []
    comments: list[ReportComment] = []


class ReportImage(BaseModel):
    """An image whose thumbnail the snapshot holds, and what the model made of it."""

    row: int
    label: int
    prediction: int
    confidence: float | None
    correct: bool | None


class ReportQuery(BaseModel):
    """A question that somebody asked of the confirm rows."""

    kind: str
    action: str
    asked_by: str
    created_at: datetime
    payload: dict[str, Any]
    p_value: float | None
    adjusted_p_value: float | None


class ReportContent(BaseModel):
    """The whole snapshot. Rates are of errors unless named otherwise; rows are data set rows."""

    schema_version: Literal[1] = 1
    title: str
    project: str
    created_at: datetime
    created_by: str
    run_id: int
    run_name: str
    seed: int
    encoder: str
    started_at: datetime | None
    finished_at: datetime | None
    model: ReportModel
    data: ReportData
    dataset_id: int
    split_start: int
    params: dict[str, Any]
    provenance: dict[str, Any] = Field(description="Hashes of data, model, code and parameters; library versions.")
    card: dict[str, Any] = Field(description="Accuracy and calibration of the whole split.")
    kinds: dict[str, dict[str, Any]] = Field(description="Summary of each audit kind.")
    findings: list[ReportFinding]
    queries: list[ReportQuery]
    images: list[ReportImage] = Field(description="The images that findings show.")
    images_left_out: int = Field(0, description="Images left out to keep the file small.")
    groups: dict[str, list[GroupColumn]] = Field({}, description="Classes and slices in each stress test, by kind.")
    unchanged: dict[int, Estimate] = Field({}, description="Share of right predictions of each class, without stress.")
    files: dict[str, str] = Field({}, description="SHA-256 of the arrays and kept pictures that panels show, by name.")
