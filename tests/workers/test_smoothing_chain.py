"""The kind `smoothing` from upload to pages' arrays: real files, a real sandboxed child, several shards, a copy."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from app.store.models import AuditRun, Dataset, ModelVersion
from app.store.places import get_artifacts
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from tests.workers.test_attacks_chain import coloured, scripted
from workers import warm
from workers.testing import Twin

pytestmark = pytest.mark.xdist_group("smoothing-chain")

QUICK = {"sigmas": ["0.1", "0.4"], "radii": ["0.05", "0.2"], "budget": "quick"}
FULL = {"sigmas": ["0.1"], "radii": ["0.05", "0.2"], "budget": "standard"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, AuditRun]]:
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("smo"), patch, shard_rows="7"):
        twin = Twin()
        with transaction() as session:
            dataset = build.dataset(session, build.project(session), build.images_zip())
        twin.run_workflow("import_dataset", dataset.id)
        made, versions = {}, {}
        for name, blob, spec in (
            ("layers", save(coloured().state_dict()), {}),
            ("script", scripted(), {"format": "torchscript", "architecture": ""}),
        ):
            with transaction() as session:
                version = versions[name] = build.version(session, dataset.project_id, blob, **spec)
            twin.run_workflow("check_model", version.id)
        for name, version, params in (
            ("quick", versions["layers"], QUICK),
            ("full", versions["layers"], FULL),
            ("script", versions["script"], QUICK),
        ):
            with transaction() as session:
                data, net = session.get_one(Dataset, dataset.id), session.get_one(ModelVersion, version.id)
                run = build.run(session, data, net, kinds=["smoothing"], params={"smoothing": params})
            twin.run_workflow("audit_run", run.id)
            with reading() as session:
                made[name] = session.get_one(AuditRun, run.id)
        yield made
        warm._drop_child()


def detail(run: AuditRun, name: str) -> np.ndarray:
    found: np.ndarray = np.load(get_artifacts().local(run.details_keys["smoothing:summarise"]) / f"{name}.npy")
    return found


@pytest.mark.parametrize("name", ["quick", "full", "script"])
def test_each_image_has_an_answer_for_every_noise_and_radius(runs: dict[str, AuditRun], name: str) -> None:
    run = runs[name]
    assert run.error == ""
    noises = len(run.params["smoothing"]["sigmas"])
    assert detail(run, "decided").shape == (18, noises, 3)
