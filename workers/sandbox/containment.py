"""Which measures hold on this machine."""

from __future__ import annotations

import os
import socket
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from workers.sandbox.limits import GiB, Limits
from workers.sandbox.sandbox import Sandbox


@lru_cache(maxsize=1)
def describe_containment() -> dict[str, Any]:
    """Start a child, let it try to break out, and report.

    Returns `measures` (what the child set up, in words), `held` (attempt → whether it was prevented) and
    `complete` (all were). Takes under a second; the answer is kept for the life of the process.
    """
    with (
        tempfile.TemporaryDirectory(prefix="faultline-probe-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        secret = Path(name) / "secret"
        secret.write_text("secret")
        os.environ["FAULTLINE_PROBE"] = "secret"
        payload = {"secret": str(secret), "port": server.getsockname()[1]}
        with Sandbox(Path(name) / "inside", Limits(seconds=30, memory_bytes=GiB)) as sandbox:
            held = sandbox.request("workers.sandbox.probe:attempt", payload)
            measures = dict(sandbox.measures)
        del os.environ["FAULTLINE_PROBE"]
    measures["memory"] = "resident size watched by the worker, kill on excess"
    measures["time"] = "clock and processor time watched by the worker, kill on excess"
    return {"measures": measures, "held": held, "complete": all(held.values())}
