"""What the benchmark of quick budgets is made of: disjoint sets, a network that fits, CPU seconds of children."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from benchmarks import quick_budget


def test_no_picture_is_in_two_sets() -> None:
    train, audited, second = quick_budget.digits(quick_budget.IMAGES)
    assert len(audited.labels) == quick_budget.IMAGES
    assert len(second.labels) == quick_budget.SECOND
    assert len(train.labels) + len(audited.labels) + len(second.labels) == 1797
    assert {pixels.shape for pixels in audited.pixels} == {(quick_budget.SIDE, quick_budget.SIDE)}
    known = {pixels.tobytes() for pixels in train.pixels}
    assert sum(pixels.tobytes() in known for pixels in audited.pixels) < 5


def test_a_zip_holds_a_folder_for_each_class() -> None:
    given = quick_budget.Pictures(np.zeros((3, 4, 4), np.uint8), np.array([2, 0, 2]))
    with zipfile.ZipFile(io.BytesIO(quick_budget.folders(given, "val"))) as archive:
        assert archive.namelist() == ["val/two/0000.png", "val/zero/0001.png", "val/two/0002.png"]


def test_the_network_takes_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_budget, "EPOCHS", 1)
    train, *_ = quick_budget.digits(1490)
    network = quick_budget.trained(quick_budget.Pictures(train.pixels[:7], train.labels[:7]))
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cpu_seconds_of_children_count_while_they_live_and_after() -> None:
    code = "import sys, time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\nsys.stdin.read()"
    with quick_budget.clock() as living:
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
    assert 0.4 < living[0] < 1.5
    before = quick_budget.cpu_seconds()
    child.communicate()
    assert quick_budget.cpu_seconds() >= before - 0.05
