"""What a run's kinds hand out as files of numbers."""

from __future__ import annotations

from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from app import audits
from app.audits.base import RunFile
from app.errors import NotFound
from app.services.array_file import MEDIA, npz_pieces
from app.store.places import get_artifacts
from app.web.deps import ProjectAccess
from app.web.pages.results_run import home, open_run
from app.web.reader import LiveReader
from app.web.twins import Pages

pages = Pages("Files of a run")


class FileRow(BaseModel):
    """A file of a run."""

    name: str
    title: str
    href: str


def file_rows(reader: LiveReader) -> list[FileRow]:
    """Return the files of a run as a page lists them."""
    return [
        FileRow(name=one.name, title=one.title, href=f"{home(reader.run)}/files/{one.name}") for one in files_of(reader)
    ]


def files_of(reader: LiveReader) -> list[RunFile]:
    """Return the files of all kinds of a run."""
    known = audits.kinds()
    return [one for name in reader.run.kinds if name in known for one in known[name].files(reader)]


@pages.html.get("/runs/{run_id}/files/{name}")
@pages.api.get("/runs/{run_id}/files/{name}", response_class=Response)
def run_file(access: ProjectAccess, run_id: int, name: str) -> Response:
    """Numbers of a run as an .npz file with a README.txt."""
    reader = open_run(access, run_id)
    found = files_of(reader)
    chosen = next((one for one in found if one.name == name), None)
    if chosen is None:
        there = ", ".join(one.name for one in found) or "none"
        raise NotFound(f"This run has no file “{name}”. It has: {there}.")
    manifest = get_artifacts().local(reader.dataset.artifact_key) / "manifest.parquet"
    attached = {"Content-Disposition": f'attachment; filename="run-{run_id}-{name}"'}
    return StreamingResponse(npz_pieces(chosen.read(), manifest), media_type=MEDIA, headers=attached)
