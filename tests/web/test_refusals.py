"""Audits that cannot succeed are refused when they are asked for: by the form, the API and the command line alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from app.cli import commands
from app.errors import FaultlineError
from app.loaders.models.predictions_ids import hashed
from app.services import keys
from app.store.models import AuditRun, Checkpoint
from app.store.places import get_artifacts
from app.store.session import reading, transaction
from tests.factories import People, Signed, create_dataset, create_version

SHA = "ab" * 32


def _artifact(key: str, *, images: bool = True, embeddings: bool = False) -> str:
    ids = [f"example-{row}" for row in range(90)]
    with get_artifacts().write(key) as folder:
        (folder / "packs.json").write_text('["aa"]' if images else "[]")
        pq.write_table(pa.table({"row": np.arange(90), "example_id": ids}), folder / "manifest.parquet")
        if embeddings:
            np.save(folder / "embeddings.npy", np.zeros((90, 2), np.float32))
    return key


def _table_of(ids: list[str]) -> None:
    with get_artifacts().write(keys.prediction_ids_key(SHA)) as folder:
        np.save(folder / "ids.npy", np.sort(hashed(ids)))


def _place(project_id: int, *, data: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Store a data set and a version; return the request of an audit of them."""
    stated = {"format": "onnx", "classes": ["finch", "robin", "wren"], "penultimate": True} | spec
    with transaction() as session:
        dataset = create_dataset(session, project_id, artifact_key=_artifact("ingest-1-here", **data))
        version = create_version(session, project_id, spec=stated, format=stated["format"])
        session.add(Checkpoint(version_id=version.id, position=0, filename="p.csv", sha256=SHA, size=1))
        return {"model_version_id": version.id, "dataset_id": dataset.id, "split": "test", "train_split": "train"}


CASES: list[tuple[dict[str, Any], dict[str, Any], str, str, str]] = [
    ({}, {}, "given", "encoder", "“Garden” brought no embeddings of its own"),
    ({}, {"penultimate": False}, "penultimate", "encoder", "This model hides its penultimate layer"),
    ({}, {"format": "predictions"}, "penultimate", "encoder", "This model is a table of predictions"),
    ({}, {}, "local-dir:/etc", "encoder", "outside the import roots"),
    ({}, {}, "open_clip:ViT-B-32/nothing", "encoder", "open_clip lists no “ViT-B-32/nothing”"),
    ({}, {}, "magic", "encoder", "There is no encoder “magic”"),
    ({"images": False}, {}, "scenes", "model_version_id", "“Garden” has no images"),
    ({"images": False}, {"format": "predictions"}, "scenes", "encoder", "no images to embed"),
    ({}, {"classes": ["dog", "fox"]}, "scenes", "dataset_id", "(finch, robin, wren) and the model's (dog, fox)"),
]


@pytest.mark.parametrize(("data", "spec", "encoder", "field", "words"), CASES)
def test_all_three_entrances_say_the_same(
    analyst: Signed,
    people: People,
    monkeypatch: pytest.MonkeyPatch,
    data: dict[str, Any],
    spec: dict[str, Any],
    encoder: str,
    field: str,
    words: str,
) -> None:
    request = _place(people.project_id, data=data, **spec) | {"encoder": encoder}
    answer = analyst.send("POST", f"/api/v1/runs?project_id={people.project_id}", json=request)
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert words in error["message"]
    form = {"project_id": str(people.project_id), "model_version": str(request["model_version_id"])}
    form |= {"data": f"{request['dataset_id']}/test", "encoder": encoder, "seed": "0"}
    page = analyst.post("/audits/new", form)
    assert page.status_code == 422
    monkeypatch.setenv("FAULTLINE_USER", "owner@example.org")
    arguments = ["audit", "Feathers", "Garden", "--encoder", encoder, "--no-wait"]
    done = CliRunner().invoke(commands, arguments)
    assert isinstance(done.exception, FaultlineError)
    assert done.exception.message == error["message"]
    with reading() as session:
        assert session.query(AuditRun).count() == 0


def test_what_is_there_is_accepted(analyst: Signed, people: People) -> None:
    request = _place(people.project_id, data={"images": False, "embeddings": True}, format="predictions")
    answer = analyst.send("POST", f"/api/v1/runs?project_id={people.project_id}", json=request | {"encoder": "given"})
    assert answer.status_code == 201


def test_a_table_of_predictions_has_to_speak_of_the_audited_split(analyst: Signed, people: People) -> None:
    request = _place(people.project_id, data={}, format="predictions")
    path = f"/api/v1/runs?project_id={people.project_id}"
    _table_of([f"example-{row}" for row in range(30, 90)])
    answer = analyst.send("POST", path, json=request)
    assert answer.status_code == 422
    assert "none of the 30 examples of “Garden” / test: ids here look like “example-0”" in answer.text
    assert analyst.send("POST", path, json=request | {"split": "train", "train_split": ""}).status_code == 201


def test_the_page_says_it_before_the_button_is_pressed(analyst: Signed, people: People) -> None:
    request = _place(people.project_id, data={})
    query = f"model_version={request['model_version_id']}&data={request['dataset_id']}/test&encoder=given"
    page = analyst.get(f"/api/v1/audits/new?{query}").json()
    assert "brought no embeddings" in page["problem"]
    assert page["work"] == []
