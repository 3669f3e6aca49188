"""The kind `smoothing` from upload to pages' arrays: real files, a real sandboxed child, several shards, copies."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from scipy import integrate
from scipy.stats import norm
from torch import nn

from app.audits.retraining import read_plan
from app.store.images import DatasetImages
from app.store.models import AuditRun, Dataset
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs
from app.store.session import reading
from tests.workers.audited import Audited, Network, Wanted, audited

pytestmark = pytest.mark.xdist_group("smoothing-chain")

SIDE, NOISES = 16, (0.1, 0.4)
PER_CLASS, ROWS = 4, 12
LAYERS = [{"flatten": {}}, {"linear": {"in_features": 3 * SIDE**2, "out_features": 3}}]
QUICK = {"sigmas": ["0.1", "0.4"], "radii": ["0.05", "0.2"], "budget": "quick"}
COPIED = {**QUICK, "train_copy": 1}
FULL = {**QUICK, "sigmas": ["0.4"], "budget": "standard"}
RECIPE = {"epochs": 6, "batch_size": 6, "learning_rate": 0.02}
"""Without normalisation, so that pixels are what the network gets."""
PLAIN = {"size": [SIDE, SIDE], "resize": "stretch", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def one_pixel() -> nn.Module:
    """A network that knows a colour by one pixel, so that noise matters."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 3))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.zero_()
        for c in range(3):
            network[1].weight[c, (2 - c) * SIDE**2 + 37] = 1.0
    return network.eval()


def scripted() -> bytes:
    """The same network as TorchScript, which gives no gradients."""
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(one_pixel()), target)
    return target.getvalue()


NETWORKS = {
    "layers": Network(
        lambda: save(one_pixel().state_dict()), {"architecture": LAYERS, "preprocessing": PLAIN}, {"recipe": RECIPE}
    ),
    "script": Network(scripted, {"format": "torchscript", "architecture": "", "preprocessing": PLAIN}),
}
WANTED = {"copied": Wanted("layers", COPIED), "full": Wanted("layers", FULL), "script": Wanted("script", QUICK)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    with audited(tmp_path_factory.mktemp("smo"), "smoothing", NETWORKS, WANTED, per_class=PER_CLASS) as made:
        yield made


def detail(run: AuditRun, name: str, stage: str = "summarise") -> np.ndarray:
    found: np.ndarray = np.load(get_artifacts().local(run.details_keys[f"smoothing:{stage}"]) / f"{name}.npy")
    return found


def true_shares(run: AuditRun, sigma: float) -> np.ndarray:
    """The share of noisy copies that each image's label wins, by integration over the three pixels that count."""
    with reading() as session:
        images = DatasetImages(
            get_artifacts().local(session.get_one(Dataset, run.dataset_id).artifact_key), get_blobs()
        )
    found = []
    for row, label in zip((detail(run, "positions") + ROWS).tolist(), detail(run, "labels").tolist(), strict=True):
        pixel = np.asarray(Image.open(io.BytesIO(images.original(row))))[37 // SIDE, 37 % SIDE] / 255
        score = pixel[::-1] / sigma
        others = [score[c] for c in range(3) if c != label]
        found.append(
            integrate.quad(
                lambda z, own=score[label], a=others[0], b=others[1]: (
                    norm.pdf(z) * norm.cdf(own - a + z) * norm.cdf(own - b + z)
                ),
                -8,
                8,
            )[0]
        )
    return np.array(found)


@pytest.mark.parametrize(
    ("name", "variants"), [("copied", 4), ("full", 1), pytest.param("script", 2, marks=pytest.mark.long)]
)
def test_each_image_has_an_answer_for_every_noise_and_radius(runs: Audited, name: str, variants: int) -> None:
    run = runs[name]
    assert (run.error, run.status) == ("", "succeeded")
    decided, radius = detail(run, "decided"), detail(run, "radius")
    assert decided.shape == (ROWS, variants, 3)
    assert ((decided == 1).any(axis=2) == ~np.isnan(radius)).all()
    assert (np.diff((decided == 1).astype(int), axis=2) <= 0).all(), "what holds far away holds nearby"
    assert (detail(run, "base")[:, :2] == detail(run, "labels")[:, None]).all()
    summary = run.summary["smoothing"]
    right = detail(run, "taken") == detail(run, "labels")[:, None]
    for number, variant in enumerate(summary["variants"]):
        for column, asked in enumerate(variant["asked"], 1):
            share = (right[:, number] & (decided[:, number, column] == 1)).mean()
            assert asked["certified"]["value"] == pytest.approx(share)
        assert variant["mean_copies"] == pytest.approx(detail(run, "used")[:, number].mean())


def test_radii_never_exceed_what_integration_gives_and_come_close(runs: Audited) -> None:
    run = runs["full"]
    sigma, shares = NOISES[1], true_shares(run, NOISES[1])
    exact, found = sigma * norm.ppf(shares), np.nan_to_num(detail(run, "radius")[:, 0])
    assert (found <= np.maximum(exact, 0)).all()
    tight = (shares > 0.6) & (shares < 0.99)
    assert tight.any()
    assert (found[tight] > exact[tight] - 0.25 * sigma).all()


def test_asking_agrees_with_ten_thousand_copies_and_shows_far_fewer(runs: Audited) -> None:
    asked, full = detail(runs["copied"], "decided")[:, 1:2], detail(runs["full"], "decided")
    decided = asked != -1
    assert (asked == full)[decided].all()
    assert decided.mean() > 0.7
    assert detail(runs["copied"], "used")[:, 1].mean() < 0.15 * detail(runs["full"], "used").mean()


@pytest.mark.long
def test_another_format_of_the_same_network_has_the_same_radii(runs: Audited) -> None:
    for name in ("taken", "decided", "used", "hits"):
        np.testing.assert_array_equal(detail(runs["script"], name), detail(runs["copied"], name)[:, :2], name)


def test_a_copy_is_trained_with_each_noise_and_stands_it_better(runs: Audited) -> None:
    run = runs["copied"]
    plan = read_plan(get_artifacts().local(run.details_keys["smoothing:plan"]), ROWS)
    assert plan.masks.all()
    assert plan.noise is not None
    assert plan.noise.tolist() == list(NOISES)
    assert detail(run, "right", "copy").shape == (2, ROWS)
    np.testing.assert_array_equal(detail(run, "measured.radius", "copy").T, detail(run, "radius")[:, 2:])
    own, copy = (run.summary["smoothing"]["variants"][number] for number in (1, 3))
    assert (own["copied"], copy["copied"], copy["sigma"]) == (False, True, "0.4")
    assert copy["noisy"]["value"] > own["noisy"]["value"] + 0.1, "it learnt to look at more than one pixel"
    assert copy["asked"][1]["certified"]["value"] > own["asked"][1]["certified"]["value"]
    with reading() as session:
        stages = {stage.name: stage for stage in jobs.stages(session, "run", run.id)}
    assert (stages["smoothing:copy"].done, stages["smoothing:copy"].total) == (2, 2)
