"""Runs all checks one after another, shows each one's name and time, and fails if any failed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
CHECKS = (
    ("ruff check", [BIN / "ruff", "check", "."]),
    ("ruff format", [BIN / "ruff", "format", "--check", "."]),
    ("djlint", [BIN / "djlint", "templates", "app", "--lint", "--quiet"]),
    ("import-linter", [BIN / "lint-imports"]),
    ("mypy", [BIN / "mypy"]),
    ("pytest, long tests too", [BIN / "pytest", "-m", "", "-q"]),
)


def main() -> int:
    """Run every check, the tests last, so that their closing line ends the output."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failed = []
    for name, command in CHECKS:
        print(f"→ {name}", flush=True)
        started = time.monotonic()
        if subprocess.run([str(part) for part in command], check=False).returncode:
            failed.append(name)
        print(f"  {name}: {time.monotonic() - started:.0f} s{'  FAILED' if name in failed else ''}", flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
