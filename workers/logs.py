"""Where a worker's log goes: all of it to a file, warnings to the terminal."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_BYTES, _OLDER = 5 * 2**20, 3


def keep_log(folder: Path, name: str) -> None:
    """Log INFO and above to `folder`/`name`.log, which is rotated, and WARNING and above to standard error."""
    folder.mkdir(parents=True, exist_ok=True)
    file = RotatingFileHandler(folder / f"{name}.log", maxBytes=_BYTES, backupCount=_OLDER, encoding="utf-8")
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    logging.basicConfig(format=_FORMAT, level=logging.INFO, handlers=[file, terminal])
    for chatty in ("dbos", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
