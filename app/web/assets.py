"""Static files: at URLs that change with their content, so browsers keep them for ever; large ones ready compressed."""

from __future__ import annotations

import gzip
import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from app.errors import NotFound
from app.resources import resource
from app.web.styles import BUNDLE, style_sheet
from app.web.templating import static_version

mimetypes.add_type("font/woff2", ".woff2")
mimetypes.add_type("text/javascript", ".js")

router = APIRouter(include_in_schema=False)
_FOREVER = "public, max-age=31536000, immutable"
_PACKED = {"br": ".br", "gzip": ".gz"}


@router.get("/static/{version}/{path:path}")
def static_file(request: Request, version: str, path: str) -> Response:
    """Return a static file; an old version's URL gives the present file, kept for a short time only."""
    root = resource("static").resolve()
    wanted = (root / path).resolve()
    if not wanted.is_relative_to(root):
        raise NotFound("There is no such file.")
    headers = {"Cache-Control": _FOREVER if version == static_version() else "public, max-age=60"}
    if path == BUNDLE:
        return Response(style_sheet(), media_type="text/css", headers=headers)
    media = mimetypes.guess_type(wanted.name)[0] or "application/octet-stream"
    if wanted.is_file():
        return FileResponse(wanted, media_type=media, headers=headers)
    return _packed(request, wanted, media, headers)


def _packed(request: Request, wanted: Path, media: str, headers: dict[str, str]) -> Response:
    accepted = request.headers.get("Accept-Encoding", "")
    headers |= {"Vary": "Accept-Encoding"}
    for coding, suffix in _PACKED.items():
        packed = wanted.with_name(wanted.name + suffix)
        if coding in accepted and packed.is_file():
            return FileResponse(packed, media_type=media, headers=headers | {"Content-Encoding": coding})
    packed = wanted.with_name(wanted.name + ".gz")
    if not packed.is_file():
        raise NotFound("There is no such file.")
    return Response(gzip.decompress(packed.read_bytes()), media_type=media, headers=headers)
