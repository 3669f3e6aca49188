"""Audit kinds, discovered from their folders: a folder with `AUDIT` in its `__init__` is a kind."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from app.audits.base import AuditKind
from app.errors import NotFound


@cache
def kinds() -> dict[str, AuditKind]:
    """Return all kinds by name."""
    found: dict[str, AuditKind] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.ispkg:
            audit = importlib.import_module(f"{__name__}.{module.name}").AUDIT
            found[audit.name] = audit
    return found


def kind(name: str) -> AuditKind:
    """Return the kind of that name.

    Raises:
        NotFound: there is none; the message lists those that exist.
    """
    if name not in kinds():
        raise NotFound(f"There is no audit kind “{name}”. Known kinds: {', '.join(sorted(kinds()))}.")
    return kinds()[name]
