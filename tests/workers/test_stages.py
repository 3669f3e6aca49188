"""The stages between the network and the results, on small arrays: joining, labels, tables, card, storage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.audits.base import FindingDraft, Result, ScoreColumn, Split
from app.errors import UserError
from app.services import keys
from app.store.models import AuditRun, Dataset, DatasetSplit
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.repositories.jobs import Job
from app.store.session import reading, transaction
from tests.workers import build
from workers.run_plan import load_run
from workers.sandbox import SandboxMemory
from workers.stages import assemble, predict, results
from workers.stages.card import report_card
from workers.stages.inputs import load_split
from workers.stages.score_table import outcomes, score_table
from workers.work import Work

BASE = {"b": 1}
N = 12


@pytest.fixture
def run(home: Path, trivial: str, monkeypatch: pytest.MonkeyPatch) -> AuditRun:
    """A run on rows 4 to 16 of a data set whose classes stand in another order than the model's."""
    key = "ingest-1-test"
    with get_artifacts().write(key) as folder:
        labels = pa.array([i % 4 for i in range(20)], pa.int32())
        manifest = pa.table({"row": np.arange(20), "example_id": [f"e{i}" for i in range(20)], "label": labels})
        pa.parquet.write_table(manifest, folder / "manifest.parquet")
        np.save(folder / "embeddings.npy", np.arange(40, dtype=np.float32).reshape(20, 2))
    monkeypatch.setenv("FAULTLINE_SHARD_ROWS", "4")
    from app.settings import get_settings

    get_settings.cache_clear()
    with transaction() as session:
        project = build.project(session)
        dataset = Dataset(
            project_id=project, name="d", status="succeeded", rows=20, artifact_key=key, data_hash="d",
            classes=["red", "green", "blue", "unknown"],
        )  # fmt: skip
        session.add(dataset)
        session.flush()
        session.add(DatasetSplit(dataset_id=dataset.id, name="val", start=4, stop=4 + N))
        version = build.version(session, project, b"weights")
        version.status = "succeeded"
        return build.run(session, dataset, version, train_split="", status="running")


def shard(start: int, logits: np.ndarray, features: np.ndarray | None = None) -> None:
    with get_artifacts().write(keys.shard_key("predict", BASE, start, start + len(logits))) as folder:
        np.save(folder / "logits.npy", logits.astype(np.float32))
        if features is not None:
            np.save(folder / "features.npy", features.astype(np.float32))


def joined(run: AuditRun, aside: list[list[int]] | None = None) -> dict[str, Any]:
    job = Job("run", run.id)
    with transaction() as session:
        jobs.plan_stages(session, job, [jobs.StagePlan("assemble", "Join")])
    args = {"bases": {"predict": BASE}, "aside": {"predict": aside or []}}
    return assemble.run(Work(job, "assemble", args, "cpu"))


def all_shards(features: bool = True) -> np.ndarray:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(N, 3)).astype(np.float32)
    for start in range(0, N, 4):
        block = logits[start : start + 4]
        shard(4 + start, block, 10 * block[:, :2] if features else None)
    return logits


def test_shards_are_joined_in_order(run: AuditRun) -> None:
    logits = all_shards()
    split = load_split(load_run(run.id), "audited", joined(run)["audited"])
    np.testing.assert_array_equal(split.logits, logits)
    np.testing.assert_array_equal(split.features, 10 * logits[:, :2])
    assert isinstance(split.logits, np.memmap)
    assert split.manifest["row"].to_pylist() == list(range(4, 16))


def test_labels_are_in_the_models_numbering(run: AuditRun) -> None:
    """Data set: red, green, blue, unknown; model: blue, green, red."""
    all_shards()
    split = load_split(load_run(run.id), "audited", joined(run)["audited"])
    assert split.manifest["label"].to_pylist() == [2, 1, 0, -1] * 3


def test_rows_set_aside_keep_their_place(run: AuditRun) -> None:
    logits = all_shards()
    split = load_split(load_run(run.id), "audited", joined(run, [[8, 12]])["audited"])
    assert split.manifest["label"].to_pylist() == [2, 1, 0, -1, -1, -1, -1, -1, 2, 1, 0, -1]
    kept = np.r_[0:4, 8:12]
    np.testing.assert_array_equal(split.logits[kept], logits[kept])
    np.testing.assert_allclose(split.logits[4:8], np.tile(logits[kept].mean(0), (4, 1)), rtol=1e-5)


