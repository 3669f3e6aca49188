"""Takes in files that lie on this machine, for the command line and the demo: the same rows as an upload leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.orm import Session

from app.errors import UserError
from app.services import uploads
from app.store.blobs import Blob
from app.store.models import Upload, User
from app.store.places import get_blobs


class Kept(NamedTuple):
    """A file that is stored, and its name."""

    name: str
    blob: Blob


def keep_file(path: Path) -> Kept:
    """Store a file as a blob; call it outside of any transaction, for it takes as long as the file is large.

    Raises:
        UserError: there is no such file.
        StorageFull: no space is left.
    """
    if not path.is_file():
        what = (
            "a folder; pack it into a zip or tar first, or give its path with --url" if path.is_dir() else "not there"
        )
        raise UserError(f"The file {path} is {what}.")
    return Kept(path.name, get_blobs().put_file(path))


def note_files(session: Session, project_id: int, user: User, kept: Sequence[Kept]) -> list[Upload]:
    """Record stored files as finished uploads."""
    return [uploads.note(session, project_id, user, file.name, file.blob) for file in kept]
