"""The kind `patches` from upload to pages' arrays: real files, a real sandboxed child, several shards."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from app.audits.patches.schema import GRID, METHODS, UNKNOWN
from app.store.models import AuditRun
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.session import reading
from tests.workers.audited import Audited, Network, Wanted, audited
from tests.workers.test_attacks_chain import coloured, scripted

pytestmark = pytest.mark.xdist_group("patches-chain")

PARAMS = {"sizes": ["10 px", "2 px", "1.5 %"], "budget": "quick", "threshold": 0.34}
VIT = "vit_tiny_patch16_224"


def transformer() -> bytes:
    """A transformer of timm whose tokens are 16 px wide."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(1)
    return save(timm.create_model(VIT, num_classes=3, img_size=32).state_dict())


VOTES = {"sizes": ["4 px"], "budget": "quick", "methods": ["two masks", "smoothed ViT"], "stride": 8}
NETWORKS = {
    "layers": Network(lambda: save(coloured().state_dict())),
    "script": Network(scripted, {"format": "torchscript", "architecture": ""}),
    "transformer": Network(
        transformer, {"architecture": f"timm:{VIT}", "preprocessing": {"size": [32, 32], "resize": "stretch"}}
    ),
}
WANTED = {
    "weights": Wanted("layers", PARAMS),
    "script": Wanted("script", PARAMS),
    "tokens": Wanted("transformer", VOTES),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    with audited(tmp_path_factory.mktemp("pat"), "patches", NETWORKS, WANTED) as made:
        yield made


def detail(run: AuditRun, name: str) -> np.ndarray:
    found: np.ndarray = np.load(get_artifacts().local(run.details_keys["patches:summarise"]) / f"{name}.npy")
    return found


@pytest.mark.parametrize(
    "name", ["weights", *(pytest.param(name, marks=pytest.mark.long) for name in ("script", "tokens"))]
)
def test_the_run_ends_with_one_answer_an_image_method_and_size(runs: Audited, name: str) -> None:
    run = runs[name]
    assert (run.status, run.error) == ("succeeded", "")
    sizes = [size["px"] for size in run.summary["patches"]["sizes"]]
    assert sizes == ([4] if name == "tokens" else [2, 10])
    certified, defended = detail(run, "certified"), detail(run, "defended")
    assert certified.shape == defended.shape == (18, len(METHODS), len(sizes))
    labels = detail(run, "labels")[:, None, None]
    assert ((certified == 1) <= (defended == labels)).all(), "what is certified is right"
    ran = [METHODS[i] for i in range(len(METHODS)) if (certified[:, i] >= 0).all()]
    assert ran == (VOTES["methods"] if name == "tokens" else ["two masks", "columns"])
    assert [row["method"] for row in run.summary["patches"]["methods"]] == ran


def test_a_network_of_means_is_certified_against_small_patches_alone(runs: Audited) -> None:
    run = runs["weights"]
    sure = detail(run, "labels") > 0
    assert detail(run, "certified")[sure, 0].mean(axis=0).tolist() == [1, 1], "blue is known least surely"
    rows = run.summary["patches"]["methods"]
    assert rows[0]["certified"][0]["low"] < rows[0]["certified"][0]["value"] == detail(run, "certified")[:, 0, 0].mean()
    assert rows[0]["votes"] is None
    assert 0 <= rows[1]["votes"]["value"] <= 1
    assert rows[1]["passes"] == 16
    assert run.summary["patches"]["left_out"].keys() == {"blocks", "smoothed ViT"}
    assert "budget “quick”" in run.summary["patches"]["left_out"]["blocks"]
    assert "no plain vision transformer" in run.summary["patches"]["left_out"]["smoothed ViT"]


@pytest.mark.long
def test_formats_agree(runs: Audited) -> None:
    for name in ("certified", "defended", "map"):
        assert (detail(runs["weights"], name) == detail(runs["script"], name)).all(), name
    assert "needs safetensors" in runs["script"].summary["patches"]["left_out"]["smoothed ViT"]


@pytest.mark.parametrize("name", ["weights", pytest.param("tokens", marks=pytest.mark.long)])
def test_maps_are_safe_everywhere_where_the_image_is_certified(runs: Audited, name: str) -> None:
    run = runs[name]
    maps, certified = detail(run, "map"), detail(run, "certified")
    assert maps.shape[1:] == (len(METHODS), certified.shape[2], GRID, GRID)
    places = [detail(run, "positions").tolist().index(position) for position in detail(run, "mapped").tolist()]
    assert len(places) == 18
    held = certified[places]
    assert (maps[held == 1] >= 0).all()
    assert (maps[held == -1] == UNKNOWN).all()


def test_kept_pictures_are_what_the_network_gets(runs: Audited) -> None:
    run = runs["weights"]
    ends, data = detail(run, "pictures.ends").tolist(), detail(run, "pictures.bytes").tobytes()
    assert len(ends) == len(detail(run, "mapped")) == 18
    for start, end in zip([0, *ends], ends, strict=False):
        assert Image.open(io.BytesIO(data[start:end])).size == (16, 16)


def test_only_the_audited_split_is_tested(runs: Audited) -> None:
    with reading() as session:
        stages: dict[str, Any] = {stage.name: stage for stage in jobs.stages(session, "run", runs["weights"].id)}
    assert (stages["patches:certify"].done, stages["patches:certify"].total) == (18, 18)
