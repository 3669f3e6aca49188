"""The local cache of a remote store stays within its limit, and never loses what is in use."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from app.store.artifacts import ArtifactStore, artifact_key
from app.store.blobs import BlobStore
from app.store.cache import KEPT_SECONDS, Cache

MIB = 2**20


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 3 * MIB)


@pytest.fixture
def blobs(tmp_path: Path, cache: Cache) -> BlobStore:
    return BlobStore(f"memory://{uuid.uuid4().hex}", tmp_path / "cache" / "blobs", cache)


@pytest.fixture
def artifacts(tmp_path: Path, cache: Cache) -> ArtifactStore:
    return ArtifactStore(f"memory://{uuid.uuid4().hex}", tmp_path / "cache" / "artifacts", cache)


def stored(blobs: BlobStore, number: int, hours_ago: float) -> Path:
    """A blob of 1 MiB that was last used so long ago."""
    path = blobs.local(blobs.put([bytes([number]) * MIB]).sha256)
    return aged(path, hours_ago)


def aged(path: Path, hours: float) -> Path:
    moment = time.time() - 3600 * hours
    os.utime(path, (moment, moment))
    return path


def test_what_was_not_used_for_longest_goes_first(blobs: BlobStore, cache: Cache) -> None:
    paths = [stored(blobs, number, hours) for number, hours in enumerate((5, 9, 3, 7, 2))]
    assert cache.trim() == 2
    assert [path.exists() for path in paths] == [True, False, True, False, True]
    assert blobs.local(paths[1].name).read_bytes() == bytes([1]) * MIB
    assert not list((paths[0].parents[1] / ".partial").glob("*"))


def test_an_artifact_counts_with_all_its_files_and_goes_whole(
    artifacts: ArtifactStore, blobs: BlobStore, cache: Cache
) -> None:
    key = artifact_key("predict", 1, shard=1)
    with artifacts.write(key) as folder:
        (folder / "deep").mkdir()
        for name in ("a", "deep/b"):
            (folder / name).write_bytes(bytes(MIB))
    old = aged(artifacts.local(key), 9)
    young = [stored(blobs, number, 2) for number in range(2)]
    assert cache.trim() == 1
    assert not old.exists()
    assert all(path.exists() for path in young)
    assert (artifacts.local(key) / "deep" / "b").stat().st_size == MIB


def test_asking_for_an_entry_makes_it_the_newest(blobs: BlobStore, cache: Cache) -> None:
    paths = [stored(blobs, number, 9 - number) for number in range(4)]
    blobs.local(paths[0].name)
    cache.trim()
    assert [path.exists() for path in paths] == [True, False, True, True]


def test_what_was_asked_for_within_the_hour_stays_whatever_the_limit(blobs: BlobStore, cache: Cache) -> None:
    paths = [stored(blobs, number, KEPT_SECONDS / 3600 - 0.1) for number in range(6)]
    assert cache.trim() == 0
    assert all(path.exists() for path in paths)


def test_open_and_mapped_files_stay(blobs: BlobStore, cache: Cache) -> None:
    paths = [stored(blobs, number, 20 - number) for number in range(6)]
    with paths[0].open("rb"), paths[1].open("rb") as source:
        mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
    with paths[0].open("rb"):
        assert cache.trim() == 3
    assert [path.exists() for path in paths] == [True, True, False, False, False, True]
    assert mapped[:1] == b"\1"
    mapped.close()


def test_files_of_other_processes_stay(blobs: BlobStore, cache: Cache) -> None:
    paths = [stored(blobs, number, 20 - number) for number in range(4)]
    hold = "import sys; held = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(paths[0])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        cache.trim()
        assert [path.exists() for path in paths] == [True, False, True, True]
        other.communicate()


def test_a_fetch_trims_and_looks_at_most_once_a_minute(blobs: BlobStore, cache: Cache, tmp_path: Path) -> None:
    paths = [stored(blobs, number, 9 - number) for number in range(5)]
    paths[4].unlink()
    fresh = BlobStore.__new__(BlobStore)
    fresh.__dict__ = blobs.__dict__ | {"_cache": Cache(tmp_path / "cache", 3 * MIB)}
    fresh.local(paths[4].name)
    assert [path.exists() for path in paths] == [False, False, True, True, True]
    aged(paths[2], 9)
    paths[3].unlink()
    fresh.local(paths[3].name)
    stored(blobs, 9, 1)
    assert paths[2].exists()


@pytest.mark.parametrize("limit", [0, 100 * MIB])
def test_without_need_nothing_goes(blobs: BlobStore, tmp_path: Path, limit: int) -> None:
    paths = [stored(blobs, number, 9) for number in range(5)]
    assert Cache(tmp_path / "cache", limit).trim() == 0
    assert all(path.exists() for path in paths)


def test_a_local_store_is_no_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 1)
    local = BlobStore(str(tmp_path / "cache" / "blobs"), tmp_path / "unused", cache)
    path = local.local(local.put([b"only copy"]).sha256)
    before = path.stat().st_mtime_ns
    assert local.local(path.name) == path
    assert path.stat().st_mtime_ns == before


def test_an_empty_cache_is_no_error(cache: Cache) -> None:
    assert cache.trim() == 0
