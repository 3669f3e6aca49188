"""What single images are read from: logits, embeddings, packed records and sets of rows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import Conflict, UserError
from app.services import membership, outputs
from app.store.models import AuditRun, Finding
from app.store.places import get_artifacts
from app.store.score_reader import ScoreReader
from app.store.score_rows import FILE, ScoreRows, pack
from app.store.session import reading
from tests.results_fixture import TRAIN_ROWS, embeddings
from tests.web.conftest import Results


@pytest.fixture
def run(results: Results) -> AuditRun:
    with reading() as session:
        return session.get_one(AuditRun, results.built.run_id)


def test_probabilities_are_the_softmax_of_the_logits(results: Results, run: AuditRun) -> None:
    logits = results.built.rows.logits.astype(np.float64)
    for position in (0, 7, 700):
        p = np.exp(logits[position]) / np.exp(logits[position]).sum()
        said = outputs.top_probabilities(run, position, None, most=3)
        assert [entry.class_index for entry in said] == np.argsort(-p)[:3].tolist()
        assert [entry.probability for entry in said] == pytest.approx(np.sort(p)[::-1][:3])


def test_the_true_class_is_always_among_them(results: Results, run: AuditRun) -> None:
    least = int(np.argmin(results.built.rows.logits[4]))
    said = outputs.top_probabilities(run, 4, least, most=2)
    assert [entry.class_index for entry in said][-1] == least
    assert len(said) == 3


def test_a_run_without_outputs_shows_none(run: AuditRun) -> None:
    run.details_keys = {}
    assert outputs.top_probabilities(run, 0, 1) == []
    assert outputs.nearest(run, 5, np.arange(10), 0) == []


def test_nearest_is_by_cosine(results: Results, run: AuditRun) -> None:
    vectors = embeddings(results.built.rows).astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    candidates = np.arange(TRAIN_ROWS, TRAIN_ROWS + 300)
    similarity = unit[:300] @ unit[11]
    similarity[11] = -2
    found = outputs.nearest(run, TRAIN_ROWS + 11, candidates, TRAIN_ROWS)
    assert [entry.row - TRAIN_ROWS for entry in found] == np.argsort(-similarity)[: outputs.NEAR].tolist()
    assert found[0].similarity == pytest.approx(similarity.max(), abs=1e-5)


def test_an_only_image_has_no_neighbour(run: AuditRun) -> None:
    assert outputs.nearest(run, TRAIN_ROWS, np.array([TRAIN_ROWS]), TRAIN_ROWS) == []


def test_records_say_what_the_table_says(results: Results, run: AuditRun) -> None:
    path = membership.score_file(run)
    rows = [TRAIN_ROWS + i for i in (0, 5, 999, 3)]
    assert membership.scores_of(run).by_rows(rows) == ScoreReader(path).by_rows(rows)


def test_records_keep_what_is_missing(tmp_path: Path) -> None:
    table = pa.table(
        {
            "row": pa.array([12, 10, 11], pa.int64()),
            "role": [None, "fit", "confirm"],
            "label": pa.array([None, 3, 0], pa.int32()),
            "prediction": pa.array([1, None, 0], pa.int32()),
            "confidence": pa.array([0.5, None, 0.25], pa.float32()),
            "p_true": pa.array([None, 0.5, 0.25], pa.float32()),
            "correct": [None, False, True],
            "decision": pa.array([None, -1.5, 0.0], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "scores.parquet")
    plain = ScoreReader(tmp_path / "scores.parquet")
    np.save(tmp_path / FILE, plain.records())
    packed = ScoreRows(tmp_path)
    assert packed.by_rows([10, 11, 12]) == plain.by_rows([10, 11, 12])
    assert packed.by_rows([9, 13, 11]).keys() == {11}
    assert packed.by_rows([]) == {}


def test_records_of_no_rows_are_empty(tmp_path: Path) -> None:
    names = ("row", "confidence", "p_true", "decision", "label", "prediction", "correct")
    np.save(tmp_path / FILE, pack({**{name: np.zeros(0) for name in names}, "role": np.zeros(0, object)}))
    assert ScoreRows(tmp_path).by_rows([1, 2]) == {}


def test_rows_of_a_slice_come_from_the_table_or_from_its_own_set(results: Results, run: AuditRun) -> None:
    wanted = np.flatnonzero(results.built.rows.where(1, None, "night")) + TRAIN_ROWS
    found = membership.member_rows(run, Finding(key="direction-car-0", rows_key=""))
    np.testing.assert_array_equal(found, wanted)
    key, digest, rows = membership.store_rows([9, 4, 4, 7])
    assert rows.tolist() == [4, 7, 9]
    assert digest == hashlib.sha256(np.array([4, 7, 9], "<i8").tobytes()).hexdigest()
    np.testing.assert_array_equal(membership.member_rows(run, Finding(key="any", rows_key=key)), rows)
    assert membership.store_rows([7, 9, 4])[0] == key
    assert get_artifacts().has(key)


def test_a_slice_holds_something_and_not_everything(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="0 were picked"):
        membership.store_rows([])
    monkeypatch.setattr(membership, "MOST_ROWS", 2)
    with pytest.raises(UserError, match="1 to 2 images; 3 were picked"):
        membership.store_rows([1, 2, 3])


def test_a_run_under_way_has_no_scores() -> None:
    with pytest.raises(Conflict, match="no results yet"):
        membership.scores_of(AuditRun(scores_key=""))
