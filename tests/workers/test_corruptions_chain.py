"""The kind `corruptions` from upload to pages' arrays: real files, a real sandboxed child, several shards."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from app.loaders.models.layers import build_layers
from app.loaders.models.spec import Preprocessing
from app.numerics.corruptions.corrupt import corrupt
from app.store.images import DatasetImages
from app.store.models import AuditRun, Dataset
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs
from app.store.session import reading
from tests.workers import build
from tests.workers.audited import Network, Wanted, audited

pytestmark = pytest.mark.xdist_group("corruptions-chain")

PARAMS = {"kinds": ["fog", "gaussian_noise", "contrast"], "severities": ["2", "5"]}
CELLS = [("gaussian_noise", 2), ("gaussian_noise", 5), ("fog", 2), ("fog", 5), ("contrast", 2), ("contrast", 5)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditRun]:
    network, wanted = {"layers": Network(build.weights)}, {"run": Wanted("layers", PARAMS)}
    with audited(tmp_path_factory.mktemp("cor"), "corruptions", network, wanted) as made:
        yield made["run"]


def detail(run: AuditRun, name: str) -> np.ndarray:
    found: np.ndarray = np.load(get_artifacts().local(run.details_keys["corruptions:summarise"]) / f"{name}.npy")
    return found


def pictures(run: AuditRun) -> torch.Tensor:
    """The 18 audited images; the model takes them at their own size."""
    with reading() as session:
        dataset = session.get_one(Dataset, run.dataset_id)
    rows = DatasetImages(get_artifacts().local(dataset.artifact_key), get_blobs()).rows(18, 36)
    return torch.tensor(np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in rows])).permute(0, 3, 1, 2)


def logits(images: torch.Tensor) -> torch.Tensor:
    network, steps = build_layers(build.LAYERS), Preprocessing()
    network.load_state_dict(load(build.weights()))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (steps.mean, steps.std))
    with torch.no_grad():
        found: torch.Tensor = network.eval()((images.float() / 255 - mean) / std)
    return found


def test_every_cell_is_what_the_network_says_of_the_corrupted_images(run: AuditRun) -> None:
    assert (run.status, run.error) == ("succeeded", "")
    images, labels = pictures(run), torch.from_numpy(detail(run, "labels")).long()
    assert detail(run, "positions").tolist() == list(range(18))
    for column, (kind, severity) in enumerate([("", 0), *CELLS]):
        seen = images
        if kind:
            seen = corrupt(images, kind, severity, family="cifar-c", rows=range(18, 36), seed=run.seed)
        expected = logits(seen)
        own = expected[torch.arange(18), labels]
        others = expected.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
        np.testing.assert_allclose(detail(run, "margin")[:, column], own - others, atol=0.02)
        assert detail(run, "taken")[:, column].tolist() == expected.argmax(1).tolist()
        assert detail(run, "outcome")[:, column].tolist() == (expected.argmax(1) == labels).int().tolist()


def test_the_summary_is_that_of_its_outcomes(run: AuditRun) -> None:
    summary, outcome = run.summary["corruptions"], detail(run, "outcome")
    assert (summary["rows"], summary["of_rows"], summary["family"]) == (18, 18, "cifar-c")
    assert [row["kind"] for row in summary["kinds"]] == ["gaussian_noise", "fog", "contrast"]
    shares = [cell["value"] for row in summary["kinds"] for cell in row["cells"]]
    assert shares == pytest.approx(outcome[:, 1:].mean(axis=0))
    assert summary["clean"]["value"] == pytest.approx(outcome[:, 0].mean())
    assert summary["mean_error"]["value"] == pytest.approx(1 - outcome[:, 1:].mean())
    assert summary["alexnet"] is None


def test_pictures_of_one_image_in_every_cell_are_kept(run: AuditRun) -> None:
    places, ends = detail(run, "pictures.of").tolist(), detail(run, "pictures.ends").tolist()
    data = detail(run, "pictures.bytes").tobytes()
    assert len(places) == len(ends)
    assert ends[-1] == len(data)
    images = pictures(run)
    whole = [p for p, _ in places if all([p, column] in places for column in range(7))]
    assert whole
    for number, (position, column) in enumerate(places):
        found = Image.open(io.BytesIO(data[ends[number - 1] if number else 0 : ends[number]]))
        expected = images[position : position + 1]
        if column:
            kind, severity = CELLS[column - 1]
            expected = corrupt(expected, kind, severity, family="cifar-c", rows=[18 + position], seed=run.seed)
        assert np.array_equal(np.asarray(found.convert("RGB")), expected[0].permute(1, 2, 0).numpy())


def test_the_training_split_is_left_alone(run: AuditRun) -> None:
    with reading() as session:
        stages = {stage.name: stage for stage in jobs.stages(session, "run", run.id)}
    assert (stages["corruptions:measure"].done, stages["corruptions:measure"].total) == (18, 18)
    assert list(run.provenance["work_on_model"]["corruptions:measure"]) == ["audited"]
