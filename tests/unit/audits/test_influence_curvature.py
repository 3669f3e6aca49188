"""EK-FAC in the kind `influence`: what is fitted, what shards read of it, and what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, fx, nn

from app.audits.base import Inputs, ModelBatch, ModelShard, Split
from app.audits.influence.curvature import features, fit
from app.audits.influence.page_run import run_context
from app.audits.influence.schema import CurvatureSummary, InfluenceSummary, MethodSummary, Params
from app.audits.influence.scores import Attributor
from app.loaders.models.reasons import save_reason
from app.numerics.attribution import ekfac

ROWS = 24


def graph() -> fx.GraphModule:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    ).eval()
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (torch.zeros(2, 3, 6, 6),), dynamic_shapes=batch)
    return program.run_decompositions({}).module(check_guards=False)


def shard(labels: Tensor, batch: int = 8, kept: int = 64, fitted: dict[str, np.ndarray] | None = None) -> ModelShard:
    images = torch.randn(ROWS, 3, 6, 6, generator=torch.Generator().manual_seed(1))

    def batches() -> Iterator[ModelBatch]:
        for start in range(0, ROWS, batch):
            yield ModelBatch(start, images[start : start + batch], labels[start : start + batch])

    return ModelShard([graph()], batches, ROWS, {"features": kept}, 7, fitted or {})


def labels() -> Tensor:
    return torch.arange(ROWS) % 3


def products(found: dict[str, np.ndarray]) -> np.ndarray:
    rows = found["codes"].astype(np.float32) * found["scales"][:, None]
    return rows @ rows.T


def test_shards_give_the_same_in_batches_of_any_size() -> None:
    fitted = fit(shard(labels()))
    found = [features(shard(labels(), batch, fitted=fitted)) for batch in (1, 7, 64)]
    assert found[0]["codes"].shape == (ROWS, 64)
    assert found[0]["codes"].dtype == np.int8
    for other in found[1:]:
        np.testing.assert_allclose(other["doubt"], found[0]["doubt"], rtol=1e-4)
        np.testing.assert_allclose(products(other), products(found[0]), atol=0.01 * products(found[0]).max())


def test_what_is_fitted_says_what_it_is_worth() -> None:
    few, many = (fit(shard(labels(), kept=kept)) for kept in (64, 1000))
    # 27 · 4 + 4 and 4 · 3 + 3 numbers, and 8 of the normalisation, whose curvature is diagonal.
    total = 112 + 8 + 15
    assert many["diagonal"][0] == pytest.approx(8 / total)
    assert many["share"][0] == pytest.approx(1)
    assert 0.5 < few["share"][0] < 1
    assert few["rows"][0] == ROWS
    assert sum(len(part) for name, part in few.items() if name.startswith("places")) == 64
    found = features(shard(labels(), fitted=many, kept=1000))
    assert found["codes"].shape == (ROWS, total)
    assert (found["rows"] == ROWS).all()


def test_images_that_cannot_be_read_have_no_part_in_the_curvature(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = ekfac.row_probe

    def probe(rows: Any, *key: Any) -> Any:
        seen.extend(rows)
        return whole(rows, *key)

    monkeypatch.setattr(ekfac, "row_probe", probe)
    spoiled = labels()
    spoiled[3] = spoiled[8:16] = -1
    assert fit(shard(spoiled))["rows"][0] == 15
    assert set(seen) == set(range(ROWS)) - {3, *range(8, 16)}
    with pytest.raises(ValueError, match="no training rows"):
        fit(shard(torch.full((ROWS,), -1)))


def test_another_seed_probes_otherwise() -> None:
    first, again = fit(shard(labels())), fit(shard(labels()))
    other = shard(labels())
    moved = fit(ModelShard(other.networks, other.batches, ROWS, other.params, 8))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["scales-0"], moved["scales-0"])


def attributor(model: dict[str, np.ndarray]) -> Attributor:
    rows = np.arange(4)
    manifest = pa.table({"row": rows, "label": np.array([0, 1, 0, -1], np.int32)})
    split = Split("train", manifest, np.eye(4, dtype=np.float32), None, None, model)
    inputs = Inputs(split, split, ["a", "b"], Params(), 0, "cpu", None, {}, lambda share, text: None)
    return Attributor(inputs, split, split)


def whitened() -> dict[str, np.ndarray]:
    return {
        "gradients.codes-0": np.eye(4, dtype=np.int8), "gradients.scales-0": np.ones(4, np.float32),
        "gradients.doubt-0": np.full(4, 0.5, np.float32),
        "ekfac.codes": np.array([[1, 0], [0, 2], [1, 1], [1, 1]], np.int8), "ekfac.scales": np.ones(4, np.float32),
        "ekfac.doubt": np.array([0.2, 0.4, 0.5, 0.9], np.float32),
    }  # fmt: skip


def test_influence_is_the_slope_of_the_loss_times_an_inner_product_and_unlabelled_rows_teach_nothing() -> None:
    found = attributor(whitened()).methods["ekfac"](np.array([1, 2]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.2], [1.6, 0.8], [1.0, 1.0], [0.0, 0.0]]) / 4)


def test_tracin_over_all_weights_multiplies_both_slopes() -> None:
    found = attributor(whitened()).methods["tracin_full"](np.array([1, 3]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [0.25, 0.0], [0.0, 0.0], [0.0, 0.0]]))


def test_methods_say_why_they_are_missing(tmp_path: Any) -> None:
    nothing = attributor({}).reasons
    assert "gives no gradients" in nothing["ekfac"]
    assert nothing["tracin_full"] == nothing["ekfac"]
    crashed = attributor({name: part for name, part in whitened().items() if "ekfac" not in name})
    assert "log says why" in crashed.reasons["ekfac"]
    assert "tracin_full" in crashed.methods
    save_reason(tmp_path, "Nobody knows.", 4)
    told = attributor({"ekfac.reason": np.load(tmp_path / "reason.npy")})
    assert told.reasons["ekfac"] == "Nobody knows."


def test_the_page_says_what_the_curvature_is_of() -> None:
    summary = InfluenceSummary(
        targets=10, train_rows=4000, methods=[MethodSummary(method="ekfac"), MethodSummary(method="tracin_full")],
        curvature=CurvatureSummary(rows=2048, share=0.9576, diagonal=0),
    )  # fmt: skip
    context = run_context(summary)
    assert [m.title for m in context.methods] == ["EK-FAC influence", "TracIn, all weights"]
    assert "2,048 training images" in context.sentences[-1]
    assert context.sentences[-1].endswith("95.8 % of the variance of its scores.")
    rough = CurvatureSummary(rows=2048, share=0.9576, diagonal=0.031)
    assert "for 3.1 % of the weights it is diagonal" in run_context(
        summary.model_copy(update={"curvature": rough})
    ).sentences[-1]  # fmt: skip
    assert not any("EK-FAC" in s for s in run_context(summary.model_copy(update={"curvature": None})).sentences)