def test_rows_without_finite_numbers_are_not_audited(run: AuditRun) -> None:
    all_shards()
    bad = np.zeros((4, 3))
    bad[1, 2], bad[2, 0] = np.nan, np.inf
    get_artifacts().delete(keys.shard_key("predict", BASE, 4, 8))
    shard(4, bad, np.zeros((4, 2)))
    key = joined(run)["audited"]
    audited = np.load(get_artifacts().local(key) / "audited.npy")
    assert np.flatnonzero(~audited).tolist() == [1, 2]
    split = load_split(load_run(run.id), "audited", key)
    assert np.isfinite(split.logits).all()
    with reading() as session:
        assert jobs.log_lines(session, "run", run.id)[-1].text == "2 of 12 rows are not audited"


def test_nothing_to_audit_is_refused(run: AuditRun) -> None:
    for start in (4, 8, 12):
        shard(start, np.full((4, 3), np.nan))
    with pytest.raises(UserError, match="None of the 12 rows could be audited"):
        joined(run)


def test_hidden_penultimate_layer_is_refused(run: AuditRun) -> None:
    all_shards(features=False)
    with pytest.raises(UserError, match="hides its penultimate layer"):
        joined(run)


def test_given_embeddings_are_read_where_they_lie(run: AuditRun) -> None:
    all_shards()
    with transaction() as session:
        session.get_one(AuditRun, run.id).encoder = "given"
    split = load_split(load_run(run.id), "audited", joined(run)["audited"])
    np.testing.assert_array_equal(split.embeddings, np.arange(8, 32, dtype=np.float32).reshape(12, 2))


def test_another_set_of_shards_aside_is_another_artifact(run: AuditRun) -> None:
    all_shards()
    assert joined(run)["audited"] != joined(run, [[8, 12]])["audited"]


def small_split(logits: np.ndarray, labels: list[int]) -> Split:
    n = len(labels)
    manifest = pa.table({"row": np.arange(n) + 7, "example_id": [f"e{i}" for i in range(n)], "label": pa.array(labels)})
    return Split("val", manifest, None, logits, None)


def test_outcomes_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(50, 4)) * 3, rng.integers(0, 4, 50).tolist()
    found = outcomes(small_split(logits, labels))
    for i, (row, label) in enumerate(zip(logits, labels, strict=True)):
        p = np.exp(row) / np.exp(row).sum()
        assert found.prediction[i] == int(np.argmax(row))
        assert found.confidence[i] == pytest.approx(p.max(), rel=1e-5)
        assert found.p_true[i] == pytest.approx(p[label], rel=1e-4)
        assert found.correct[i] == (int(np.argmax(row)) == label)


def test_huge_logits_stay_finite() -> None:
    found = outcomes(small_split(np.array([[1e4, -1e4], [0.0, 800.0]]), [0, 1]))
    assert found.confidence.tolist() == [1.0, 1.0]


def test_score_table_has_null_where_nothing_is_known() -> None:
    split = small_split(np.eye(3), [0, -1, 1])
    table = score_table(split, outcomes(split), {}, [])
    assert table["row"].to_pylist() == [7, 8, 9]
    assert table["correct"].to_pylist() == [True, None, False]
    assert table["label"].to_pylist() == [0, None, 1]
    assert table["role"].null_count == table["decision"].null_count == 3
    assert table["slices"].to_pylist() == [[], [], []]


def test_score_table_names_every_slice_of_a_row() -> None:
    split = small_split(np.eye(4), [0, 1, 2, 3])
    drafts = [
        FindingDraft("slice", key, "m", key, "confirmed", {}, rows=np.array(rows))
        for key, rows in {"a": [0, 2], "b": [2], "c": [], "d": [0, 1, 2, 3]}.items()
    ]
    drafts.append(FindingDraft("class", "no rows", "m", "t", "confirmed", {}))
    table = score_table(split, outcomes(split), {}, drafts)
    assert table["slices"].to_pylist() == [["a", "d"], ["d"], ["a", "b", "d"], ["d"]]


