"""A disk that is full while the child writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import StorageFull, UserError
from tests.full_disk import small_disk
from workers.sandbox import Sandbox
from workers.sandbox.limits import GiB, Limits

HERE = Path(__file__).parent


@pytest.mark.parametrize("how", ["plain", "array", "table", "mapped", "reserved"])
def test_a_full_disk_is_a_sentence_whoever_writes(tmp_path, how):
    with (
        small_disk(tmp_path / "small", 8) as folder,
        Sandbox(folder / "inside", Limits(seconds=60, memory_bytes=2 * GiB), readable=[HERE]) as box,
    ):
        with pytest.raises(StorageFull, match="No space is left where Faultline stores its files"):
            box.request("guests:fill_disk", {"how": how})
        assert box.pid is None
        for path in box.folder.iterdir():
            path.unlink()
        assert box.request("guests:echo", {"still": "there"})["payload"] == {"still": "there"}


def test_a_file_over_the_limit_is_named_with_the_limit(make_sandbox):
    with pytest.raises(UserError, match=r"more than 0\.000977 GiB, which is the limit"):
        make_sandbox(file_bytes=2**20).request("guests:fill_disk", {"how": "plain"})
