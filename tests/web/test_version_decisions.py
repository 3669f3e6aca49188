"""Approving and retiring model versions: who may, what is kept, and what New audit says of it."""

from __future__ import annotations

from tests.web.conftest import Results

VERSION = "/models/1/versions/1"


def test_only_owners_decide(results: Results) -> None:
    for role, status in (("analyst", 403), ("viewer", 403), ("outsider", 404)):
        answer = results.signed(role).post(f"{VERSION}/decide", {"decision": "approved"})
        assert answer.status_code == status
    assert "Approve or retire" not in results.signed("analyst").get(VERSION).text
    assert results.signed("owner").get(f"/api/v1{VERSION}").json()["history"] == []


def test_a_decision_is_kept_with_who_when_and_why(results: Results) -> None:
    owner = results.signed()
    assert owner.post(f"{VERSION}/decide", {"decision": "approved", "note": "meets the bar"}).status_code == 303
    assert owner.post(f"{VERSION}/decide", {"decision": "retired", "note": "worse at night"}).status_code == 303
    page = owner.get(f"/api/v1{VERSION}").json()
    assert page["standing"] == "retired"
    said = [(row["decision"], row["note"], row["user"]) for row in page["history"]]
    assert said == [("retired", "worse at night.", "Ada"), ("approved", "meets the bar.", "Ada")]
    model = owner.get("/api/v1/models/1").json()
    assert model["versions"][0]["standing"] == "retired"
    assert len(model["history"]) == 2
    assert "worse at night." in owner.get("/models/1").text


def test_a_mistake_changes_nothing_and_loses_nothing(results: Results) -> None:
    owner = results.signed()
    for sent, status, said in (
        ({"decision": "retired", "note": " "}, 422, "Say why it is retired"),
        ({"decision": "approved", "note": "x" * 2_001}, 422, "at most 2,000"),
        ({"decision": "blessed", "note": "kept words"}, 422, "approved or retired"),
    ):
        answer = owner.post(f"{VERSION}/decide", sent)
        assert answer.status_code == status
        assert said in answer.text
        assert sent["note"].strip() in answer.text
    assert owner.get(f"/api/v1{VERSION}").json()["history"] == []
    owner.post(f"{VERSION}/decide", {"decision": "approved"})
    again = owner.post(f"{VERSION}/decide", {"decision": "approved"})
    assert again.status_code == 409
    assert "approved already" in again.text


def test_new_audit_warns_of_a_retired_version(results: Results) -> None:
    owner = results.signed()
    body = {"decision": "retired", "note": "replaced by version 2"}
    assert owner.send("POST", f"/api/v1{VERSION}/decisions", json=body).status_code == 201
    page = owner.get("/api/v1/audits/new").json()
    assert page["models"][0]["text"].endswith("(retired)")
    assert any("retired on" in note and "replaced by version 2." in note for note in page["notes"])


def test_a_model_shows_what_each_version_reached_on_each_data_set(results: Results) -> None:
    page = results.signed("viewer").get("/api/v1/models/1").json()
    row = page["accuracies"][0]
    assert (row["version"], row["dataset"], row["split"], row["run_id"]) == (1, "Scenes", "val", results.built.run_id)
    assert row["accuracy"] == page["versions"][0]["accuracy"]
    assert row["accuracy"]["low"] < row["accuracy"]["value"] < row["accuracy"]["high"]
