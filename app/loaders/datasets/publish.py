"""After the import, outside of the sandbox: the child's files are checked and its packs stored."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from app.errors import UserError
from app.loaders.datasets.finish import EMBEDDINGS, INDEX, INTEGRITY, MANIFEST
from app.loaders.datasets.packs import pack_path
from app.loaders.datasets.report import IntegrityReport
from app.store.blobs import BlobStore
from app.store.images import PACKS

_COLUMNS = ("row", "example_id", "split", "label", "sha256", "width", "height", "group", "path")


class DamagedImport(UserError):
    """What the sandboxed import left is not a data set; the import has to be run again."""


def publish(folder: Path, blobs: BlobStore) -> None:
    """Move the packs of an import into the blob store and write `packs.json`; the folder is then a whole artifact.

    The child that wrote the folder had read hostile bytes, so nothing in it is taken on trust: only ordinary files
    under known names, and an index that stays inside its packs.

    Raises:
        DamagedImport: the folder is not what `ingest` writes.
        StorageFull: no space is left.
    """
    packs = _checked_packs(folder)
    try:
        rows = _checked_rows(folder)
        _check_index(folder, rows, packs)
        IntegrityReport.model_validate_json((folder / INTEGRITY).read_bytes())
    except (ValueError, OSError, ValidationError, pa.ArrowException) as error:
        raise _damaged(str(error)) from error
    hashes = [blobs.put_file(path, move=True).sha256 for path in packs]
    (folder / PACKS).write_text(json.dumps(hashes))


def _checked_packs(folder: Path) -> list[Path]:
    found = {path.name: path.lstat() for path in folder.iterdir()}
    packs = sorted(name for name in found if name.startswith("pack-"))
    unknown = found.keys() - {MANIFEST, INDEX, EMBEDDINGS, INTEGRITY, *packs}
    irregular = [name for name, info in found.items() if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1]
    expected = [pack_path(folder, number) for number in range(len(packs))]
    if unknown or irregular or [path.name for path in expected] != packs:
        raise _damaged(f"unexpected files {sorted(unknown) or irregular or packs}")
    return expected


def _checked_rows(folder: Path) -> int:
    with pq.ParquetFile(folder / MANIFEST) as manifest:
        names = manifest.schema_arrow.names
        rows = int(manifest.metadata.num_rows)
    if tuple(names[: len(_COLUMNS)]) != _COLUMNS:
        raise _damaged("the manifest has other columns")
    if (folder / EMBEDDINGS).exists() and len(np.load(folder / EMBEDDINGS, mmap_mode="r")) != rows:
        raise _damaged("the embeddings have another number of rows")
    return rows


def _check_index(folder: Path, rows: int, packs: list[Path]) -> None:
    index = np.load(folder / INDEX, mmap_mode="r")
    if index.shape != (rows, 6) or index.dtype != np.uint64:
        raise _damaged("the index has another shape")
    sizes = np.array([path.stat().st_size for path in packs] or [0], np.uint64)
    for pack, offset, length in (index[:, :3].T, index[:, 3:].T):
        if (pack >= len(sizes)).any():
            raise _damaged("the index names packs that are not there")
        room = sizes[pack.astype(np.int64)]
        # Compared without a sum, which could overflow.
        if (length > room).any() or (offset > room - length).any():
            raise _damaged("the index leaves its packs")


def _damaged(why: str) -> DamagedImport:
    return DamagedImport(f"The import left no valid data set ({why}). Import it again.")
