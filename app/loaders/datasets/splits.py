"""Names of splits: in folders, in file names, and their order."""

from __future__ import annotations

import re

SPLIT_WORDS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "holdout")
_ORDER = {word: rank for rank, word in enumerate(SPLIT_WORDS)}
_IN_FILE_NAME = re.compile(rf"(?:^|[^a-z])({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})(?:[^a-z]|$)")


def is_split_word(name: str) -> bool:
    """Whether a folder's name is that of a split."""
    return name.strip().lower() in _ORDER


def split_in_path(path: str) -> str | None:
    """The split that a file's name or its folder tells: `data/train-00000-of-00002.parquet` → `train`."""
    for part in reversed(path.split("/")):
        if found := _IN_FILE_NAME.search(part.lower()):
            return found[1]
    return None


def split_rank(name: str) -> tuple[int, str]:
    """Sorting key: train, then validation, then test, then others by name."""
    return _ORDER.get(name.lower(), len(_ORDER)), name
