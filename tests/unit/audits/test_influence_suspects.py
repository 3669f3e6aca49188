"""The stage that judges training images, on digits with labels that are known to be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from app.audits.base import Inputs, Split
from app.audits.influence import AUDIT
from app.audits.influence.kept import spectra_arrays
from app.audits.influence.schema import Params, SuspectsSummary
from app.audits.influence.suspects import suspects
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.self_influence import neighbour_probabilities, neighbour_votes, self_influence
from app.numerics.attribution.trak import Checkpoint, trak_scores

WRONG = 40


def split(name: str, images: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Split:
    manifest = pa.table({"row": np.arange(len(labels)), "label": labels.astype(np.int32), "group": groups})
    return Split(name, manifest, images.astype(np.float32), None, None)


@pytest.fixture(scope="module")
def noisy() -> tuple[Inputs, np.ndarray]:
    """1,200 digits for training, 40 of them with a wrong label, and 200 to audit; two pictures are in both."""
    data, label = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    wrong = generator.choice(1200, WRONG, replace=False)
    given = label[:1200].copy()
    given[wrong] = (given[wrong] + generator.integers(1, 10, WRONG)) % 10
    groups = np.arange(1400)
    groups[1201], groups[1202], groups[7] = 3, 4, 5
    train = split("train", data[:1200], given, groups[:1200])
    audited = split("test", data[1200:1400], label[1200:1400], groups[1200:])
    names = [str(i) for i in range(10)]
    return Inputs(audited, train, names, Params(), 0, "cpu", None, {}, lambda _share, _said: None), wrong


def test_wrong_labels_are_found(noisy: tuple[Inputs, np.ndarray]) -> None:
    inputs, wrong = noisy
    result = suspects(inputs)
    table = result.tables["suspects"]
    quality, named = table["label_quality"].to_numpy(), table["mislabelled"].to_numpy()
    worst = np.argsort(quality)[:WRONG]
    assert np.isin(worst, wrong).mean() > 0.85
    assert named[wrong].mean() > 0.7
    assert named.sum() < 1.5 * WRONG
    truth = load_digits().target[:1200]
    assert (table["likelier"].to_numpy()[wrong] == truth[wrong]).mean() > 0.9
    summary = SuspectsSummary.model_validate(result.summary["suspects"])
    assert summary.mislabelled == named.sum()
    assert summary.planted == 36
    assert summary.planted_in_worst >= 34
    assert summary.planted_low < summary.planted_named / 36 < summary.planted_high <= 1


def test_copies_and_leaks_are_counted(noisy: tuple[Inputs, np.ndarray]) -> None:
    inputs, _ = noisy
    table = suspects(inputs).tables["suspects"]
    assert np.flatnonzero(table["leaked"].to_numpy()).tolist() == [3, 4]
    assert np.flatnonzero(table["copies"].to_numpy()).tolist() == [5, 7]
    labels = table["label"].to_numpy()
    assert table["conflict"].to_numpy()[5] == (labels[5] != labels[7])


def test_what_cannot_be_judged_is_said(noisy: tuple[Inputs, np.ndarray]) -> None:
    inputs, _ = noisy
    assert inputs.train is not None
    few = replace(inputs.train, manifest=inputs.train.manifest.slice(0, 20), embeddings=np.zeros((20, 4), np.float32))
    found = suspects(replace(inputs, train=few)).summary["suspects"]
    assert "cannot be judged" in found["reason"]
    blind = replace(inputs.train, embeddings=None)
    assert "neither penultimate" in suspects(replace(inputs, train=blind)).summary["suspects"]["reason"]
    assert suspects(replace(inputs, train=None)).summary == {}


def test_unlabelled_rows_are_not_judged(noisy: tuple[Inputs, np.ndarray]) -> None:
    inputs, _ = noisy
    assert inputs.train is not None
    labels = inputs.train.manifest["label"].to_numpy().copy()
    labels[:100] = -1
    manifest = inputs.train.manifest.set_column(1, "label", pa.array(labels, pa.int32()))
    table = suspects(replace(inputs, train=replace(inputs.train, manifest=manifest))).tables["suspects"]
    assert not table["mislabelled"].to_numpy()[:100].any()
    assert (table["label_quality"].to_numpy()[:100] == 1).all()


def probabilities(features: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor, classes: int, k: int = 20) -> Any:
    return neighbour_probabilities(neighbour_votes(features, labels >= 0, groups, k), labels, classes)


@pytest.mark.parametrize("bad", ["embeddings", "features"])
def test_a_space_that_knows_nothing_of_the_labels_does_no_harm(noisy: tuple[Inputs, np.ndarray], bad: str) -> None:
    """Noise in place of embeddings (an encoder of other pictures) or of features; the good one finds as many alone."""
    inputs, wrong = noisy
    assert inputs.train is not None
    images, noise = inputs.train.embeddings, np.random.default_rng(5).normal(size=(1200, 16)).astype(np.float32)
    both = replace(inputs.train, embeddings=images if bad == "features" else noise, features=images)
    train = both if bad == "embeddings" else replace(both, features=noise)
    found = suspects(replace(inputs, train=train)).tables["suspects"]
    alone = suspects(inputs).tables["suspects"]
    hits = [np.isin(np.argsort(t["label_quality"].to_numpy())[:60], wrong).sum() for t in (found, alone)]
    assert hits[0] >= hits[1] - 1 >= 33


def test_a_network_that_learned_the_wrong_labels_is_outvoted(noisy: tuple[Inputs, np.ndarray]) -> None:
    inputs, wrong = noisy
    assert inputs.train is not None
    given = inputs.train.manifest["label"].to_numpy()
    heart = np.eye(10, dtype=np.float32)[given] + 0.01 * np.random.default_rng(1).normal(size=(1200, 10))
    train = replace(inputs.train, features=heart.astype(np.float32))
    worst = np.argsort(suspects(replace(inputs, train=train)).tables["suspects"]["label_quality"].to_numpy())[:120]
    assert np.isin(wrong, worst).mean() > 0.85


def test_neighbours_vote_as_scikit_learns_do_and_never_for_themselves() -> None:
    data, label = load_digits(return_X_y=True)
    data, label = data[:400] / np.linalg.norm(data[:400], axis=1, keepdims=True), label[:400]
    found = probabilities(torch.tensor(data), torch.tensor(label), torch.arange(400), 10, k=15)
    expected = []
    for i in range(0, 400, 20):
        others = np.delete(np.arange(400), i)
        peer = KNeighborsClassifier(15, algorithm="brute").fit(data[others], label[others])
        expected.append(peer.predict_proba(data[i : i + 1])[0].argmax())
    assert (found[::20].argmax(dim=1).numpy() == expected).mean() >= 0.9
    torch.testing.assert_close(found.sum(dim=1), torch.ones(400, dtype=torch.float64))
    lonely = probabilities(torch.eye(4), torch.tensor([0, 0, 1, -1]), torch.zeros(4, dtype=torch.int64), 2)
    torch.testing.assert_close(lonely, torch.tensor([[2 / 3, 1 / 3]] * 4, dtype=torch.float64))


def test_self_influence_is_the_diagonal() -> None:
    generator = torch.Generator().manual_seed(0)
    points = []
    for _ in range(2):
        stored = quantise(torch.randn(30, 8, generator=generator))
        doubt = torch.rand(30, generator=generator)
        points.append(Checkpoint(stored, Spectrum.of([stored.rows()]), stored.rows(), doubt))
    expected = trak_scores(points, 0.7).diagonal()
    torch.testing.assert_close(self_influence(points, 0.7), expected, rtol=1e-3, atol=1e-6)


def test_self_influence_is_taken_at_the_ridge_that_retraining_chose(
    noisy: tuple[Inputs, np.ndarray], tmp_path: Path
) -> None:
    inputs, _ = noisy
    assert inputs.train is not None
    stored = quantise(torch.randn(1200, 16, generator=torch.Generator().manual_seed(0)))
    point = Checkpoint(stored, Spectrum.of([stored.rows()]), stored.rows()[:0], torch.ones(1200))
    arrays = {"codes-0": stored.codes, "scales-0": stored.scales, "doubt-0": point.doubt}
    model = {f"gradients.{name}": values.numpy() for name, values in arrays.items()}
    for name, values in spectra_arrays([point], 30.0).items():
        np.save(tmp_path / f"{name}.npy", values)
    spec = next(stage for stage in AUDIT.stages if stage.name == "suspects")
    earlier = dict.fromkeys(spec.needs, tmp_path)
    found = suspects(replace(inputs, train=replace(inputs.train, model=model), earlier=earlier))
    own = found.tables["suspects"]["self_influence"].to_numpy()
    np.testing.assert_allclose(own, self_influence([point], 30.0).numpy(), rtol=1e-4)
