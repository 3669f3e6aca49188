"""The application as a server process holds it."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, sys
from app.main import serving
app = serving()
frozen = gc.get_freeze_count()
assert frozen > 50_000, frozen
assert len(gc.get_objects()) < frozen / 10, (len(gc.get_objects()), frozen)
assert any(getattr(route, "path", "") == "/healthz" for route in app.routes)
sys.exit("torch" in sys.modules)
"""


def test_what_starting_left_is_not_searched_for_garbage_again(tmp_path) -> None:
    """In a process of its own: frozen objects stay for good."""
    environment = {"FAULTLINE_HOME": str(tmp_path), "PATH": ""}
    assert subprocess.run([sys.executable, "-c", CODE], check=False, env=environment).returncode == 0
