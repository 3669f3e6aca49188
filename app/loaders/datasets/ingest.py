"""The import itself; runs in the sandboxed child."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from app.errors import UserError
from app.loaders.datasets.arrange import arrange, order_classes
from app.loaders.datasets.checks import check_all
from app.loaders.datasets.detect import Reader, open_reader
from app.loaders.datasets.examine import Example, Refusal, examine
from app.loaders.datasets.finish import (
    INTEGRITY,
    count_splits,
    data_hash,
    typed_meta,
    write_embeddings,
    write_index,
    write_manifest,
)
from app.loaders.datasets.report import IntegrityReport, SetAside, compare_classes
from app.loaders.datasets.request import IngestRequest, IngestResult
from app.loaders.datasets.rows import EMBEDDINGS, Arrived, RowWriter
from app.loaders.datasets.sources import open_sources
from app.store.durable import storage_errors

Progress = Callable[[dict[str, Any]], None]
_LISTED_ASIDE = 10_000
# Two finished images may wait for a slow one before them, and no more: each can be large.
_WAITING_PER_THREAD = 3
_PROGRESS_ROWS = 200


def ingest(payload: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Read a data set and write it to `payload["output"]`: an `IngestRequest` in, an `IngestResult` out, both as JSON.

    Writes `manifest.parquet`, `index.npy`, `pack-*.bin`, `embeddings.npy` (if given) and `integrity.json`. Calls
    `progress` with {"message", "done", "total" (None while unknown)}.

    Raises:
        UserError: the source cannot be read, or no row of it can.
        StorageFull: no space is left.
    """
    request = IngestRequest.model_validate(payload)
    output = Path(request.output)
    work = output / ".work"
    with storage_errors():
        work.mkdir(parents=True)
        try:
            return _ingest(request, output, work, progress).model_dump(mode="json")
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _ingest(request: IngestRequest, output: Path, work: Path, progress: Progress) -> IngestResult:
    progress({"message": "Looking at the files", "done": 0, "total": None})
    tree = open_sources(request, work)
    reader = open_reader(tree, request)
    with RowWriter(output, work, request.options.split) as writer:
        for refused, reason in tree.problems.items():
            writer.add(Refusal(refused, reason))
        for number, found in enumerate(_examined(reader, request), start=1):
            writer.add(found)
            if number % _PROGRESS_ROWS == 0:
                progress({"message": "Reading images", "done": number, "total": reader.total})
        _require_rows(writer)
        arrived = writer.finish()
    progress({"message": "Writing the manifest", "done": writer.count, "total": writer.count})
    return _finish(request, reader, arrived, writer.refusals, output, work)


def _examined(reader: Reader, request: IngestRequest) -> Iterator[Example | Refusal]:
    """Decode in threads, in the order of the source, with few examples in memory."""
    waiting: deque[Future[Example | Refusal]] = deque()
    with ThreadPoolExecutor(request.threads) as pool:
        for item in reader:
            if item.load is None and not waiting:
                yield examine(item, request.limits.max_pixels)
                continue
            waiting.append(pool.submit(examine, item, request.limits.max_pixels))
            if len(waiting) >= _WAITING_PER_THREAD * request.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _require_rows(writer: RowWriter) -> None:
    if writer.count:
        return
    reasons = dict.fromkeys(refusal.reason for refusal in writer.refusals)
    why = " ".join(list(reasons)[:3]) or "The source lists none."
    raise UserError(f"No example could be read ({len(writer.refusals):,} were set aside). {why}")


def _finish(
    request: IngestRequest, reader: Reader, arrived: Arrived, refusals: list[Refusal], output: Path, work: Path
) -> IngestResult:
    options = request.options
    data = arrange(arrived, order_classes(arrived.labels, reader.classes, options.classes))
    meta = typed_meta(data.meta) if reader.text_cells else data.meta
    write_manifest(output, data, meta)
    write_index(output, arrived.index, data.order)
    if arrived.dimensions:
        write_embeddings(output, work / EMBEDDINGS, data.order, arrived.dimensions)
    splits = count_splits(data)
    items = check_all(data, splits, refusals) + reader.remarks()
    if options.model_classes:
        items = compare_classes(data.classes, options.model_classes).items + items
    report = IntegrityReport(
        rows=len(data.order),
        classes=data.classes,
        splits=splits,
        items=items,
        set_aside=[SetAside(path=refusal.path, reason=refusal.reason) for refusal in refusals[:_LISTED_ASIDE]],
        set_aside_count=len(refusals),
    )
    (output / INTEGRITY).write_text(report.model_dump_json())
    return IngestResult(
        format=reader.format,
        rows=report.rows,
        classes=data.classes,
        splits=splits,
        meta_columns=meta.column_names,
        embedding_dim=arrived.dimensions,
        data_hash=data_hash(data),
        packs=arrived.packs,
        set_aside=len(refusals),
        integrity=report,
    )
