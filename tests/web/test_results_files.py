"""Numbers of a run as files: on its page, through the API, and piece by piece."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.audits.base import RunArrays
from app.services import array_file
from app.services.array_file import npz_pieces
from app.store.models import AuditRun
from app.store.session import reading
from app.web.pages.results_files import file_rows
from app.web.reader import LiveReader
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results
from tests.web.influence import add_influence


@pytest.fixture
def audited(results: Results) -> Results:
    """The finished run with a result of the kind `influence`."""
    add_influence(results)
    return results


def test_the_run_s_page_names_its_files(audited: Results) -> None:
    found = audited.signed("viewer").get(f"/api/v1{audited.run}").json()["files"]
    assert [one["name"] for one in found] == ["influence-top.npz"], "without retraining there is no proof to take"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveReader, "table", None)
        patch.setattr(LiveReader, "array", None)
        assert file_rows(reader_of(audited)), "a list of files reads none of them"
    assert f'href="{audited.run}/files/influence-top.npz"' in audited.signed("viewer").get(audited.run).text


def reader_of(results: Results) -> LiveReader:
    with reading() as session:
        return LiveReader(session, session.get_one(AuditRun, results.built.run_id))


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_the_tops_of_all_lists_come_with_the_images_they_speak_of(audited: Results, prefix: str) -> None:
    answer = audited.signed("viewer").get(f"{prefix}{audited.run}/files/influence-top.npz")
    assert answer.status_code == 200
    assert "influence-top.npz" in answer.headers["content-disposition"]
    file = np.load(io.BytesIO(answer.content), allow_pickle=False)
    n = len(audited.built.rows.label)
    assert file["trak.rows"].shape == file["similarity.scores"].shape == (n, 10)
    assert file["trak.scores"][3].tolist() == [5, 4, 3, 2, 1, -1, -2, -3, -4, -5]
    assert file["train_rows"].tolist() == list(range(TRAIN_ROWS))
    assert file["target_rows"].tolist() == list(range(TRAIN_ROWS, TRAIN_ROWS + n))
    ids = [json.loads(file[f"{name}_ids.json"]) for name in ("train", "target")]
    assert [len(one) for one in ids] == [TRAIN_ROWS, n]
    assert len(set(ids[0] + ids[1])) == TRAIN_ROWS + n
    assert b"most helpful first" in file["README.txt"]


def test_a_file_that_is_not_there_is_named(audited: Results) -> None:
    answer = audited.signed("viewer").get(f"/api/v1{audited.run}/files/influence-proof.npz")
    assert answer.status_code == 404
    assert "It has: influence-top.npz" in answer.text


def test_strangers_get_no_file(audited: Results) -> None:
    assert audited.signed("outsider").get(f"{audited.run}/files/influence-top.npz").status_code == 404


def test_arrays_larger_than_a_piece_come_whole_and_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_file, "_PIECE", 64)
    monkeypatch.setattr(array_file, "_IDS", 7)
    names = [f"{'ü' * (i % 3)}{i}" for i in range(20)]
    pq.write_table(pa.table({"row": np.arange(20), "example_id": names}), tmp_path / "manifest.parquet")
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(33, 5)).astype(np.float32))
    arrays = {
        "mapped": np.load(tmp_path / "a.npy", mmap_mode="r"),
        "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
        "empty": np.zeros((0, 3), np.int8),
        "flags": np.array([True, False]),
    }
    file = RunArrays("What it is.", arrays, {"train": np.array([3, 1, 19] * 5), "none": np.zeros(0, int)})
    whole, again = (b"".join(npz_pieces(file, tmp_path / "manifest.parquet")) for _ in range(2))
    assert whole == again
    assert max(map(len, npz_pieces(file, tmp_path / "manifest.parquet"))) < 2_000
    found = np.load(io.BytesIO(whole), allow_pickle=False)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert json.loads(found["train_ids.json"]) == [names[3], names[1], names[19]] * 5
    assert json.loads(found["none_ids.json"]) == []
    assert found["README.txt"] == b"What it is."
