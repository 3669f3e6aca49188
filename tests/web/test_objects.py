"""Data sets with their pictures, model versions with what the smoke run proposes, and the form of a new audit."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.services import queue
from app.store.models import AuditRun, Membership, ModelVersion, Verdict
from app.store.models.base import utcnow
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import datasets, registry
from app.store.repositories.findings import SUBJECT
from app.store.session import reading, transaction
from app.web.templating import duration
from tests.factories import People, Signed, create_dataset, create_run, create_slice, create_stage, create_version
from tests.results_fixture import Built, build


@pytest.fixture
def built(people: People) -> Built:
    """A finished run with pictures, whose project the analyst and the viewer of `people` belong to as well."""
    with transaction() as session:
        made = build(session, get_artifacts(), get_blobs(), per_class=30)
        for role in ("analyst", "viewer"):
            session.add(Membership(project_id=made.project_id, user_id=people.ids[role], role=role))
        return made


@pytest.mark.parametrize(("kind", "media"), [("thumbs", "image/webp"), ("images", "image/")])
def test_pictures_are_for_members(client: TestClient, people: People, built: Built, kind: str, media: str) -> None:
    path = f"/datasets/{built.dataset_id}/{kind}/3"
    answer = people.sign_in(client, "viewer").get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media)
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert people.sign_in(client, "outsider").get(path).status_code == 404
    assert client.get(path).status_code == 303
    tag = answer.headers["etag"]
    again = people.sign_in(client, "viewer").get(path, headers={"If-None-Match": tag})
    assert again.status_code == 304
    assert again.content == b""
    refused = people.sign_in(client, "outsider").get(path, headers={"If-None-Match": tag})
    assert refused.status_code == 404


@pytest.mark.parametrize("row", ["-1", "99999999", "x"])
def test_there_is_no_such_picture(analyst: Signed, built: Built, row: str) -> None:
    assert analyst.get(f"/datasets/{built.dataset_id}/thumbs/{row}").status_code == 404


def test_pictures_page_by_split_and_class(analyst: Signed, built: Built) -> None:
    path = f"/api/v1/datasets/{built.dataset_id}"
    first = analyst.get(path).json()
    assert first["split"] == "train"
    assert len(first["thumbs"]) == 60
    second = analyst.get("/api/v1" + first["next"].partition("#")[0]).json()
    assert second["thumbs"][0]["src"].endswith("/thumbs/60")
    cats = first["classes"][2]
    only = analyst.get(path, params={"split": "val", "label": cats["index"]}).json()
    assert {thumb["text"] for thumb in only["thumbs"]} == {cats["name"]}
    assert int(only["thumbs"][0]["src"].rpartition("/")[2]) >= first["splits"][1]["start"]


def test_the_integrity_report_is_told_in_sentences_worst_first(client: TestClient, people: People) -> None:
    items = [
        {"kind": "a", "severity": "info", "sentence": "12 images are grey.", "count": 12},
        {"kind": "b", "severity": "error", "sentence": "Class “wren” has no rows.", "count": 1, "examples": ["wren"]},
    ]
    aside = [{"path": "finch/<x>.png", "reason": "it is cut off"}]
    with transaction() as session:
        report = {"items": items, "set_aside": aside, "set_aside_count": 3}
        dataset = create_dataset(session, people.project_id, integrity=report)
    page = people.sign_in(client, "viewer").get(f"/datasets/{dataset.id}").text
    assert page.index("Class “wren” has no rows.") < page.index("12 images are grey.")
    assert "finch/&lt;x&gt;.png" in page
    assert "3 files set aside" in page
    assert "The first 1 are listed." in page


def test_a_failed_import_can_be_read_again(analyst: Signed, people: People) -> None:
    with transaction() as session:
        failed = create_dataset(session, people.project_id, status="failed", error="The zip is cut off.")
        whole = create_dataset(session, people.project_id, name="Whole")
    assert "The zip is cut off." in analyst.get(f"/datasets/{failed.id}").text
    again = analyst.post(f"/datasets/{failed.id}/again")
    assert analyst.get("/api/v1" + again.headers["location"]).json()["status"] == "queued"
    assert analyst.post(f"/datasets/{whole.id}/again").status_code == 409


SMOKE: dict[str, Any] = {
    "input_shape": [8, 3, 32, 32],
    "output_shape": [8, 3],
    "outputs": "logits",
    "milliseconds": 1.25,
    "accuracy": {"name": "as declared", "accuracy": 0.34, "correct": 34, "n": 100, "interval": [0.25, 0.44]},
    "claimed": 0.9,
    "agrees": False,
    "predictions": [{"row": 0, "class": "wren", "confidence": 0.5}],
    "warnings": ["The outputs barely differ."],
}


def _spec(order: str) -> dict[str, Any]:
    preprocessing = {"size": [32, 32], "colour_order": order}
    classes = ["finch", "robin", "wren"]
    return {"format": "onnx", "classes": classes, "outputs": "logits", "preprocessing": preprocessing}


@pytest.fixture
def mistaken(people: People) -> ModelVersion:
    """A version whose smoke run found that the colour order explains the claim."""
    better = {"accuracy": 0.91, "correct": 91, "n": 100, "interval": [0.84, 0.95], "explains": True}
    smoke = SMOKE | {"proposal": better | {"spec": _spec("BGR")}}
    claim = {"accuracy": 0.9, "given": ["classes"]}
    with transaction() as session:
        return create_version(session, people.project_id, spec=_spec("RGB"), smoke=smoke, claim=claim)


def test_the_smoke_run_is_told(client: TestClient, people: People, mistaken: ModelVersion) -> None:
    viewer = people.sign_in(client, "viewer")
    path = f"/models/{mistaken.model_id}/versions/1"
    page = viewer.get(path).text
    assert "8 × 3 × 32 × 32" in page
    assert "1.2 ms an image" in page
    assert "The outputs barely differ." in page
    assert "Accept as a new version" not in page
    twin = viewer.get("/api/v1" + path).json()
    assert twin["measured"] == {"value": 0.34, "low": 0.25, "high": 0.44, "n": 100}
    assert twin["proposal"]["changes"] == [{"field": "colour_order", "old": "RGB", "new": "BGR"}]
    assert viewer.post(path + "/accept").status_code == 403


def test_a_proposal_becomes_a_version_with_one_click(analyst: Signed, mistaken: ModelVersion) -> None:
    path = f"/models/{mistaken.model_id}/versions/"
    assert "Accept as a new version" in analyst.get(path + "1").text
    assert analyst.post(path + "1/accept").headers["location"] == path + "2"
    made = analyst.get("/api/v1" + path + "2").json()
    assert made["status"] == "queued"
    assert made["preprocessing"]["colour_order"] == "BGR"
    assert "preprocessing.colour_order" in made["given"]
    assert analyst.get("/api/v1" + path + "1").json()["preprocessing"]["colour_order"] == "RGB"
    assert analyst.post(path + "2/accept").status_code == 409


def _choice(people: People) -> dict[str, str]:
    with transaction() as session:
        version = create_version(session, people.project_id)
        dataset = create_dataset(session, people.project_id)
        return {
            "project_id": str(people.project_id),
            "model_version": str(version.id),
            "data": f"{dataset.id}/test",
            "train": f"{dataset.id}/train",
            "encoder": "scenes",
            "kinds": "slices",
            "slices.methods": "direction",
            "slices.max_slices": "3",
            "slices.sentences": "at night\nin snow",
            "slices.calibrate": "on",
            "seed": "7",
        }


def _stored_run(answer: Any) -> AuditRun:
    with reading() as session:
        return session.get_one(AuditRun, int(answer.headers["location"].rpartition("/")[2]))


def test_the_form_starts_the_audit(analyst: Signed, people: People) -> None:
    run = _stored_run(analyst.post("/audits/new", _choice(people)))
    assert (run.split, run.train_split, run.encoder, run.seed) == ("test", "train", "scenes", 7)
    params = run.params["slices"]
    assert params["methods"] == ["direction"]
    assert params["max_slices"] == 3
    assert params["sentences"] == ["at night", "in snow"]
    assert params["calibrate"] is True
    assert params["compare_encoders"] is False
    assert run.name == "Feathers v1 on Garden / test"
    with reading() as session:
        assert queue.status(session, queue.workflow_id("audit_run", run.id)) == "ENQUEUED"


def test_a_double_click_starts_one_run(analyst: Signed, people: People) -> None:
    form = _choice(people)
    first, second = (analyst.post("/audits/new", form).headers["location"] for _ in range(2))
    assert first == second
    assert analyst.post("/audits/new", form | {"seed": "8"}).headers["location"] != first


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"slices.max_slices": "50"}, "less than or equal to 12"),
        ({"slices.caption_facets": "{"}, "not a JSON object"),
        ({"encoder": "magic"}, "There is no encoder “magic”"),
        ({"data": "1/elsewhere"}, "has no rows in a split"),
        ({"model_version": "999"}, "Choose a model of this project"),
        ({"kinds": "tarot"}, "There is no audit kind “tarot”"),
        ({"seed": "often"}, "valid integer"),
    ],
)
def test_an_error_in_the_audit_form_loses_nothing(
    analyst: Signed, people: People, fields: dict[str, str], said: str
) -> None:
    answer = analyst.post("/audits/new", _choice(people) | fields)
    assert answer.status_code == 422
    assert said in answer.text
    assert "at night\nin snow" in answer.text
    with reading() as session:
        assert session.query(AuditRun).count() == 0


def test_classes_that_share_nothing_are_refused(analyst: Signed, people: People) -> None:
    form = _choice(people)
    with transaction() as session:
        other = create_dataset(session, people.project_id, name="Cars", classes=["bus", "car", "van"])
    answer = analyst.post("/audits/new", form | {"data": f"{other.id}/test", "train": ""})
    assert answer.status_code == 422
    assert "have none in common" in answer.text


def test_work_is_costed_before_it_is_asked_for(analyst: Signed, people: People) -> None:
    form = _choice(people)
    with transaction() as session:
        ids = {"model_version_id": int(form["model_version"]), "dataset_id": int(form["data"].partition("/")[0])}
        run = create_run(session, people.project_id, status="succeeded", **ids)
        began = utcnow().replace(microsecond=0)
        done = {"status": "succeeded", "total": 30, "done": 30, "started_at": began}
        create_stage(session, "run", run.id, finished_at=began.replace(year=began.year + 1), **done)
    page = analyst.post("/audits/new", form | {"estimate": "1"})
    assert page.status_code == 200
    assert "30 computed before" in page.text
    assert "at night\nin snow" in page.text
    query = {"model_version": form["model_version"], "data": form["data"], "train": form["train"]}
    work = analyst.get("/api/v1/audits/new", params=query).json()["work"]
    assert [(w["title"], w["rows"], w["cached"]) for w in work] == [("Predict", 90, 30), ("Embed", 90, 0)]
    assert work[0]["seconds"] > 0


def _with_recipe(form: dict[str, str], recipe: dict[str, Any], form_of_file: str = "safetensors") -> None:
    with transaction() as session:
        version = session.get_one(ModelVersion, int(form["model_version"]))
        version.claim, version.format = {**version.claim, "recipe": recipe}, form_of_file


@pytest.mark.parametrize(
    ("recipe", "form_of_file", "said"),
    [
        ({}, "safetensors", "carries no training recipe"),
        ({"epochs": 3}, "torchscript", "A TorchScript file does not say how to build the network anew"),
    ],
)
def test_retraining_is_refused_beside_its_field_before_a_run_is_made(
    analyst: Signed, people: People, recipe: dict[str, Any], form_of_file: str, said: str
) -> None:
    form = _choice(people) | {"kinds": "datamodels", "datamodels.retrain": "500"}
    _with_recipe(form, recipe, form_of_file)
    answer = analyst.post("/audits/new", form)
    assert answer.status_code == 422
    assert said in answer.text
    assert said in analyst.post("/audits/new", form | {"estimate": "1"}).text
    with reading() as session:
        assert session.query(AuditRun).count() == 0
    assert analyst.post("/audits/new", form | {"datamodels.retrain": "0"}).status_code == 303


def test_images_shown_beside_prediction_are_counted_and_timed_by_prediction(analyst: Signed, people: People) -> None:
    form = _choice(people) | {"kinds": "corruptions", "corruptions.kinds": ["fog", "snow"], "estimate": "1"}
    form |= {"corruptions.severities": ["1", "5"], "corruptions.budget": "quick"}
    dataset, split = form["data"].split("/")
    with reading() as session:
        rows = next(s.stop - s.start for s in datasets.splits(session, int(dataset)) if s.name == split)
    images = min(rows, 200) * 5
    with transaction() as session:
        ids = {"model_version_id": int(form["model_version"]), "dataset_id": int(dataset)}
        run = create_run(session, people.project_id, status="succeeded", **ids)
        began = utcnow().replace(microsecond=0)
        done = {"status": "succeeded", "total": 40, "done": 40, "started_at": began, "name": "predict"}
        create_stage(session, "run", run.id, finished_at=began + timedelta(seconds=80), **done)
    text = re.sub(r"<[^>]+>", " ", analyst.post("/audits/new", form).text)
    assert f"{images:,} images" in text
    assert f"about {duration(2 * images)}" in text
    assert f"{images:,} images" not in analyst.post("/audits/new", form | {"kinds": "slices"}).text


def test_networks_to_train_are_counted_and_timed_by_an_earlier_run(analyst: Signed, people: People) -> None:
    form = _choice(people) | {"kinds": "datamodels", "datamodels.retrain": "500", "datamodels.counterfactuals": "10"}
    form |= {"datamodels.removal_repeats": "3", "estimate": "1"}
    _with_recipe(form, {"epochs": 3, "learning_rate": 0.1})
    page = analyst.post("/audits/new", form)
    assert page.status_code == 200
    assert "Train networks anew</dt>" in page.text
    assert f"{500 + 3 * (1 + 10 * 3)} networks" in page.text
    with transaction() as session:
        ids = {"model_version_id": int(form["model_version"]), "dataset_id": int(form["data"].partition("/")[0])}
        run = create_run(session, people.project_id, status="succeeded", **ids)
        began = utcnow().replace(microsecond=0)
        done = {"status": "succeeded", "total": 40, "done": 40, "started_at": began, "name": "influence:retrain"}
        create_stage(session, "run", run.id, finished_at=began + timedelta(seconds=80), **done)
    text = re.sub(r"<[^>]+>", " ", analyst.post("/audits/new", form).text)
    assert f"about {duration(2 * 593)}" in text
    none = form | {"datamodels.retrain": "0", "datamodels.counterfactuals": "0"}
    assert "Train networks anew" not in analyst.post("/audits/new", none).text
    refused = analyst.post("/audits/new", form | {"datamodels.retrain": "-3"})
    assert "greater than or equal to 0" in refused.text


def test_scripts_start_cancel_and_resume(analyst: Signed, people: People) -> None:
    form = _choice(people)
    wanted = {
        "model_version_id": int(form["model_version"]),
        "dataset_id": int(form["data"].partition("/")[0]),
        "split": "test",
    }
    made = analyst.send("POST", f"/api/v1/runs?project_id={people.project_id}", json=wanted)
    assert made.status_code == 201
    path = f"/api/v1/runs/{made.json()['id']}"
    assert analyst.send("POST", path + "/cancel").json()["status"] == "cancelled"
    assert analyst.send("POST", path + "/resume").json()["status"] == "queued"
    wrong = analyst.send("POST", f"/api/v1/runs?project_id={people.project_id}", json=wanted | {"split": "none"})
    assert wrong.json()["error"]["field"] == "split"


def test_what_belongs_to_another_project_cannot_be_mixed_in(client: TestClient, people: People) -> None:
    owner = people.sign_in(client, "owner")
    owner.post("/projects", {"name": "Mine"})
    mine = max(project["id"] for project in owner.get("/api/v1/home").json()["projects"])
    form = _choice(people) | {"project_id": str(mine)}
    assert "Choose a model of this project" in owner.post("/audits/new", form).text


def test_confirmed_slices_wait_on_home_until_somebody_judges(client: TestClient, people: People) -> None:
    with transaction() as session:
        run = create_run(session, people.project_id, status="succeeded")
        slices = [create_slice(session, run.id, evidence) for evidence in ("confirmed", "confirmed", "insufficient")]
    viewer = people.sign_in(client, "viewer")
    assert [entry["text"][:29] for entry in viewer.get("/api/v1/home").json()["waiting"]] == [
        "2 confirmed slices have no ve"
    ]
    with transaction() as session:
        session.add(
            Verdict(subject_type=SUBJECT, subject_id=slices[0].id, user_id=people.ids["owner"], verdict="accept")
        )
    assert viewer.get("/api/v1/home").json()["waiting"][0]["text"].startswith("1 confirmed slice has")
    assert people.sign_in(client, "outsider").get("/api/v1/home").json()["waiting"] == []


def test_the_report_card_is_composed_of_panels(client: TestClient, people: People, built: Built) -> None:
    page = people.sign_in(client, "viewer").get(f"/runs/{built.run_id}")
    assert page.status_code == 200
    assert "Worst slices" in page.text
    assert "hx-trigger" not in page.text
    with reading() as session:
        assert len(registry.audited(session, built.version_id)) == 1
