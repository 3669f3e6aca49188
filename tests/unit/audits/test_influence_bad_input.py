"""The stage `attribute` on data that is too small, too one-sided, too large, or the same twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Split
from app.audits.influence import compute
from app.audits.influence.page_run import run_context
from app.audits.influence.schema import METHODS, InfluenceSummary, Params
from app.audits.influence.scores import Attributor
from app.numerics.attribution.outputs import doubt
from app.numerics.attribution.quantised import quantise

WIDTH, CLASSES = 32, 3


def split(labels: Sequence[int] | NDArray[np.int64], name: str = "train", seed: int = 0, start: int = 0) -> Split:
    """Rows around a centre for each class, with gradients that are their features by class."""
    generator, known = torch.Generator().manual_seed(seed), torch.as_tensor(np.asarray(labels, np.int64))
    shown = torch.where(known >= 0, known, 0)
    features = torch.eye(CLASSES, 8)[shown] * 2 + torch.randn(len(known), 8, generator=generator)
    logits = features[:, :CLASSES].contiguous()
    rows = torch.zeros(len(known), WIDTH)
    for i, label in enumerate(shown.tolist()):
        rows[i, label * 8 : label * 8 + 8] = features[i]
    codes, scales = quantise(rows)
    n = len(known)
    manifest = pa.table(
        {"row": np.arange(start, start + n), "label": known.numpy(), "group": np.arange(start, start + n)}
    )
    model = {
        "gradients.codes-0": codes.numpy(), "gradients.scales-0": scales.numpy(),
        "gradients.doubt-0": doubt(logits, shown).numpy(), "gradients.coverage": np.ones(n, np.float32),
    }  # fmt: skip
    return Split(name, manifest, None, logits.numpy(), features.numpy(), model)


def inputs(train: Split | None, audited: Split, **params: Any) -> Inputs:
    return Inputs(
        audited, train, ["a", "b", "c"], Params(top=5, **params), 0, "cpu", None, {}, lambda _share, _what: None
    )


def attributed(train: Split | None, audited: Split) -> tuple[InfluenceSummary, dict[str, np.ndarray]]:
    result = compute.attribute(inputs(train, audited))
    return InfluenceSummary.model_validate(result.summary), dict(result.details)


def all_finite(details: dict[str, np.ndarray]) -> bool:
    return all(np.isfinite(array).all() for array in details.values() if array.dtype.kind == "f")


def test_one_training_image_is_not_enough() -> None:
    summary, details = attributed(split([1]), split([0, 1, 2], "val", 1))
    assert summary.unavailable == "The training split has a single image; there is nothing to compare it with."
    assert details == {}
    assert run_context(summary).unavailable == summary.unavailable


def test_no_training_split_says_what_to_choose() -> None:
    summary, _ = attributed(None, split([0, 1, 2], "val"))
    assert "start it with the split that the model was trained on" in summary.unavailable


def test_two_training_images_are_ranked() -> None:
    summary, details = attributed(split([0, 1]), split([0, 1, 2], "val", 1))
    assert [method.reason for method in summary.methods if method.method in METHODS][:1] == [""]
    assert details["trak.rows"].shape == (3, 2)
    assert all_finite(details)


@pytest.mark.parametrize(
    "labels",
    [[0] * 10 + [1] * 10, [1] * 20, [-1] * 20, [-1] * 19 + [0]],
    ids=["a class is missing", "one class", "no labels", "one label"],
)
def test_one_sided_training_data_gives_finite_scores(labels: list[int]) -> None:
    summary, details = attributed(split(labels), split([0, 1, 2, 2, -1], "val", 1))
    assert {method.method for method in summary.methods if not method.reason} >= {"trak", "knn_shapley", "similarity"}
    assert all_finite(details)


def test_a_class_that_training_lacks_has_no_helpful_neighbour() -> None:
    _, details = attributed(split([0] * 10 + [1] * 10), split([2, 0], "val", 1))
    assert (details["knn_shapley.scores"][0] <= 0).all()
    assert details["knn_shapley.scores"][1].max() > 0


def test_a_split_audited_against_itself_is_named() -> None:
    both = split(np.arange(12) % 3)
    summary, details = attributed(both, both)
    assert (details["trak.rows"][:, 0] == np.arange(12)).mean() > 0.5
    said = " ".join(run_context(summary).sentences)
    assert "The audited split is the training split itself" in said
    assert "audit a split that the model was not trained on" in said
    other, _ = attributed(both, split(np.arange(12) % 3, "val", 1))
    assert "training split itself" not in " ".join(run_context(other).sentences)


def test_targets_are_streamed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many targets there are, no more than a block of them is scored at once."""
    wide: list[int] = []

    class Watched(Attributor):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.methods = {name: self._watched(scored) for name, scored in self.methods.items()}

        @staticmethod
        def _watched(scored: Any) -> Any:
            def run(places: NDArray[np.int64]) -> torch.Tensor:
                wide.append(len(places))
                found: torch.Tensor = scored(places)
                return found

            return run

    monkeypatch.setattr(compute, "Attributor", Watched)
    train, audited = split(np.arange(30) % 3), split(np.arange(1000) % 3, "val", 1)
    _, streamed = attributed(train, audited)
    assert max(wide) == compute.BLOCK < 1000
    monkeypatch.setattr(compute, "BLOCK", 5000)
    _, whole = attributed(train, audited)
    np.testing.assert_allclose(streamed["trak.scores"], whole["trak.scores"], rtol=1e-4, atol=1e-6)
