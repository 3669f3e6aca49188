"""The lists of models and data sets say what one would open each for."""

from __future__ import annotations

from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results


def test_a_model_stands_with_the_accuracy_that_an_audit_measured(results: Results) -> None:
    owner = results.signed()
    before = owner.get("/api/v1/models").json()["models"][0]
    card = owner.get("/api/v1/models/1/versions/1").json()["accuracies"][0]
    assert (before["accuracy"], before["measured_on"], before["standing"]) == (card["accuracy"], "Scenes / val", "")
    owner.post("/models/1/versions/1/decide", {"decision": "approved"})
    assert owner.get("/api/v1/models").json()["models"][0]["standing"] == "approved"
    assert "Approved" in owner.get("/models").text


def test_a_data_set_shows_pictures_from_all_over_it(results: Results) -> None:
    owner = results.signed()
    row = owner.get("/api/v1/datasets").json()["datasets"][0]
    places = [int(path.rsplit("/", 1)[1]) for path in row["pictures"]]
    assert len(places) == 6
    assert places == sorted(set(places))
    assert places[0] < row["rows"] // 6
    assert places[-1] >= 5 * row["rows"] // 6 > TRAIN_ROWS
    assert all(owner.get(path).status_code == 200 for path in row["pictures"])
