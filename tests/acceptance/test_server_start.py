"""`faultline serve` as people start it: a process of its own that answers soon and never holds torch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

MOST_SECONDS = 1.5
MOST_FRAMEWORKS = 4
"""In units of what the imports of its framework take here and now: a busy or slow machine stretches both alike."""
FRAMEWORK = "import time, fastapi, sqlalchemy.orm, pyarrow; print(time.process_time())"
TICK = os.sysconf("SC_CLK_TCK")
HEAVY = ("/torch/", "/torchvision/", "/onnxruntime/", "/sklearn/", "/timm/")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processor_seconds(pid: int) -> float:
    """What a process has used so far, by the kernel's own count: a busy machine does not add to it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def framework_seconds() -> float:
    done = subprocess.run([sys.executable, "-c", FRAMEWORK], capture_output=True, text=True, check=True)
    return float(done.stdout)


def started(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("the server did not answer within a minute")


def serve(home: Path) -> tuple[float, str]:
    """Start, wait for the first answer, open a page, stop; return the processor seconds and the mapped files."""
    port = free_port()
    command = [sys.executable, "-c", "from app.cli import main; main()", "serve", "--no-workers", "--port", str(port)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, env=os.environ | {"FAULTLINE_HOME": str(home)}, cwd=root)
    try:
        started(port, process)
        seconds = processor_seconds(process.pid)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/sign-in", timeout=30) as page:
            assert page.status == 200
        return seconds, Path(f"/proc/{process.pid}/maps").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_it_answers_soon_and_holds_no_torch(tmp_path: Path) -> None:
    serve(tmp_path)  # makes the database, and warms the disk
    measured = [serve(tmp_path) for _ in range(2)]
    assert not [part for _, maps in measured for part in HEAVY if part in maps]
    limit = max(MOST_SECONDS, MOST_FRAMEWORKS * framework_seconds())
    assert min(seconds for seconds, _ in measured) <= limit
