"""Datamodels on pages: the run, an image, a slice, a training image, and the lists of training data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.store.models import AuditRun
from app.store.session import transaction
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.datamodels import MEMORISED, PARAMS, add_datamodels, panel


@pytest.fixture
def stages(results: Results) -> dict[str, Path]:
    """Folders of the stages of the kind `datamodels`, which the finished run is given."""
    return add_datamodels(results.built)


def dense(stages: dict[str, Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets [m], weights [m, N] and intercepts [m] from the files alone."""
    folder = stages["fit"]
    targets, starts, places, values, intercepts = (
        np.load(folder / f"{name}.npy")
        for name in ("targets", "plain.starts", "plain.places", "plain.weights", "plain.intercepts")
    )
    weights = np.zeros((len(targets), TRAIN_ROWS))
    for j in range(len(targets)):
        some = slice(starts[j], starts[j + 1])
        weights[j, places[some]] = values[some]
    return targets, weights, intercepts


def rows_of(thumbs: list[dict[str, Any]]) -> list[int]:
    return [int(one["src"].rpartition("/")[2]) for one in thumbs]


def test_the_run_shows_methods_with_agreement_and_removals(results: Results, stages: dict[str, Path]) -> None:
    context = panel(results, results.run, "datamodels")
    assert context["methods"][0]["title"] == "Datamodel"
    plain = context["methods"][0]
    assert plain["lds"]["low"] < plain["lds"]["value"] < plain["lds"]["high"]
    assert plain["check"]["slope"]["n"] == 12 * 150
    assert 0 < context["ceiling"] <= 1
    assert [row["title"].split()[-1] for row in context["removals"]] == ["helpful", "similar", "class"]
    html = results.signed("viewer").get(results.run).text
    assert "24 of the networks only judge" in html
    assert "slope 1 is calibrated" in html
    assert "Predicted counterfactuals, put to the proof" in html
    assert "format gives no gradients" in html, "why nothing weighs the datamodels"


def test_an_image_shows_weights_and_predicted_counterfactuals(results: Results, stages: dict[str, Path]) -> None:
    targets, weights, intercepts = dense(stages)
    j = 3
    own, label = weights[j], results.built.rows.label
    path = f"{results.run}/images/{TRAIN_ROWS + targets[j]}"
    context = panel(results, path, "datamodels-image")
    shown = {m["title"]: m for m in context["ends"]["methods"]}["Datamodel"]
    assert rows_of(shown["helpful"]) == np.argsort(-own, kind="stable")[: len(shown["helpful"])].tolist()
    assert (own[rows_of(shown["harmful"])] < 0).all()
    first = int(np.argmax(own))
    assert shown["helpful"][0]["text"].startswith(CLASSES[label[first]])
    rows = {row["title"]: row for row in context["what_if"]["rows"]}
    whole = intercepts[j] + own.sum()
    assert rows["All training images"]["margin"]["value"] == pytest.approx(whole, rel=1e-4)
    top = np.argsort(-own)[:10]
    without = next(row for title, row in rows.items() if "10 most helpful" in title)
    assert without["margin"]["value"] == pytest.approx(whole - own[top].sum(), rel=1e-4)
    assert without["turns"] == (whole - own[top].sum() < 0 <= whole)
    name = CLASSES[label[targets[j]]]
    of_class = label[:TRAIN_ROWS] == label[targets[j]]
    assert rows[f"Without any “{name}”"]["margin"]["value"] == pytest.approx(whole - own[of_class].sum(), rel=1e-4)
    kept = rows[f"Only “{name}” kept"]
    assert kept["margin"]["value"] == pytest.approx(intercepts[j] + own[of_class].sum(), rel=1e-4)
    actual, predicted = (np.load(stages["fit"] / f"{part}.npy")[:, j] for part in ("actual", "plain.predicted"))
    reach = 1.96 * np.sqrt(np.square(actual - predicted).mean())
    assert kept["margin"]["high"] - kept["margin"]["value"] == pytest.approx(reach, rel=1e-3)
    assert kept["margin"]["n"] == 12
    assert "Predicted counterfactuals" in results.signed("viewer").get(path).text


def test_an_image_that_was_put_to_the_proof_shows_what_came_of_it(results: Results, stages: dict[str, Path]) -> None:
    table = pq.read_table(stages["prove"] / "predictions.parquet").to_pylist()
    target = table[0]["target"]
    context = panel(results, f"{results.run}/images/{TRAIN_ROWS + target}", "datamodels-image")
    came = [row for row in context["what_if"]["rows"] if row["came"]]
    assert [row["came"]["value"] for row in came] == pytest.approx([row["after"] for row in table[:3]])
    assert came[0]["came"]["n"] == PARAMS.removal_repeats
    assert came[0]["title"].startswith("Retrained without the")


