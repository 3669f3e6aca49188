"""Uploads in pieces, for scripts and for static/js/upload.js: begin, send on, finish; resumable after any break."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import BaseModel, Field

from app.errors import TooLarge
from app.services import uploads
from app.store.models import Upload
from app.store.session import transaction
from app.web.deps import Looking, Me, ProjectAccess
from app.web.twins import Pages

pages = Pages("Uploads")


class NewUpload(BaseModel):
    """A file that will be sent."""

    project_id: int
    filename: str
    size: int = Field(description="Bytes.")
    sha256: str | None = Field(None, description="Checked at the end where it is given.")


class UploadState(BaseModel):
    """How far an upload is."""

    token: str = Field(description="Names the upload from now on.")
    filename: str
    size: int
    offset: int = Field(description="Where the next piece begins.")
    sha256: str = Field(description="The content's hash once the upload is finished, else empty.")


async def piece(request: Request, _me: Me) -> bytes:
    """Return the body, one bounded piece of a file."""
    parts, held = [], 0
    async for part in request.stream():
        held += len(part)
        if held > uploads.MOST_PIECE_BYTES:
            raise TooLarge(f"A piece holds at most {uploads.MOST_PIECE_BYTES:,} bytes; send the file in more pieces.")
        parts.append(part)
    return b"".join(parts)


@pages.api.post("/uploads", status_code=201)
def begin(access: ProjectAccess, new: NewUpload) -> UploadState:
    """Begin an upload; send its bytes in pieces afterwards."""
    access.project(new.project_id, "analyst")
    return _state(uploads.start(access.session, new.project_id, access.user, new.filename, new.size, new.sha256))


@pages.api.get("/uploads/{token}")
def progress(access: ProjectAccess, token: str) -> UploadState:
    """How far an upload is; send on from `offset`."""
    return _state(access.upload(token))


@pages.api.patch("/uploads/{token}")
def send(
    data: Annotated[bytes, Depends(piece)],
    access: Looking,
    token: str,
    offset: Annotated[int, Header(alias="Upload-Offset")],
) -> UploadState:
    """Add the piece that begins at the byte in the header Upload-Offset; the body is the piece, at most 32 MiB."""
    upload = access.upload(token)
    received = uploads.append(upload, offset, data)
    with transaction() as session:
        return _state(uploads.note_received(session, token, received))


@pages.api.post("/uploads/{token}/finish")
def finish(access: Looking, token: str) -> UploadState:
    """Store the whole file under its content hash."""
    blob = uploads.finish(access.upload(token))
    with transaction() as session:
        return _state(uploads.note_stored(session, token, blob))


def _state(upload: Upload) -> UploadState:
    offset = uploads.offset_of(upload)
    return UploadState(
        token=upload.token, filename=upload.filename, size=upload.size, offset=offset, sha256=upload.sha256
    )
