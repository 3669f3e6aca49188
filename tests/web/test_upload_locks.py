"""Files that arrive hold no transaction open: other people go on writing meanwhile."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import uvicorn
from fastapi import FastAPI

from app.errors import StorageFull
from app.services import accounts, uploads
from app.store.blobs import Blob
from app.store.durable import NO_SPACE
from app.store.models import Project, Upload, User
from app.store.session import reading, transaction
from tests.factories import People, Signed, create_project

PATIENCE = 2.0


@pytest.fixture
def port(installation: Path, application: FastAPI) -> Iterator[int]:
    """A real server, to which bytes can be sent slowly."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(application, port=free, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield free
    server.should_exit = True
    thread.join()


def writes_pass() -> bool:
    """Whether another writer gets through at once."""
    done = threading.Event()

    def write() -> None:
        with transaction() as session:
            create_project(session, "Meanwhile")
        done.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return done.wait(PATIENCE)


def token_of(people: People) -> str:
    with transaction() as session:
        return accounts.create_token(session, session.get_one(User, people.ids["analyst"]), "script").secret


@pytest.mark.parametrize("kind", ["form", "piece"])
def test_a_slow_sender_keeps_nobody_waiting(people: People, port: int, kind: str) -> None:
    secret = token_of(people)
    with transaction() as session:
        upload = uploads.start(session, people.project_id, session.get_one(User, people.ids["analyst"]), "a.zip", 1000)
    line = http.client.HTTPConnection("127.0.0.1", port)
    if kind == "form":
        line.putrequest("POST", "/datasets/new")
        line.putheader("Content-Type", "multipart/form-data; boundary=b")
    else:
        line.putrequest("PATCH", f"/api/v1/uploads/{upload.token}")
        line.putheader("Upload-Offset", "0")
    line.putheader("Authorization", f"Bearer {secret}")
    line.putheader("Content-Length", "1000")
    line.endheaders(b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.zip"\r\n\r\nPK')
    time.sleep(0.3)
    assert writes_pass()
    line.close()


def test_nobody_waits_while_a_file_is_copied_into_the_store(
    analyst: Signed, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = []
    keep = uploads.keep

    def slow(filename: str, stream: BinaryIO) -> Blob:
        passed.append(writes_pass())
        return keep(filename, stream)

    monkeypatch.setattr(uploads, "keep", slow)
    form = {"project_id": str(people.project_id), "name": "Garden"}
    assert analyst.post("/datasets/new", form, files=[("files", ("a.zip", b"PK"))]).status_code == 303
    model = [("files", ("a.pth", b"\x80\x02}q\x00."))]
    assert analyst.post("/models/new", form, files=model).status_code == 422
    assert passed == [True, True]


@pytest.mark.parametrize("step", ["append", "finish"])
def test_nobody_waits_while_a_piece_is_written(
    analyst: Signed, people: People, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    passed = []
    real = getattr(uploads, step)

    def slow(*arguments: object) -> object:
        passed.append(writes_pass())
        return real(*arguments)

    monkeypatch.setattr(uploads, step, slow)
    begun = {"project_id": people.project_id, "filename": "a.zip", "size": 2}
    path = f"/api/v1/uploads/{analyst.send('POST', '/api/v1/uploads', json=begun).json()['token']}"
    analyst.send("PATCH", path, content=b"PK", headers={"Upload-Offset": "0"})
    assert analyst.send("POST", f"{path}/finish").json()["sha256"]
    assert passed == [True]


def test_an_error_in_one_file_keeps_those_before_it(analyst: Signed, people: People) -> None:
    form = {"project_id": str(people.project_id), "name": "Garden für alle"}
    files = [("files", ("one.tar", b"123")), ("files", ("empty.tar", b""))]
    page = analyst.post("/datasets/new", form, files=files)
    assert page.status_code == 422
    assert "“empty.tar” is empty" in page.text
    assert "one.tar is here already" in page.text
    assert "Garden für alle" in page.text


def test_a_full_disk_keeps_what_was_typed(analyst: Signed, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(filename: str, stream: BinaryIO) -> Blob:
        raise StorageFull(NO_SPACE)

    monkeypatch.setattr(uploads, "keep", full)
    form = {"project_id": str(people.project_id), "name": "Garden für alle"}
    page = analyst.post("/datasets/new", form, files=[("files", ("one.tar", b"123"))])
    assert page.status_code == 507
    assert NO_SPACE in page.text
    assert "Garden für alle" in page.text
    with reading() as session:
        assert session.query(Upload).count() == 0
        assert session.query(Project).count() == 1