def test_columns_of_kinds_never_hide_ours(tmp_path: Path) -> None:
    values = np.arange(3.0)
    for kind in ("one", "two"):
        (tmp_path / kind).mkdir()
        columns = [ScoreColumn(name, values, "") for name in ("confidence", "hardness")]
        results.save(Result(summary={}, scores=columns), tmp_path / kind)
    split = small_split(np.eye(3), [0, 1, 2])
    folders = {"one:s": tmp_path / "one", "two:s": tmp_path / "two"}
    table = score_table(split, outcomes(split), folders, [])
    assert {"hardness", "two.hardness", "one.confidence", "two.confidence"} <= set(table.column_names)
    assert table["confidence"].to_pylist() != values.tolist()


def test_report_card_counts_only_rows_that_can_be_judged() -> None:
    found = outcomes(small_split(np.array([[2.0, 0], [0, 2], [2, 0], [0, 2]]), [0, 0, -1, 1]))
    card = report_card(found, seed=0)
    assert (card["rows"], card["not_judged"]) == (4, 1)
    assert (card["accuracy"]["k"], card["accuracy"]["n"]) == (2, 3)
    assert sum(each["accuracy"]["n"] for each in card["calibration"]["bins"]) == 3
    p = float(np.exp(2) / (np.exp(2) + 1))
    assert card["calibration"]["ece"] == pytest.approx(abs(2 / 3 - p), abs=1e-6)
    assert card == report_card(found, seed=0)


def test_report_card_without_labels() -> None:
    card = report_card(outcomes(small_split(np.eye(2), [-1, -1])), seed=0)
    assert card == {"rows": 2, "not_judged": 2}


def test_results_come_back_as_they_went(tmp_path: Path) -> None:
    drafts = [
        FindingDraft("slice", "a", "m", "t", "confirmed", {"n": np.int64(3), "x": np.nan}, 1, rows=np.array([1, 5])),
        FindingDraft("class", "b", "m", "t", "insufficient", {}, rank=2),
    ]
    scores = [ScoreColumn("role", np.array(["fit", "confirm"]), ""), ScoreColumn("d", np.array([0.5, np.nan]), "")]
    details, tables = {"xy": np.eye(2, dtype=np.float32)}, {"t": pa.table({"a": [1]})}
    results.save(Result({"n": np.float32(2)}, scores, details, tables, drafts), tmp_path)
    assert results.summary(tmp_path) == {"n": 2.0}
    first, second = results.findings(tmp_path)
    assert (first.metrics, first.rows.tolist(), first.class_index) == ({"n": 3, "x": None}, [1, 5], 1)
    assert (second.rows, second.rank, second.evidence) == (None, 2, "insufficient")
    found = results.scores(tmp_path)
    assert found["role"].to_pylist() == ["fit", "confirm"]
    assert found["d"].to_pylist() == [0.5, None]
    np.testing.assert_array_equal(np.load(tmp_path / "xy.npy"), np.eye(2))


def test_what_is_no_json_is_refused() -> None:
    assert results.plain({1: (np.arange(2), float("inf"))}) == {"1": [[0, 1], None]}
    with pytest.raises(TypeError, match="object is not JSON"):
        results.plain({"a": object()})


def test_out_of_memory_halves_the_batch() -> None:
    asked: list[int] = []
    said: list[str] = []

    def ask(size: int) -> dict[str, Any]:
        asked.append(size)
        if size > 16:
            raise SandboxMemory("It held 9 GiB.")
        return {"ok": size}

    assert predict.halving(ask, said.append) == {"ok": 16}
    assert asked == [64, 32, 16]
    assert len(said) == 2
    with pytest.raises(SandboxMemory):
        predict.halving(lambda size: ask(size + 100), said.append)


def test_keys_name_all_that_a_result_depends_on() -> None:
    base = keys.predict_base("data", "model", "cpu")
    same = keys.shard_key("predict", json.loads(json.dumps(base)), 0, 10)
    assert same == keys.shard_key("predict", base, 0, 10)
    others = [
        keys.shard_key("embed", base, 0, 10),
        keys.shard_key("predict", base, 0, 11),
        keys.shard_key("predict", keys.predict_base("other", "model", "cpu"), 0, 10),
        keys.shard_key("predict", keys.predict_base("data", "other", "cpu"), 0, 10),
        keys.shard_key("predict", keys.predict_base("data", "model", "cuda"), 0, 10),
    ]
    assert len({same, *others}) == 6
    assert keys.model_hash({"a": 1, "b": 2}, ["x"]) == keys.model_hash({"b": 2, "a": 1}, ["x"])
    assert keys.model_hash({"a": 1}, ["x", "y"]) != keys.model_hash({"a": 1}, ["y", "x"])
