"""Artifacts are whole or absent, on a local folder and on a remote."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from app.errors import NotFound, StorageFull
from app.store import durable
from app.store.artifacts import ArtifactStore, artifact_key

KEY = artifact_key("predict", 1, shard=3)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_key_is_the_hash_of_canonical_json() -> None:
    canonical = '{"name":"embed","parts":{"a":{"x":[1,2.5,null]},"b":"ü"},"version":2}'
    expected = hashlib.sha256(canonical.encode()).hexdigest()
    assert artifact_key("embed", 2, b="ü", a={"x": [1, 2.5, None]}) == f"embed-2-{expected}"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("predict", 1, {"a": 1}), ("predict", 2, {"a": 1})),
        (("predict", 1, {"a": 1}), ("embed", 1, {"a": 1})),
        (("predict", 1, {"a": 1}), ("predict", 1, {"a": "1"})),
        (("predict", 1, {"a": 1}), ("predict", 1, {"b": 1})),
        (("predict", 1, {"a": [1, 2]}), ("predict", 1, {"a": [2, 1]})),
    ],
)
def test_different_parts_give_different_keys(left: tuple, right: tuple) -> None:
    assert artifact_key(left[0], left[1], **left[2]) != artifact_key(right[0], right[1], **right[2])


def test_key_refuses_what_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="JSON"):
        artifact_key("predict", 1, rate=float("nan"))
    with pytest.raises(TypeError):
        artifact_key("predict", 1, path=Path("x"))
    with pytest.raises(ValueError, match="no artifact key"):
        artifact_key("../predict", 1)


def test_a_written_folder_is_read_back_whole(artifacts: ArtifactStore) -> None:
    assert not artifacts.has(KEY)
    with artifacts.write(KEY) as folder:
        np.save(folder / "logits.npy", np.arange(6.0).reshape(2, 3))
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "a b é.json").write_text(json.dumps({"n": 2}))
        assert not artifacts.has(KEY)
    local = artifacts.local(KEY)
    assert artifacts.has(KEY)
    assert np.load(local / "logits.npy", mmap_mode="r").shape == (2, 3)
    assert json.loads((local / "deep" / "er" / "a b é.json").read_text()) == {"n": 2}
    assert artifacts.sizes().keys() == {KEY}
    assert artifacts.sizes()[KEY] >= sum(p.stat().st_size for p in files_below(local))


def test_another_machine_reads_it_from_the_remote(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    with ArtifactStore(root, tmp_path / "a").write(KEY) as folder:
        (folder / "x").write_bytes(b"1")
    other = ArtifactStore(root, tmp_path / "b")
    assert (other.local(KEY) / "x").read_bytes() == b"1"
    assert files_below(tmp_path / "b") == [other.local(KEY) / "x"]


def test_a_block_that_raises_leaves_nothing(artifacts: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), artifacts.write(KEY) as folder:
        (folder / "x").write_text(str(1 / 0))
    assert not artifacts.has(KEY)
    assert files_below(tmp_path) == []


def test_the_second_writer_loses_silently(artifacts: ArtifactStore) -> None:
    with artifacts.write(KEY) as first:
        (first / "x").write_text("first")
        with artifacts.write(KEY) as second:
            (second / "x").write_text("second")
    assert (artifacts.local(KEY) / "x").read_text() in {"first", "second"}
    with artifacts.write(KEY) as third:
        (third / "x").write_text("third")
    assert (artifacts.local(KEY) / "x").read_text() != "third"


def test_eight_writers_of_one_key_leave_one_whole_artifact(artifacts: ArtifactStore) -> None:
    start = threading.Barrier(8)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            start.wait()
            with artifacts.write(KEY) as folder:
                for name in "abc":
                    (folder / name).write_text(str(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({(artifacts.local(KEY) / name).read_text() for name in "abc"}) == 1


def test_delete_removes_it_and_only_it(artifacts: ArtifactStore) -> None:
    other = artifact_key("predict", 1, shard=4)
    for key in (KEY, other):
        with artifacts.write(key) as folder:
            (folder / "x").write_text(key)
    artifacts.delete(KEY)
    artifacts.delete(KEY)
    assert not artifacts.has(KEY)
    assert artifacts.sizes().keys() == {other}
    with pytest.raises(NotFound, match="run its stage again"):
        artifacts.local(KEY)
    assert (artifacts.local(other) / "x").read_text() == other


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_at_the_flush_publishes_nothing(
    artifacts: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fsync", full)
        with pytest.raises(StorageFull, match="Free some space"), artifacts.write(KEY) as folder:
            (folder / "x").write_bytes(b"1")
    assert not artifacts.has(KEY)
    assert files_below(tmp_path) == []
    with artifacts.write(KEY) as folder:
        (folder / "x").write_bytes(b"2")
    assert (artifacts.local(KEY) / "x").read_bytes() == b"2"


def test_numpy_on_a_full_disk_is_storage_full(artifacts: ArtifactStore) -> None:
    message = "1024 requested and 16 written"
    with pytest.raises(StorageFull), artifacts.write(KEY):
        raise OSError(message)
    assert not artifacts.has(KEY)


def test_other_errors_of_the_disk_keep_their_name(artifacts: ArtifactStore) -> None:
    with pytest.raises(PermissionError), artifacts.write(KEY):
        raise PermissionError(errno.EACCES, "denied")


def test_a_really_full_file_system(artifacts: ArtifactStore) -> None:
    with pytest.raises(StorageFull), artifacts.write(KEY), Path("/dev/full").open("wb", buffering=0) as stream:
        stream.write(b"x" * 4096)


def test_sweep_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path), tmp_path / "cache")
    with store.write(KEY) as folder:
        orphan = folder.with_name("orphan")
        orphan.mkdir()
        (orphan / "x").write_text("half")
        os.utime(orphan, (time.time() - 3600,) * 2)
        assert store.sweep(older_than_seconds=600) == 1
        (folder / "x").write_text("whole")
    assert not orphan.exists()
    assert store.sizes() == {KEY: 5}


@pytest.mark.parametrize("key", ["../escape", "a/b", "", ".hidden-key", "x" * 300])
def test_keys_that_are_paths_are_refused(artifacts: ArtifactStore, key: str) -> None:
    with pytest.raises(ValueError, match="no artifact key"):
        artifacts.local(key)


def test_a_file_url_is_a_local_folder(tmp_path: Path) -> None:
    with ArtifactStore(f"file://{tmp_path}/s", tmp_path / "cache").write(KEY) as folder:
        (folder / "x").write_text("1")
    assert ArtifactStore(str(tmp_path / "s"), tmp_path / "cache").has(KEY)