def test_an_image_that_no_network_was_asked_about_says_so(results: Results, stages: dict[str, Path]) -> None:
    targets = set(np.load(stages["fit"] / "targets.npy").tolist())
    other = next(i for i in range(len(results.built.rows.label)) if i not in targets)
    path = f"{results.run}/images/{TRAIN_ROWS + other}"
    assert "asked about 150 of" in panel(results, path, "datamodels-image")["missing"]
    assert "this one is not among them" in results.signed("viewer").get(path).text


def test_a_slice_is_the_mean_over_its_members(results: Results, stages: dict[str, Path]) -> None:
    targets, weights, intercepts = dense(stages)
    key = "direction-cat-0"
    members = [i for i, keys in enumerate(results.built.rows.slices) if key in keys]
    columns = np.isin(targets, members)
    context = panel(results, results.slice(key), "datamodels-slice")
    assert f"{columns.sum()} of the slice’s {len(members)} images" in context["lead"]
    mean = weights[columns].mean(axis=0)
    whole = context["what_if"]["rows"][0]["margin"]
    assert whole["value"] == pytest.approx(intercepts[columns].mean() + mean.sum(), rel=1e-4)
    shown = context["ends"]["methods"][-1]
    assert rows_of(shown["helpful"])[:5] == np.argsort(-mean, kind="stable")[:5].tolist()
    assert "What retrained networks say of the slice" in results.signed("viewer").get(results.slice(key)).text


def test_an_image_asks_what_it_owes_to_its_slice_s_training_images(results: Results, stages: dict[str, Path]) -> None:
    targets, _, _ = dense(stages)
    inside = [i for i in targets.tolist() if "direction-cat-0" in results.built.rows.slices[i]]
    context = panel(results, f"{results.run}/images/{TRAIN_ROWS + inside[0]}", "datamodels-image")
    assert any("white cat on grass" in row["title"] for row in context["what_if"]["rows"])


def test_a_training_image_shows_memorisation_and_whom_it_helps(results: Results, stages: dict[str, Path]) -> None:
    targets, weights, _ = dense(stages)
    path = f"{results.run}/training/images/5"
    facts = {fact["name"]: fact for fact in panel(results, path, "datamodels-facts")["facts"]}
    one = pq.read_table(stages["memorise"] / "train.parquet").slice(5, 1).to_pylist()[0]
    assert one["inside"] + one["outside"] == 120 - 12, "one network of each subset"
    assert f"{one['inside']} networks that saw it" in facts["Memorisation"]["note"]
    assert "±" in facts["Memorisation"]["value"]
    assert "±" in facts["Mean weight"]["value"]
    felt = panel(results, path, "datamodels-felt")["methods"][0]
    best = targets[np.argsort(-weights[:, 5], kind="stable")[0]]
    assert rows_of(felt["helpful"])[0] - TRAIN_ROWS == best
    assert felt["helpful"][0]["href"] == f"{results.run}/images/{TRAIN_ROWS + best}"


def test_memorised_images_are_listed_with_their_evidence(results: Results, stages: dict[str, Path]) -> None:
    browser = results.signed("viewer")
    found = browser.get(f"/api/v1{results.run}/training?list=memorised-retrained").json()
    heads = {one["key"]: one["count"] for one in found["lists"]}
    assert set(heads) == {"memorised-retrained", "harmful-retrained"}
    assert heads["memorised-retrained"] >= MEMORISED
    assert set(rows_of(found["items"])) >= set(range(MEMORISED))
    one = pq.read_table(stages["memorise"] / "train.parquet").to_pylist()[rows_of(found["items"])[0]]
    told = found["items"][0]["text"].replace("\N{NO-BREAK SPACE}", " ")
    assert f"n {one['inside']} / {one['outside']}" in told
    file = browser.get(f"{results.run}/training/memorised-retrained.parquet").content
    table = pq.read_table(io.BytesIO(file))
    assert set(table["action"].to_pylist()) == {"weight"}
    assert table["weight"].to_pylist() == sorted(table["weight"].to_pylist())


def test_a_run_without_retraining_says_what_to_do(results: Results) -> None:
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        run.kinds = ["slices", "datamodels"]
        run.summary = {**run.summary, "datamodels": {"unavailable": "No network was retrained: set how many."}}
    assert "No network was retrained" in results.signed("viewer").get(results.run).text
    row = TRAIN_ROWS + 3
    panels = results.signed("viewer").get(f"/api/v1{results.run}/images/{row}").json()["panels"]
    assert not [one for one in panels if one["key"].startswith("datamodels")]
