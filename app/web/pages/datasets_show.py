"""A data set's page, and its pictures, each served only to members of its project."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import BaseModel, Field

from app.audits.pieces import Thumb
from app.errors import NotFound
from app.loaders.datasets.report import IntegrityItem, SetAside
from app.store.images import DatasetImages
from app.store.manifest import labels, rows_of_class
from app.store.models import Dataset, DatasetSplit
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import datasets
from app.web.deps import ProjectAccess, etag
from app.web.progress import Progress, progress_of
from app.web.twins import Pages

pages = Pages("Data sets")
GRID = 60
_TYPES = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"BM", "image/bmp"))


class SplitRow(BaseModel):
    """A split: a range of the data set's rows."""

    name: str
    start: int
    stop: int
    rows: int
    labelled: int


class ClassRow(BaseModel):
    """A class and how often it occurs in each split."""

    index: int
    name: str
    counts: list[int] = Field(description="Rows per split, in the order of `splits`.")
    total: int


class DatasetPage(BaseModel):
    """A data set: where it came from, what was found in it, its classes and pictures."""

    id: int
    name: str
    project_id: int
    status: str = Field(description="queued, running, succeeded, failed or cancelled")
    source: str = Field(description="What it was read from.")
    rows: int
    data_hash: str
    created_at: datetime
    splits: list[SplitRow]
    classes: list[ClassRow]
    meta_columns: list[str]
    findings: list[IntegrityItem] = Field(description="What the integrity check found, the worst first.")
    set_aside: list[SetAside] = Field(description="The first files that got no row, and why.")
    set_aside_count: int
    thumbs: list[Thumb] = Field(description="Pictures of the chosen split and class.")
    split: str = Field(description="The split whose pictures are shown.")
    label: int | None = Field(description="The class whose pictures are shown; none: all.")
    shown: str = Field(description="Which rows are on screen, in words.")
    next: str = Field(description="Path of the next pictures.")
    may_change: bool
    progress: Progress


@pages.page("/datasets/{dataset_id}", "datasets/show.html")
def show_dataset(
    access: ProjectAccess, dataset_id: int, split: str = "", label: int | None = None, after: int = 0
) -> DatasetPage:
    """A data set with its integrity report and pictures; `split`, `label` and `after` choose which."""
    dataset = access.dataset(dataset_id)
    splits = list(datasets.splits(access.session, dataset.id))
    chosen = next((s for s in splits if s.name == split), splits[0] if splits else None)
    rows = _rows(dataset, chosen, label, after)
    report = dataset.integrity or {}
    findings = [IntegrityItem.model_validate(item) for item in report.get("items", [])]
    return DatasetPage(
        id=dataset.id,
        name=dataset.name,
        project_id=dataset.project_id,
        status=dataset.status,
        source=_source(dataset),
        rows=dataset.rows,
        data_hash=dataset.data_hash,
        created_at=dataset.created_at,
        splits=[_split(s) for s in splits],
        classes=_classes(dataset, splits),
        meta_columns=[column.removeprefix("meta.") for column in dataset.meta_columns],
        findings=sorted(findings, key=lambda item: ("error", "warning", "info").index(item.severity)),
        set_aside=[SetAside.model_validate(entry) for entry in report.get("set_aside", [])],
        set_aside_count=report.get("set_aside_count", 0),
        thumbs=[_thumb(dataset, row) for row in rows[:GRID]],
        split=chosen.name if chosen else "",
        label=label,
        shown=_shown(rows[:GRID], chosen),
        next=_next(dataset, chosen, label, rows),
        may_change=access.may(dataset.project_id, "analyst"),
        progress=progress_of(access.session, "dataset", dataset.id, dataset.status, dataset.error),
    )


@pages.html.get("/datasets/{dataset_id}/thumbs/{row}")
def thumbnail(request: Request, access: ProjectAccess, dataset_id: int, row: int) -> Response:
    """The thumbnail of a row, WebP, 160 px on its long side."""
    dataset = access.dataset(dataset_id)
    return _picture(request, dataset, row, original=False)


@pages.html.get("/datasets/{dataset_id}/images/{row}")
def image(request: Request, access: ProjectAccess, dataset_id: int, row: int) -> Response:
    """The picture of a row as it came; formats that browsers do not show come as their thumbnail."""
    dataset = access.dataset(dataset_id)
    return _picture(request, dataset, row, original=True)


def _picture(request: Request, dataset: Dataset, row: int, *, original: bool) -> Response:
    tag = etag(dataset.artifact_key, row, original)
    headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable"}
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    images = _images(_folder(dataset))
    data = images.original(row) if original else b""
    media = _media_type(data)
    if not media:
        data, media = images.thumbnail(row), "image/webp"
    if not data:
        raise NotFound("This row came without a picture.")
    return Response(data, media_type=media, headers=headers)


def _media_type(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media for start, media in _TYPES if data.startswith(start)), "")


def _folder(dataset: Dataset) -> Path:
    if not dataset.artifact_key:
        raise NotFound("This data set is not imported yet.")
    return get_artifacts().local(dataset.artifact_key)


@lru_cache(maxsize=16)
def _images(folder: Path) -> DatasetImages:
    return DatasetImages(folder, get_blobs())


def _rows(dataset: Dataset, split: DatasetSplit | None, label: int | None, after: int) -> list[int]:
    if split is None or not dataset.artifact_key:
        return []
    if label is None:
        begin = max(split.start, after)
        return list(range(begin, min(begin + GRID + 1, split.stop)))
    return rows_of_class(_folder(dataset), label, split.start, split.stop, after, GRID + 1)


def _thumb(dataset: Dataset, row: int) -> Thumb:
    label = int(labels(_folder(dataset))[row])
    name = dataset.classes[label] if 0 <= label < len(dataset.classes) else "no label"
    path = f"/datasets/{dataset.id}"
    return Thumb(src=f"{path}/thumbs/{row}", href=f"{path}/images/{row}", alt=f"{name}, row {row}", text=name)


def _shown(rows: list[int], split: DatasetSplit | None) -> str:
    if not rows or split is None:
        return ""
    whole = f"{split.stop - split.start:,}"
    return f"{len(rows)} pictures, from row {rows[0]:,} on; the split has {whole}"


def _next(dataset: Dataset, split: DatasetSplit | None, label: int | None, rows: list[int]) -> str:
    if split is None or len(rows) <= GRID:
        return ""
    wanted: dict[str, Any] = {"split": split.name, "after": rows[GRID]} | ({} if label is None else {"label": label})
    return f"/datasets/{dataset.id}?{urlencode(wanted)}#pictures"


def _split(split: DatasetSplit) -> SplitRow:
    rows = split.stop - split.start
    return SplitRow(name=split.name, start=split.start, stop=split.stop, rows=rows, labelled=sum(split.label_counts))


def _classes(dataset: Dataset, splits: list[DatasetSplit]) -> list[ClassRow]:
    found = []
    for index, name in enumerate(dataset.classes):
        counts = [s.label_counts[index] if index < len(s.label_counts) else 0 for s in splits]
        found.append(ClassRow(index=index, name=name, counts=counts, total=sum(counts)))
    return found


def _source(dataset: Dataset) -> str:
    if "url" in dataset.source:
        return str(dataset.source["url"])
    many = len(dataset.source.get("uploads", []))
    return {0: "not recorded", 1: "an upload"}.get(many, f"{many} uploads")
