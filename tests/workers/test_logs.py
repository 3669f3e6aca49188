"""What a worker says on the terminal, and what it keeps in its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TALK = """
import logging, sys
from pathlib import Path
from workers.logs import keep_log
keep_log(Path(sys.argv[1]) / "logs", "cpu0")
logging.info("Parsing model identifier")
logging.getLogger("openTSNE").info("Precomputed initialization")
logging.getLogger("dbos").info("launched")
logging.getLogger("workers").warning("worker cpu0 ended")
"""


def test_the_terminal_shows_warnings_only_and_the_file_has_all(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TALK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.endswith("WARNING workers worker cpu0 ended")
    kept = (tmp_path / "logs" / "cpu0.log").read_text()
    assert [text for text in ("Parsing", "Precomputed", "worker cpu0 ended") if text not in kept] == []
    assert "launched" not in kept
