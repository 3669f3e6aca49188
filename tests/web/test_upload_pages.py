"""Files that arrive: in pieces, with breaks, whole with a form; and what a form keeps after an error."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.services import uploads
from app.store.places import get_blobs
from app.store.repositories import datasets, registry
from app.store.session import reading
from tests.factories import People, Signed

CONTENT = bytes(range(256)) * 40


def safetensors(metadata: dict[str, str] | None = None) -> bytes:
    """Return a tiny, valid safetensors file."""
    header = {"__metadata__": metadata or {}, "weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + b"\0\0\0\0"


def _begin(browser: Signed, project: int, size: int = len(CONTENT), **more: object):
    json_ = {"project_id": project, "filename": "birds.zip", "size": size, **more}
    return browser.send("POST", "/api/v1/uploads", json=json_)


def _piece(browser: Signed, token: str, offset: int, data: bytes):
    return browser.send("PATCH", f"/api/v1/uploads/{token}", content=data, headers={"Upload-Offset": str(offset)})


def test_pieces_make_the_file(analyst: Signed, people: People) -> None:
    token = _begin(analyst, people.project_id).json()["token"]
    assert _piece(analyst, token, 0, CONTENT[:4000]).json()["offset"] == 4000
    assert _piece(analyst, token, 4000, CONTENT[4000:]).json()["offset"] == len(CONTENT)
    done = analyst.send("POST", f"/api/v1/uploads/{token}/finish").json()
    assert done["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert get_blobs().local(done["sha256"]).read_bytes() == CONTENT
    again = analyst.send("POST", f"/api/v1/uploads/{token}/finish").json()
    assert again == done


def test_a_broken_upload_goes_on_where_it_stopped(analyst: Signed, people: People) -> None:
    token = _begin(analyst, people.project_id).json()["token"]
    _piece(analyst, token, 0, CONTENT[:1000])
    uploads._uploads.cache_clear()  # as a restarted server finds it
    assert analyst.get(f"/api/v1/uploads/{token}").json()["offset"] == 1000
    twice = _piece(analyst, token, 0, CONTENT[:1000])
    assert twice.status_code == 409
    assert "send on from byte 1,000" in twice.json()["error"]["message"]
    early = analyst.send("POST", f"/api/v1/uploads/{token}/finish")
    assert early.status_code == 422
    _piece(analyst, token, 1000, CONTENT[1000:])
    assert analyst.send("POST", f"/api/v1/uploads/{token}/finish").status_code == 200


def test_damage_on_the_way_is_noticed(analyst: Signed, people: People) -> None:
    token = _begin(analyst, people.project_id, sha256="0" * 64).json()["token"]
    _piece(analyst, token, 0, CONTENT)
    assert analyst.send("POST", f"/api/v1/uploads/{token}/finish").status_code == 422


def test_a_piece_that_is_too_large_is_refused(analyst: Signed, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_PIECE_BYTES", 100)
    token = _begin(analyst, people.project_id).json()["token"]
    assert _piece(analyst, token, 0, CONTENT).status_code == 413
    assert analyst.get(f"/api/v1/uploads/{token}").json()["offset"] == 0


@pytest.mark.parametrize("role", ["viewer", "outsider"])
def test_who_may_not_add_may_not_upload(client: TestClient, people: People, role: str) -> None:
    assert _begin(people.sign_in(client, role), people.project_id).status_code == {"viewer": 403, "outsider": 404}[role]


def test_an_upload_is_its_senders_alone(client: TestClient, analyst: Signed, people: People) -> None:
    token = _begin(analyst, people.project_id).json()["token"]
    owner = people.sign_in(client, "owner")
    assert owner.get(f"/api/v1/uploads/{token}").status_code == 404
    assert _piece(owner, token, 0, CONTENT).status_code == 404


def test_a_script_of_a_page_needs_the_csrf_token(client: TestClient, analyst: Signed, people: People) -> None:
    json_ = {"project_id": people.project_id, "filename": "x", "size": 1}
    answer = client.post("/api/v1/uploads", json=json_, headers={"Cookie": f"faultline_session={analyst.token}"})
    assert answer.status_code == 403


def test_an_empty_file_is_refused_by_name(analyst: Signed, people: People) -> None:
    answer = _begin(analyst, people.project_id, size=0)
    assert answer.status_code == 422
    assert "“birds.zip” is empty" in answer.json()["error"]["message"]


def _model_form(people: People, **fields: str) -> dict[str, str]:
    base = {"project_id": str(people.project_id), "name": "Feathers", "architecture": "cifar_resnet20"}
    return {**base, **fields}


def test_a_model_comes_with_the_form(analyst: Signed, people: People) -> None:
    files = [("files", ("a.safetensors", safetensors())), ("files", ("b.safetensors", safetensors({"epoch": "2"})))]
    fields = {"classes": "finch\nrobin\n", "height": "32", "accuracy": "93.5", "mean": "0.5 0.5 0.5"}
    fields["recipe"] = '{"epochs": 12, "learning_rate": 0.1, "mirror": true}'
    answer = analyst.post("/models/new", _model_form(people, **fields), files=files)
    assert answer.status_code == 303, answer.text
    twin = analyst.get("/api/v1" + answer.headers["location"]).json()
    assert twin["format"] == "safetensors"
    assert [c["filename"] for c in twin["checkpoints"]] == ["a.safetensors", "b.safetensors"]
    assert twin["classes"] == ["finch", "robin"]
    assert twin["preprocessing"]["size"] == [32, 32]
    assert twin["claimed"] == pytest.approx(0.935)
    assert set(twin["given"]) >= {"classes", "preprocessing.size", "preprocessing.mean"}
    assert "preprocessing.std" not in twin["given"]
    assert (twin["recipe"]["epochs"], twin["recipe"]["mirror"], twin["recipe"]["optimiser"]) == (12, True, "sgd")
    assert "Training recipe" in analyst.get(answer.headers["location"]).text


def test_an_architecture_left_open_is_looked_for_in_the_file(analyst: Signed, people: People) -> None:
    files = [("files", ("a.safetensors", safetensors()))]
    answer = analyst.post("/models/new", _model_form(people, architecture=""), files=files)
    twin = analyst.get("/api/v1" + answer.headers["location"]).json()
    assert twin["architecture"] == ""
    assert twin["status"] == "queued"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"accuracy": "lots"}, "is not a number"),
        ({"classes": "finch\nfinch"}, "occurs twice"),
        ({"mean": "0.5, 0.5"}, "one per channel"),
        ({"name": " "}, "Give the model a name"),
        ({"architecture": "[{"}, "not JSON"),
        ({"recipe": '{"epochs": 3'}, "not a JSON object such as"),
        ({"recipe": '{"epochs": 3, "learning_rate": 0}'}, "recipe&#39;s learning_rate: input should be greater than 0"),
    ],
)
def test_an_error_loses_neither_words_nor_files(
    analyst: Signed, people: People, fields: dict[str, str], said: str
) -> None:
    form = _model_form(people, description="Garden birds", **fields)
    answer = analyst.post("/models/new", form, files=[("files", ("a.safetensors", safetensors()))])
    assert answer.status_code == 422
    assert said in answer.text
    assert "Garden birds" in answer.text
    assert "a.safetensors is here already" in answer.text
    token = answer.text.split('name="files_token" value="')[1].split('"')[0]
    mended = _model_form(people, files_token=token)
    assert analyst.post("/models/new", mended).status_code == 303
    with reading() as session:
        assert len(registry.page(session, [people.project_id])) == 1


def test_a_pickle_is_refused_with_the_way_to_convert(analyst: Signed, people: People) -> None:
    files = [("files", ("weights.pth", b"\x80\x02}q\x00."))]
    answer = analyst.post("/models/new", _model_form(people), files=files)
    assert answer.status_code == 422
    assert "save_file" in answer.text
    assert analyst.get("/api/v1/models").json()["models"] == []


def test_a_second_version_keeps_the_model(analyst: Signed, people: People) -> None:
    files = [("files", ("a.safetensors", safetensors()))]
    first = analyst.post("/models/new", _model_form(people), files=files).headers["location"]
    model = first.split("/")[2]
    form = {"model_id": model, "architecture": "cifar_resnet20", "project_id": str(people.project_id)}
    assert analyst.post("/models/new", form, files=files).headers["location"] == f"/models/{model}/versions/2"


def test_a_data_set_comes_with_the_form(analyst: Signed, people: People) -> None:
    fields = {"project_id": str(people.project_id), "name": "Garten für Vögel", "layout": "split/class"}
    files = [("files", ("vögel 1.zip", b"PK\x05\x06" + bytes(18)))]
    answer = analyst.post("/datasets/new", fields, files=files)
    assert answer.status_code == 303, answer.text
    with reading() as session:
        dataset = datasets.get(session, int(answer.headers["location"].split("/")[2]))
        assert dataset is not None
        assert dataset.source["options"] == {"layout": "split/class"}
        assert len(dataset.source["uploads"]) == 1
    assert "Garten für Vögel" in analyst.get(answer.headers["location"]).text


@pytest.mark.parametrize("place", ["/etc", "../../etc", "s3://elsewhere/x", "file:///etc"])
def test_the_server_reads_only_below_its_roots(
    analyst: Signed, people: People, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.settings import get_settings

    monkeypatch.setattr(get_settings(), "import_roots", [str(tmp_path / "data")])
    fields = {"project_id": str(people.project_id), "name": "Birds", "url": place}
    answer = analyst.post("/datasets/new", fields)
    assert answer.status_code == 422
    assert place in answer.text


def test_scripts_register_models_and_data_sets(analyst: Signed, people: People) -> None:
    data = safetensors()
    token = _begin(analyst, people.project_id, size=len(data)).json()["token"]
    _piece(analyst, token, 0, data)
    wanted = {"project_id": people.project_id, "name": "Claws", "architecture": "cifar_resnet20", "uploads": [token]}
    early = analyst.send("POST", "/api/v1/models", json=wanted)
    assert early.status_code == 422
    assert "is not here yet" in early.json()["error"]["message"]
    analyst.send("POST", f"/api/v1/uploads/{token}/finish")
    made = analyst.send("POST", "/api/v1/models", json=wanted)
    assert made.status_code == 201
    assert made.json()["number"] == 1
    dataset = {"project_id": people.project_id, "name": "Pond", "uploads": [token]}
    assert analyst.send("POST", "/api/v1/datasets", json=dataset).json()["status"] == "queued"
