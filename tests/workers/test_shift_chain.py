"""The kind `shift` from two uploads to pages' arrays: real files, a real sandboxed child, several shards."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from app.errors import FieldError
from app.loaders.models.layers import build_layers
from app.loaders.models.spec import Preprocessing
from app.numerics.intervals import newcombe_difference_interval
from app.services import request_audit
from app.services.request_audit import RunRequest
from app.store.images import DatasetImages
from app.store.models import AuditRun, Dataset, ModelVersion
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from workers import execute, warm
from workers.testing import Twin
from workers.work import Work

pytestmark = pytest.mark.xdist_group("shift-chain")

PER_CLASS = 40
SECOND = 30
ORDER = ["red", "blue", "green"]
"""The classes as the model numbers them; both data sets sort them by name."""


class Chain(NamedTuple):
    """What the tests look at."""

    run: AuditRun
    twin: Twin
    second: int
    unlike: int
    bare: int
    version: int


def images(seed: int, per_class: int, split: str, names: list[str], glow: int = 0) -> bytes:
    """Class folders of 16-pixel pictures that a random network gets wrong in part; `glow` brightens them."""
    rng, target = np.random.default_rng(seed), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for c, name in enumerate(names):
            for i in range(per_class):
                pixels = rng.integers(0, 120, (16, 16, 3), dtype=np.uint8)
                pixels[..., c % 3] += np.uint8(rng.integers(0, 100))
                pixels += np.uint8(glow)
                picture = io.BytesIO()
                Image.fromarray(pixels).save(picture, "PNG")
                archive.writestr(f"{split}/{name}/{i:03d}.png", picture.getvalue())
    return target.getvalue()


def flat(data: bytes) -> bytes:
    """The same pictures in one folder, listed in a table that does not say what they show."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(target, "w") as out:
        names = {f"{number:03d}.png": name for number, name in enumerate(archive.namelist())}
        out.writestr("manifest.csv", "\n".join(["path", *names]))
        for name, original in names.items():
            out.writestr(name, archive.read(original))
    return target.getvalue()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("shift"), patch, shard_rows="50"):
        twin = Twin()
        with transaction() as session:
            project = build.project(session)
            first = build.dataset(session, project, images(1, PER_CLASS, "val", build.CLASSES))
            second = build.dataset(session, project, images(2, SECOND, "test", build.CLASSES, glow=30))
            unlike = build.dataset(session, project, images(3, 5, "val", ["blue", "green", "yellow"]))
            bare = build.dataset(session, project, flat(images(4, 20, "test", build.CLASSES)))
            second.name, unlike.name, bare.name = "night", "unlike", "bare"
            version = build.version(session, project, build.weights(), classes=ORDER)
        for dataset in (first, second, unlike, bare):
            twin.run_workflow("import_dataset", dataset.id)
        with transaction() as session:
            # What a check finds is tested elsewhere, and takes as long as the audit.
            session.get_one(ModelVersion, version.id).status = "succeeded"
            wanted = request(first.id, version.id, f"{second.id}/test", "slices")
            made = request_audit.request_audit(session, project, None, wanted)
        twin.run_workflow("audit_run", made.id)
        with reading() as session:
            yield Chain(session.get_one(AuditRun, made.id), twin, second.id, unlike.id, bare.id, version.id)
        warm._drop_child()


def request(dataset: int, version: int, second: str, *kinds: str, **more: Any) -> RunRequest:
    params = {"shift": {"second": second}} | {kind: {"permutations": 5, "methods": ["direction"]} for kind in kinds}
    return RunRequest(
        model_version_id=version, dataset_id=dataset, split="val", kinds=["shift", *kinds], encoder="penultimate",
        params=params, **more,
    )  # fmt: skip


def test_the_run_succeeds_and_reads_the_slices_first(chain: Chain) -> None:
    assert (chain.run.status, chain.run.error) == ("succeeded", "")
    with reading() as session:
        names = [stage.name for stage in jobs.stages(session, "run", chain.run.id)]
        done = {stage.name: (stage.done, stage.total) for stage in jobs.stages(session, "run", chain.run.id)}
    assert names.index("slices:slices") < names.index("shift:groups")
    assert done["predict@shift"] == (3 * SECOND, 3 * SECOND)
    assert done["predict"] == (3 * PER_CLASS, 3 * PER_CLASS)
    assert "embed@shift" not in names


