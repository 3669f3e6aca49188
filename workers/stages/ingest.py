"""Imports a data set: read in a sandboxed child, checked and stored outside of it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.errors import UserError
from app.loaders.datasets.publish import publish
from app.loaders.datasets.report import SplitCounts
from app.loaders.datasets.request import ImportOptions, IngestRequest, IngestResult, Limits, Source
from app.loaders.datasets.roots import fetch, local_roots, locate
from app.services import keys
from app.settings import get_settings
from app.store.artifacts import artifact_key
from app.store.blobs import hash_file
from app.store.models import Dataset, DatasetSplit, Upload
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs, subjects
from app.store.session import reading, transaction
from workers import warm
from workers.work import Work

LISTED = 200
"""Files set aside that the row names; the artifact's integrity.json has more."""
INGEST = "app.loaders.datasets.ingest:ingest"


def run(work: Work) -> dict[str, Any]:
    """Write the data set's artifact, its row and its splits."""
    with reading() as session:
        dataset = subjects.existing(session, Dataset, work.job.id)
    work.begin(total=0)
    fetched = get_settings().home / "fetch" / str(work.job.id)
    try:
        sources, within = _sources(dataset, fetched)
        data_hash, result = _ingest(work, dataset, sources, within)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    _record(work, data_hash, result)
    return {"rows": result.rows}


def _ingest(work: Work, dataset: Dataset, sources: list[Source], within: list[Path]) -> tuple[str, IngestResult]:
    child = warm.new_sandbox([*(Path(source.path) for source in sources), *within], "cpu")
    try:
        output = child.folder / "out"
        request = IngestRequest(
            sources=sources,
            output=str(output),
            within=[str(path) for path in within],
            options=ImportOptions.model_validate(dataset.source.get("options", {})),
            limits=_limits(),
        )
        payload = request.model_dump(mode="json")
        answer = child.request(
            INGEST, payload, timeout=_seconds(sources), on_progress=_progress(work), should_stop=work.stopped
        )
        result = IngestResult.model_validate(answer)
        warm.take_over(output)
        publish(output, get_blobs())
        return _store(output, result), result
    finally:
        warm.drop(child)


def _store(output: Path, result: IngestResult) -> str:
    data_hash = _data_hash(output, result)
    with get_artifacts().write(_key(data_hash)) as folder:
        for path in output.iterdir():
            shutil.move(path, folder / path.name)
    return data_hash


def _key(data_hash: str) -> str:
    return artifact_key("ingest", keys.INGEST_VERSION, data=data_hash)


def _data_hash(folder: Path, result: IngestResult) -> str:
    """SHA-256 over the rows and all else that an audit reads of them: manifest, classes, given embeddings."""
    digest = hashlib.sha256(f"{result.data_hash} {result.classes}".encode())
    for name in ("manifest.parquet", "embeddings.npy"):
        if (folder / name).is_file():
            digest.update(hash_file(folder / name).sha256.encode())
    return digest.hexdigest()


def _record(work: Work, data_hash: str, result: IngestResult) -> None:
    integrity = result.integrity.model_copy(update={"set_aside": result.integrity.set_aside[:LISTED]})
    values = {
        "rows": result.rows,
        "classes": result.classes,
        "meta_columns": result.meta_columns,
        "artifact_key": _key(data_hash),
        "data_hash": data_hash,
        "integrity": integrity.model_dump(mode="json"),
    }
    splits = [_split(work.job.id, split) for split in result.splits]
    with transaction() as session:
        if jobs.wanted(session, work.job):
            subjects.fill_dataset(session, work.job.id, values, splits)
            jobs.begin_stage(session, work.job, work.line, total=result.rows)
            jobs.log(session, work.job, f"{result.rows:,} rows, {result.set_aside:,} files set aside")
            jobs.end_stage(session, work.job, work.line, "succeeded", artifact_key=_key(data_hash))


def _split(dataset_id: int, split: SplitCounts) -> DatasetSplit:
    return DatasetSplit(
        dataset_id=dataset_id, name=split.name, start=split.start, stop=split.stop, label_counts=split.label_counts
    )


def _sources(dataset: Dataset, fetched: Path) -> tuple[list[Source], list[Path]]:
    """The files to read, and where links of a server-side folder may lead.

    `dataset.source` holds `uploads` (ids), or `url` (a folder or URL below the import roots); `options` beside it.
    """
    source = dataset.source
    if "uploads" in source:
        return [_uploaded(upload_id) for upload_id in source["uploads"]], []
    if "url" not in source:
        raise UserError("The data set names no source; upload it again.")
    roots = get_settings().import_roots
    place = locate(source["url"], roots)
    if place.path is not None:
        return [Source(path=str(place.path), name=source["url"])], local_roots(roots)
    assert place.url is not None
    shutil.rmtree(fetched, ignore_errors=True)
    fetched.mkdir(parents=True)
    return [Source(path=str(fetch(place.url, fetched, _limits())), name=source["url"])], []


def _uploaded(upload_id: int) -> Source:
    with reading() as session:
        upload = subjects.existing(session, Upload, upload_id)
    if not upload.sha256:
        raise UserError(f"The upload of “{upload.filename}” is not complete; send the rest of it.")
    return Source(path=str(get_blobs().local(upload.sha256)), name=upload.filename)


def _limits() -> Limits:
    settings = get_settings()
    return Limits(**{name: getattr(settings, name) for name in Limits.model_fields})


def _seconds(sources: list[Source]) -> float:
    """The time that an import may take: the bound of a request, and a second for each 2 MiB."""
    size = sum(path.stat().st_size for source in sources if (path := Path(source.path)).is_file())
    return get_settings().child_seconds * (1 if size else 12) + size / 2**21


def _progress(work: Work) -> Any:
    say = work.counted()

    def on_progress(news: Mapping[str, Any]) -> None:
        say(int(news["done"]), news.get("total"), str(news["message"]))

    return on_progress
