"""The kind `certificates` from upload to pages' arrays: real files, a real sandboxed child, several shards."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

from app.audits.certificates.evidence import CROWN, IBP, POLYTOPE
from app.audits.certificates.schema import BROKEN, COMPLETE, OPEN, PGD, PROVEN, SAFE, STEPS
from app.loaders.models.layers import build_layers
from app.loaders.models.spec import Preprocessing
from app.store.models import AuditRun
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.session import reading
from tests.workers import build
from tests.workers.audited import Audited, Network, Wanted, audited
from tests.workers.test_attacks_chain import scripted

pytestmark = pytest.mark.xdist_group("certificates-chain")

SIDE, BILINEAR = 8, Image.Resampling.BILINEAR
LAYERS: list[dict[str, Any]] = [
    {"flatten": {}}, {"linear": {"in_features": 3 * SIDE**2, "out_features": 12}}, {"relu": {}},
    {"linear": {"in_features": 12, "out_features": 8}}, {"relu": {}}, {"linear": {"in_features": 8, "out_features": 3}},
]  # fmt: skip
SMALL = {"preprocessing": {"size": [SIDE, SIDE], "resize": "stretch"}}
RADII = [0.1, 0.2, 0.3]
QUICK = {"radii": ["1/10", "0.2", "3/10"], "budget": "quick"}
STANDARD = {"radii": ["0.2", "3/10", "1/10"], "budget": "standard"}


@cache
def bent() -> nn.Module:
    """A network that learnt the three colours, with units that bend within the balls."""
    torch.manual_seed(0)
    network = build_layers(LAYERS)
    pictures = _normalised(torch.tensor(np.stack(_images())).float())
    labels = torch.arange(3).repeat_interleave(6)
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pictures), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.eval()


NETWORKS = {
    "layers": Network(lambda: save(bent().state_dict()), SMALL | {"architecture": LAYERS}),
    "script": Network(scripted, {"format": "torchscript", "architecture": ""}),
}
WANTED = {
    "quick": Wanted("layers", QUICK),
    "standard": Wanted("layers", STANDARD),
    "hidden": Wanted("script", QUICK),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    with audited(tmp_path_factory.mktemp("cer"), "certificates", NETWORKS, WANTED) as made:
        yield made


def folder(run: AuditRun) -> Path:
    return get_artifacts().local(run.details_keys["certificates:summarise"])


def detail(run: AuditRun, name: str) -> np.ndarray:
    found: np.ndarray = np.load(folder(run) / f"{name}.npy")
    return found


@pytest.mark.parametrize(
    "name", ["quick", *(pytest.param(name, marks=pytest.mark.long) for name in ("standard", "hidden"))]
)
def test_the_run_ends_with_one_state_an_image_and_radius(runs: Audited, name: str) -> None:
    run = runs[name]
    assert (run.status, run.error) == ("succeeded", "")
    state = detail(run, "state")
    assert state.shape == (18, 3)
    assert (np.diff((state == BROKEN).astype(int), axis=1) >= 0).all(), "broken stays broken"
    assert (np.diff((state == PROVEN).astype(int), axis=1) <= 0).all(), "proven at a larger ε is proven at smaller"
    assert (state[~detail(run, "right")] == BROKEN).all()


def test_the_hierarchy_of_proofs_and_attacks_holds(runs: Audited) -> None:
    bounds, found = detail(runs["quick"], "bounds"), detail(runs["quick"], "found")
    by_intervals = bounds[:, :, IBP] > 0
    assert by_intervals.any()
    asked = by_intervals & ~np.isnan(bounds[:, :, CROWN])
    assert (bounds[:, :, CROWN][asked] >= bounds[:, :, IBP][asked]).all()
    assert ((bounds[:, :, CROWN] > 0) & ~by_intervals).any(), "CROWN proves more"
    assert not ((bounds > 0).any(2) & (found >= 0)).any()
    assert (detail(runs["quick"], "by") == PGD).any()


@pytest.mark.parametrize("name", ["quick", pytest.param("standard", marks=pytest.mark.long)])
def test_no_random_change_breaks_what_is_proven(runs: Audited, name: str) -> None:
    run, generator = runs[name], np.random.default_rng(0)
    state, images = detail(run, "state"), _images()
    network = bent()
    for place, column in np.argwhere(state == PROVEN).tolist():
        position, label = int(detail(run, "positions")[place]), int(detail(run, "labels")[place])
        change = generator.choice([-1.0, 1.0], (64, 3, 1, 1)) * RADII[column] * np.ones((1, 1, SIDE, SIDE))
        change[32:] = generator.uniform(-RADII[column], RADII[column], (32, 3, SIDE, SIDE))
        x = torch.tensor(np.clip(images[position] + change, 0, 1)).float()
        with torch.no_grad():
            assert (network(_normalised(x)).argmax(1) == label).all()


@pytest.mark.long
def test_complete_verification_and_dear_attacks_leave_less_undecided(runs: Audited) -> None:
    quick, standard = (detail(runs[name], "state") for name in ("quick", "standard"))
    assert (detail(runs["quick"], "complete") == -1).all()
    open_before = quick == OPEN
    assert open_before.any()
    assert (standard == OPEN).sum() < open_before.sum()
    assert (standard[~open_before] == quick[~open_before]).all()
    assert (detail(runs["standard"], "complete") == SAFE).any()
    steps = {step["name"]: step for step in runs["standard"].summary["certificates"]["steps"]}
    assert sum(steps[STEPS[COMPLETE]]["proven"]) > 0
    assert steps[STEPS[COMPLETE]]["seconds"] > 0
    assert STEPS[POLYTOPE + 1] in steps


def test_the_summary_is_that_of_its_states(runs: Audited) -> None:
    summary, state = runs["quick"].summary["certificates"], detail(runs["quick"], "state")
    assert (summary["rows"], summary["of_rows"], summary["not_provable"]) == (18, 18, "")
    assert [level["text"] for level in summary["levels"]] == ["1/10", "0.2", "3/10"]
    for column, level in enumerate(summary["levels"]):
        assert level["bracket"]["proven"]["value"] == pytest.approx((state[:, column] == PROVEN).mean())
        assert level["bracket"]["undecided"] == int((state[:, column] == OPEN).sum())
    assert np.isnan(detail(runs["quick"], "radius")).all()


@pytest.mark.long
def test_radii_lie_between_those_that_are_proven_and_not(runs: Audited) -> None:
    radius, proven = detail(runs["standard"], "radius"), (detail(runs["standard"], "state") == PROVEN).sum(1)
    limits = np.array([0.0, *RADII, 0.6])
    assert (radius >= limits[proven] - 1e-6).all()
    assert (radius <= limits[proven + 1] + 1e-6).all()


def test_counterexamples_were_replayed_and_their_pictures_kept(runs: Audited) -> None:
    run = runs["quick"]
    places, ends = detail(run, "pictures.of").tolist(), detail(run, "pictures.ends").tolist()
    assert places
    data, positions = detail(run, "pictures.bytes").tobytes(), detail(run, "positions").tolist()
    pixels = [
        np.asarray(Image.open(io.BytesIO(data[start:end])).convert("RGB")).astype(float) / 255
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    for number in range(0, len(places), 3):
        place = positions.index(places[number][0])
        column = int((detail(run, "state")[place] == BROKEN).argmax())
        assert np.abs(pixels[number + 2] - pixels[number]).max() <= RADII[column] + 1.01 / 255
        taken, label = detail(run, "taken")[place], detail(run, "labels")[place]
        assert taken[0] == label != taken[column + 1]


@pytest.mark.long
def test_a_network_whose_layers_are_hidden_is_attacked_and_says_so(runs: Audited) -> None:
    summary = runs["hidden"].summary["certificates"]
    assert summary["not_provable"]
    assert "gives no gradients" in summary["no_gradients"]
    assert not (detail(runs["hidden"], "state") == PROVEN).any()
    assert all(level["bracket"]["proven"]["value"] == 0 for level in summary["levels"])


def test_the_training_split_is_left_alone(runs: Audited) -> None:
    with reading() as session:
        stages = {stage.name: stage for stage in jobs.stages(session, "run", runs["quick"].id)}
    assert (stages["certificates:prove"].done, stages["certificates:prove"].total) == (18, 18)


def _images() -> list[np.ndarray]:
    """The validation pictures in the order of their rows as the network gets them, float [3, 8, 8]."""
    archive = zipfile.ZipFile(io.BytesIO(build.images_zip()))
    names = sorted(name for name in archive.namelist() if name.startswith("val/"))
    pictures = [Image.open(archive.open(name)).convert("RGB").resize((SIDE, SIDE), BILINEAR) for name in names]
    return [np.asarray(picture).transpose(2, 0, 1) / 255 for picture in pictures]


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    """As the version's preprocessing says where nobody said anything else."""
    steps = Preprocessing()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (steps.mean, steps.std))
    return (pixels - mean) / std