def test_the_second_set_is_predicted_by_the_same_network(chain: Chain) -> None:
    network = build_layers(build.LAYERS)
    network.load_state_dict(load(build.weights()))
    with reading() as session:
        dataset = session.get_one(Dataset, chain.second)
    rows = DatasetImages(get_artifacts().local(dataset.artifact_key), get_blobs()).rows(0, 3 * SECOND)
    pictures = torch.tensor(np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in rows])).permute(0, 3, 1, 2)
    steps = Preprocessing()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (steps.mean, steps.std))
    with torch.no_grad():
        expected = network.eval()((pictures.float() / 255 - mean) / std).argmax(1)
    folder = get_artifacts().local(chain.run.details_keys["shift:accuracy"])
    assert np.load(folder / "predictions.npy").tolist() == expected.tolist()
    manifest = pq.read_table(get_artifacts().local(dataset.artifact_key) / "manifest.parquet")
    named = [dataset.classes[label] for label in manifest["label"].to_pylist()]
    assert [ORDER[label] for label in np.load(folder / "labels.npy")] == named
    assert np.load(folder / "pictured.npy").all()


def test_the_gap_is_that_of_the_outcomes(chain: Chain) -> None:
    change = chain.run.summary["shift"]["accuracy"]["change"]
    folder = get_artifacts().local(chain.run.details_keys["shift:accuracy"])
    right = np.load(folder / "labels.npy") == np.load(folder / "predictions.npy")
    card = chain.run.summary["card"]["accuracy"]
    assert change["first"]["value"] == pytest.approx(card["value"])
    assert change["second"]["value"] == pytest.approx(right.mean())
    low, high = newcombe_difference_interval(right.sum(), len(right), card["k"], card["n"])
    assert (change["difference"]["low"], change["difference"]["high"]) == pytest.approx((float(low), float(high)))


def test_brighter_pictures_are_called_covariate_shift(chain: Chain) -> None:
    space = chain.run.summary["shift"]["space"]
    assert space["verdict"] == "covariate"
    assert all(test["holm"] <= 0.05 for test in space["tests"])
    assert chain.run.summary["shift"]["accuracy"]["label_p"] > 0.05


def test_a_later_run_takes_the_second_set_from_the_store(chain: Chain) -> None:
    with transaction() as session:
        wanted = request(chain.run.dataset_id, chain.version, f"{chain.second}/test", name="again", seed=7)
        again = request_audit.request_audit(session, chain.run.project_id, None, wanted)
        parts = request_audit.find_parts(session, chain.run.project_id, wanted)
        work = {part.title: part for part in request_audit.estimate(session, parts, "penultimate", wanted.params)}
    assert (work["Predict night / test"].rows, work["Predict night / test"].cached) == (3 * SECOND, 3 * SECOND)
    before = len(chain.twin.ran)
    chain.twin.run_workflow("audit_run", again.id)
    assert not [unit for unit in chain.twin.ran[before:] if unit["stage"] == "predict"]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("", "needs a second data set"),
        ("99/val", "no such data set in this project"),
        ("{first}/val", "is the audited split itself"),
        ("{second}/val", "has no split “val”; it has “test”"),
        ("{unlike}/val", "The classes differ: “unlike” has “yellow”"),
    ],
)
def test_what_cannot_be_compared_is_refused_beside_its_field(chain: Chain, second: str, said: str) -> None:
    text = second.format(first=chain.run.dataset_id, second=chain.second, unlike=chain.unlike)
    with reading() as session, pytest.raises(FieldError, match=said) as raised:
        request_audit.request_audit(
            session, chain.run.project_id, None, request(chain.run.dataset_id, chain.version, text)
        )
    assert raised.value.field == "shift.second"


def test_a_run_that_is_cancelled_over_a_set_without_labels_goes_on_from_there(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = execute.stage, []

    def stage(name: str) -> Any:
        def run(work: Work) -> dict[str, Any]:
            seen.append(work.line)
            if seen.count("predict@shift") == 2 and work.line == "predict@shift":
                with transaction() as session:
                    jobs.request_cancel(session, work.job)
            return real(name)(work)

        return run

    monkeypatch.setattr(execute, "stage", stage)
    with transaction() as session:
        wanted = request(chain.run.dataset_id, chain.version, f"{chain.bare}/all")
        made = request_audit.request_audit(session, chain.run.project_id, None, wanted)
    Twin().run_workflow("audit_run", made.id)
    with reading() as session:
        assert session.get_one(AuditRun, made.id).status == "cancelled"
        done = {stage.name: stage.done for stage in jobs.stages(session, "run", made.id)}
    assert done["predict@shift"] == 50
    with transaction() as session:
        attempt = jobs.resume(session, made.id)
    seen.clear()
    Twin().run_workflow("audit_run", made.id, attempt or 0)
    # the shard that was cancelled may have been finished before anybody looked; the one before it was
    assert seen.count("predict") == 0
    assert seen.count("predict@shift") <= 1
    with reading() as session:
        run = session.get_one(AuditRun, made.id)
    assert (run.status, run.error) == ("succeeded", "")
    summary = run.summary["shift"]
    assert summary["notes"][0].startswith("“bare” / all has no labels: only what needs none is said of it")
    assert summary["accuracy"]["change"] is None
    assert summary["accuracy"]["unlabelled"]["estimate"]["n"] == 60
    assert summary["space"]["by_prediction"]
    assert "start it again with “Error slices” chosen" in summary["groups"]["no_slices"]
