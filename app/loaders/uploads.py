"""Uploads that come in pieces: streamed to a file, hashed on the way, resumable after any break."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import uuid
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path

from app.errors import Conflict, NotFound, TooLarge, UserError
from app.store.blobs import CHUNK_BYTES, Blob, BlobStore
from app.store.durable import storage_errors, sync_file

_ID = re.compile(r"[0-9a-f]{32}")
_OPEN_HASHES = 64


@dataclass(frozen=True)
class UploadInfo:
    """What the person announced: the file's name, its size in bytes, and its SHA-256 where known."""

    name: str
    size: int | None = None
    sha256: str | None = None


class Uploads:
    """All unfinished uploads, in one folder; a part that came stays until it is finished or dropped.

    One instance serves one process. A restarted process goes on with the files that it finds.
    """

    def __init__(self, folder: Path, blobs: BlobStore, max_bytes: int) -> None:
        self.folder = folder
        self.blobs = blobs
        self.max_bytes = max_bytes
        self._sessions: OrderedDict[str, UploadSession] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, info: UploadInfo) -> UploadSession:
        """Begin an upload.

        Raises:
            TooLarge: the announced size is over the limit.
            StorageFull: no space is left.
        """
        if info.size is not None and info.size > self.max_bytes:
            raise TooLarge(f"'{info.name}' has {info.size:,} bytes; the limit is {self.max_bytes:,}.")
        upload_id = uuid.uuid4().hex
        with storage_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            _part(self.folder, upload_id).touch(mode=0o600)
            _note(self.folder, upload_id).write_text(json.dumps(asdict(info)))
        return self.resume(upload_id)

    def resume(self, upload_id: str) -> UploadSession:
        """Return an unfinished upload, with the offset from which to send on.

        Raises:
            NotFound: there is none with this id.
        """
        if not _ID.fullmatch(upload_id) or not _note(self.folder, upload_id).is_file():
            raise NotFound("There is no such unfinished upload; start it again.")
        with self._lock:
            session = self._sessions.pop(upload_id, None) or UploadSession(self, upload_id)
            self._sessions[upload_id] = session
            while len(self._sessions) > _OPEN_HASHES:
                self._sessions.popitem(last=False)
        return session

    def forget(self, upload_id: str) -> None:
        """Remove the files of a finished or dropped upload."""
        with self._lock:
            self._sessions.pop(upload_id, None)
        _part(self.folder, upload_id).unlink(missing_ok=True)
        _note(self.folder, upload_id).unlink(missing_ok=True)


class UploadSession:
    """One unfinished upload."""

    def __init__(self, uploads: Uploads, upload_id: str) -> None:
        self.id = upload_id
        self._uploads = uploads
        self._path = _part(uploads.folder, upload_id)
        self.info = UploadInfo(**json.loads(_note(uploads.folder, upload_id).read_text()))
        self._digest, self._offset = _hash_part(self._path)
        self._stored: Blob | None = None
        self._lock = threading.Lock()

    @property
    def offset(self) -> int:
        """Bytes that have come; the next piece starts here."""
        return self._offset

    def append(self, offset: int, data: bytes) -> int:
        """Add one piece that starts at `offset`; return the new offset.

        Raises:
            Conflict: the piece does not start where the last one ended.
            TooLarge: more came than was announced or is allowed.
            StorageFull: no space is left; what came before stays, and the upload can go on later.
        """
        with self._lock:
            if offset != self._offset:
                raise Conflict(f"This piece starts at byte {offset:,}; send on from byte {self._offset:,}.")
            self._require_room(len(data))
            with storage_errors():
                self._write(data)
            self._digest.update(data)
            self._offset += len(data)
            return self._offset

    def finish(self) -> Blob:
        """Store the whole file and end the upload; who asks again while it is stored gets the same answer.

        Raises:
            UserError: bytes are missing (send on from `offset`), or it arrived damaged (start again).
            StorageFull: no space is left; finish again later.
        """
        with self._lock:
            if self._stored is not None:
                return self._stored
            size, expected = self.info.size, self.info.sha256
            if size is not None and self._offset < size:
                raise UserError(
                    f"'{self.info.name}' is incomplete: {self._offset:,} of {size:,} bytes came. "
                    f"Send on from byte {self._offset:,}."
                )
            sha256 = self._digest.hexdigest()
            if expected is not None and sha256 != expected.lower():
                self._uploads.forget(self.id)
                raise UserError(f"'{self.info.name}' arrived damaged: its SHA-256 differs. Upload it again.")
            with storage_errors():
                sync_file(self._path)
                blob = self._uploads.blobs.put_file(self._path, move=True, known_sha256=sha256)
            self._stored = blob
            self._uploads.forget(self.id)
            return blob

    def _require_room(self, more: int) -> None:
        announced = self.info.size
        if announced is not None and self._offset + more > announced:
            raise TooLarge(f"'{self.info.name}' was announced with {announced:,} bytes, and more came.")
        if self._offset + more > self._uploads.max_bytes:
            raise TooLarge(f"'{self.info.name}' is larger than the limit of {self._uploads.max_bytes:,} bytes.")

    def _write(self, data: bytes) -> None:
        """Write all of `data` or none: a piece that did not fit is cut off, so that hash and file agree."""
        with self._path.open("r+b", buffering=0) as target:
            target.seek(self._offset)
            try:
                _write_all(target.fileno(), data)
            except OSError:
                target.truncate(self._offset)
                raise


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _hash_part(path: Path) -> tuple[hashlib._Hash, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest, size


def _part(folder: Path, upload_id: str) -> Path:
    return folder / f"{upload_id}.part"


def _note(folder: Path, upload_id: str) -> Path:
    return folder / f"{upload_id}.json"
