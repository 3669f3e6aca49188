"""The benchmarks of training influence at toy size: every page answers, and every figure is printed."""

from __future__ import annotations

import subprocess
import sys

import pytest


def printed(name: str, *options: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.mark.long
def test_every_page_answers() -> None:
    lines = printed("influence_pages", "--train", "400", "--audited", "80", "--requests", "1").splitlines()
    assert len(lines) == 21
    assert {line.split()[0] for line in lines} == {
        "run",
        "image",
        "slice",
        "training",
        "what",
        "comparison",
        "list",
        "file",
    }


@pytest.mark.long
def test_answers_and_the_stage_are_measured() -> None:
    text = printed("influence_answers", "--train", "300", "--targets", "16", "--checkpoints", "1")
    assert text.count("ms CPU") == 4
    assert "10,000 targets would take" in text
    assert "GB of its own  PASS" in text
