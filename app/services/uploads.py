"""Files that arrive, in pieces or whole: the row that names the person and project, and the bytes beside it."""

from __future__ import annotations

import secrets
from functools import lru_cache
from typing import BinaryIO

from sqlalchemy.orm import Session

from app.errors import FieldError
from app.loaders.uploads import UploadInfo, Uploads
from app.settings import get_settings
from app.store.blobs import Blob
from app.store.models import Upload, User
from app.store.places import get_blobs
from app.store.repositories import datasets as repository

MOST_PIECE_BYTES = 32 * 2**20


@lru_cache
def _uploads() -> Uploads:
    settings = get_settings()
    return Uploads(settings.home / "uploads", get_blobs(), settings.max_upload_bytes)


def start(session: Session, project_id: int, user: User, filename: str, size: int, sha256: str | None = None) -> Upload:
    """Begin an upload in pieces.

    Raises:
        FieldError: it has no name, or no bytes.
        TooLarge: it is larger than the installation allows.
    """
    name = _checked_name(filename)
    if size <= 0:
        raise FieldError("size", f"“{name}” is empty (0 bytes). Choose the file again.")
    begun = _uploads().start(UploadInfo(name, size, sha256))
    row = Upload(project_id=project_id, token=begun.id, filename=name, size=size, created_by=user.id)
    return repository.add_upload(session, row)


def append(upload: Upload, offset: int, data: bytes) -> int:
    """Add the piece that begins at `offset` to the file; return where the next one begins.

    Needs no transaction: how far the upload is, is the length of its file, and `note_received` tells the row.

    Raises:
        Conflict: the piece does not begin where the last one ended; the message names the right place.
        StorageFull: no space is left; what came before stays.
    """
    return _uploads().resume(upload.token).append(offset, data)


def note_received(session: Session, token: str, received: int) -> Upload:
    """Note in an upload's row how many bytes have come."""
    row = repository.known_upload(session, token)
    row.received = received
    session.flush()
    return row


def offset_of(upload: Upload) -> int:
    """Return how many bytes have come."""
    return upload.size if upload.sha256 else _uploads().resume(upload.token).offset


def finish(upload: Upload) -> Blob:
    """Store the whole file under its content hash; a second call changes nothing. `note_stored` tells the row.

    Raises:
        UserError: bytes are missing, or the content is not what was announced.
        StorageFull: no space is left; finish again later.
    """
    if upload.sha256:
        return Blob(upload.sha256, upload.size)
    return _uploads().resume(upload.token).finish()


def note_stored(session: Session, token: str, blob: Blob) -> Upload:
    """Note in an upload's row that the whole file is stored."""
    row = repository.known_upload(session, token)
    row.sha256, row.size, row.received = blob.sha256, blob.size, blob.size
    session.flush()
    return row


def keep(filename: str, stream: BinaryIO) -> Blob:
    """Store the content of a file that came whole; needs no transaction, and takes as long as the file is large.

    Raises:
        FieldError: it has no name, or is empty.
        TooLarge: it is larger than the installation allows.
        StorageFull: no space is left.
    """
    name = _checked_name(filename)
    blob = get_blobs().put(stream, max_bytes=get_settings().max_upload_bytes)
    if blob.size == 0:
        raise FieldError("files", f"“{name}” is empty (0 bytes). Choose the file again.")
    return blob


def note(session: Session, project_id: int, user: User | None, filename: str, blob: Blob) -> Upload:
    """Record a stored file as a finished upload.

    Raises:
        FieldError: it has no name.
    """
    row = Upload(project_id=project_id, token=secrets.token_hex(16), filename=_checked_name(filename), size=blob.size)
    row.received, row.sha256, row.created_by = blob.size, blob.sha256, user.id if user else None
    return repository.add_upload(session, row)


def _checked_name(filename: str) -> str:
    name = filename.replace("\\", "/").rpartition("/")[2].strip()
    if not name:
        raise FieldError("filename", "The file has no name.")
    return name[-200:]
