"""What leaves the sandbox is checked; what does not fit on the disk is not half stored."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_files import class_folders, write_zip

from app.errors import StorageFull
from app.loaders.datasets import packs
from app.loaders.datasets.ingest import ingest
from app.loaders.datasets.publish import DamagedImport, publish
from app.store.blobs import BlobStore


@pytest.fixture
def output(tmp_path: Path) -> Path:
    archive = write_zip(tmp_path / "x.zip", class_folders())
    folder = tmp_path / "out"
    ingest({"sources": [{"path": str(archive), "name": "x.zip"}], "output": str(folder)}, lambda news: None)
    return folder


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "blobs"), tmp_path / "cache")


def test_packs_are_moved_and_listed(output: Path, blobs: BlobStore) -> None:
    publish(output, blobs)
    hashes = json.loads((output / "packs.json").read_text())
    assert sorted(path.name for path in output.iterdir()) == [
        "index.npy",
        "integrity.json",
        "manifest.parquet",
        "packs.json",
    ]
    assert blobs.sizes().keys() == set(hashes)
    assert len(hashes) == 2


def index_with(output: Path, column: int, value: int) -> None:
    index = np.load(output / "index.npy")
    index[1, column] = value
    np.save(output / "index.npy", index)


def damage_symlink(output: Path) -> None:
    (output / "pack-00001.bin").unlink()
    (output / "pack-00001.bin").symlink_to("/etc/passwd")


def damage_link(output: Path) -> None:
    (output / "pack-00002.bin").hardlink_to(output / "pack-00001.bin")


def damage_pickle(output: Path) -> None:
    np.save(output / "index.npy", np.array([{"x": 1}] * 4, object), allow_pickle=True)


def damage_manifest(output: Path) -> None:
    pq.write_table(pa.table({"row": [0, 1, 2, 3]}), output / "manifest.parquet")


def damage_embeddings(output: Path) -> None:
    np.save(output / "embeddings.npy", np.zeros((3, 2), np.float32))


DAMAGES = [
    damage_symlink,
    damage_link,
    damage_pickle,
    damage_manifest,
    damage_embeddings,
    lambda output: (output / "pack-00001.bin").unlink(),
    lambda output: (output / "pack-00000.bin").rename(output / "pack-00007.bin"),
    lambda output: (output / "surprise.sh").write_text("#!/bin/sh"),
    lambda output: (output / "index.npy").unlink(),
    lambda output: (output / "integrity.json").write_text('{"rows": "many"}'),
    lambda output: (output / "manifest.parquet").write_bytes(b"PAR1"),
    lambda output: np.save(output / "index.npy", np.zeros((4, 6), np.int64)),
    lambda output: np.save(output / "index.npy", np.zeros((3, 6), np.uint64)),
    lambda output: index_with(output, 0, 9),
    lambda output: index_with(output, 1, 2**64 - 1),
    lambda output: index_with(output, 2, 2**63),
    lambda output: index_with(output, 5, 2**40),
    lambda output: index_with(output, 3, 2**64 - 1),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_hijacked_child_left_is_refused(output: Path, blobs: BlobStore, damage: object) -> None:
    damage(output)
    with pytest.raises(DamagedImport, match="Import it again"):
        publish(output, blobs)
    assert blobs.sizes() == {}
    assert not (output / "packs.json").exists()


def test_a_full_disk_while_publishing(output: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("app.store.durable.os.fsync", full)
    with pytest.raises(StorageFull):
        publish(output, blobs)
    assert not (output / "packs.json").exists()


def test_a_full_disk_during_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, kind: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(packs.PackWriter, "add", full)
    archive = write_zip(tmp_path / "x.zip", class_folders())
    before = archive.read_bytes()
    payload = {"sources": [{"path": str(archive), "name": "x.zip"}], "output": str(tmp_path / "out")}
    with pytest.raises(StorageFull, match="No space is left"):
        ingest(payload, lambda news: None)
    assert not (tmp_path / "out" / ".work").exists()
    assert archive.read_bytes() == before


@pytest.mark.skipif(not shutil.which("mount") or os.geteuid() != 0, reason="SKIPPED: mounting a tiny disk needs root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=64k tmpfs '{disk}' 2>/dev/null"):
        pytest.skip("SKIPPED: this machine does not allow mounting a tiny disk")
    try:
        archive = write_zip(tmp_path / "x.zip", class_folders(per_class=60))
        payload = {"sources": [{"path": str(archive), "name": "x.zip"}], "output": str(disk / "out")}
        with pytest.raises(StorageFull):
            ingest(payload, lambda news: None)
        store = BlobStore(str(disk / "blobs"), tmp_path / "cache")
        shutil.rmtree(disk / "out")
        with pytest.raises(StorageFull):
            store.put([b"x" * 200_000])
        assert [path for path in disk.rglob("*") if path.is_file()] == []
    finally:
        os.system(f"umount '{disk}'")
