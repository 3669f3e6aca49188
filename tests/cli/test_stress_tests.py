"""Stress tests from a terminal: starting them with their parameters, reading their headlines, taking their numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.audits import kinds
from app.services.budgets import budgets, with_budget, with_settings
from app.store.models import ModelVersion
from app.store.session import transaction
from tests.cli.test_commands import model, refused, said  # noqa: F401 - a fixture
from tests.results_fixture import TRAIN_ROWS
from tests.web.attacks import add_attacks
from tests.web.conftest import Results
from tests.web.corruptions import add_corruptions


def test_a_run_shows_its_headlines(results: Results) -> None:
    outcome = add_attacks(results)["outcome"]
    add_corruptions(results)
    number = str(results.built.run_id)
    text = said("runs", "show", number)
    assert f"Adversarial attacks: {outcome[:, -1].mean():.1%} (" in text
    assert f"n {len(outcome)}) stay right under every attack that ran, L∞ ε = 8/255" in text
    assert "  doubt: Guessing beats gradients" in text
    assert "  leaves out: 800 of 1,200 images, 16 of 19 kinds, 2 of 5 severities" in text
    lines = json.loads(said("runs", "show", number, "--json"))["robustness"]
    assert [line["kind"] for line in lines] == ["attacks", "corruptions"]
    assert lines[0]["estimate"]["value"] == pytest.approx(outcome[:, -1].mean())


def test_a_run_without_them_shows_none(results: Results) -> None:
    assert json.loads(said("runs", "show", str(results.built.run_id), "--json"))["robustness"] == []


def test_an_export_holds_what_was_measured_of_each_image(results: Results, tmp_path: Path) -> None:
    attacked, corrupted = add_attacks(results), add_corruptions(results)
    said("export", str(results.built.run_id), "--to", str(tmp_path / "out"))
    scores = pq.read_table(tmp_path / "out" / "scores.parquet")
    for name, details in (("attacks_withstood", attacked), ("corruption_share", corrupted)):
        values = scores[name].to_numpy()
        known = details["outcome"] if name == "attacks_withstood" else details["outcome"][:, 1:]
        assert values[details["positions"]] == pytest.approx(known.mean(axis=1))
        assert np.isnan(values).sum() == len(values) - len(known)
    for name, details in (("attacks", attacked), ("corruptions", corrupted)):
        file = np.load(tmp_path / "out" / f"{name}.npz", allow_pickle=False)
        assert file["images_rows"].tolist() == (details["positions"] + TRAIN_ROWS).tolist()
        assert file["outcome"].tolist() == details["outcome"].tolist()
        readme = file["README.txt"].decode()
        assert all(array in readme for array in file.files if array not in {"README.txt", "images_ids.json"})


def test_an_audit_starts_with_one_budget_and_single_settings(results: Results, model: str) -> None:  # noqa: F811
    arguments = ("--kind", "attacks", "--kind", "corruptions", "--budget", "standard", "--no-wait")
    settings = ("--set", "attacks.radii=2/255, 8/255", "--set", "corruptions.severities=1,5")
    started = said("audit", model, "Scenes", *arguments, *settings)
    number = started.split()[1].rstrip(":")
    params = json.loads(said("runs", "show", number, "--json"))["params"]
    assert params["attacks"]["radii"] == ["2/255", "8/255"]
    assert params["corruptions"]["severities"] == ["1", "5"]
    assert {own["budget"] for own in params.values()} == {"standard"}


@pytest.mark.parametrize("kind", sorted(name for name, one in kinds().items() if one.stress_test))
def test_each_stress_test_starts_from_a_terminal(results: Results, model: str, kind: str) -> None:  # noqa: F811
    needed = ("--set", f"{kind}.second={results.built.dataset_id}/train") if kinds()[kind].second_set else ()
    started = said("audit", model, "Scenes", "--kind", kind, "--budget", "quick", *needed, "--no-wait")
    number = started.split()[1].rstrip(":")
    found = json.loads(said("runs", "show", number, "--json"))
    assert found["kinds"] == [kind]
    assert found["params"][kind]["budget"] == "quick"


def test_what_misleads_stress_tests_is_said_when_one_starts(results: Results, model: str) -> None:  # noqa: F811
    doubt = "8 of 8 images got other scores when the network was asked again."
    with transaction() as session:
        version = session.query(ModelVersion).order_by(ModelVersion.id.desc()).first()
        assert version is not None
        version.smoke = {**version.smoke, "doubts": [doubt]}
    assert f"  note: Before a stress test: {doubt}" in said("audit", model, "Scenes", "--kind", "attacks", "--no-wait")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("--set=attacks", "Write it like attacks.budget=quick"),
        ("--set=attacks.budget=huge", "attacks.budget"),
        ("--set=attacks.epsilon=1", "There is nothing called “epsilon” to set"),
        ("--set=corruptions.budget=quick", "There is nothing called “corruptions” to set"),
        ("--budget=huge", "attacks.budget"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(results: Results, model: str, wrong: str, told: str) -> None:  # noqa: F811
    assert told in refused("audit", model, "Scenes", "--kind", "attacks", "--no-wait", wrong)


def test_a_budget_goes_to_kinds_that_have_one() -> None:
    assert budgets()[:3] == ["quick", "standard", "thorough"]
    given = {"attacks": {"budget": "quick", "norm": "L2"}}
    assert with_budget(given, ["attacks", "slices"], "thorough") == {"attacks": {"budget": "thorough", "norm": "L2"}}
    assert with_budget(given, ["attacks"], "") == given
    assert with_settings({}, ["attacks.radii=0.5", "slices.fdr=0.1"]) == {
        "attacks": {"radii": ["0.5"]},
        "slices": {"fdr": 0.1},
    }
