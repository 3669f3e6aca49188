"""The reader of the score table, against plain numpy over the same columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.store.score_reader import Order, ScoreReader, manifest_row

N = 500


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(3)
    judged = rng.random(N) < 0.9
    return pa.table(
        {
            "row": pa.array(np.arange(1_000, 1_000 + N), pa.int64()),
            "example_id": [f"it's {i}" for i in range(N)],
            "role": np.where(rng.random(N) < 0.5, "fit", "confirm"),
            "label": pa.array(rng.integers(0, 4, N), pa.int32(), mask=~judged),
            "prediction": pa.array(rng.integers(0, 4, N), pa.int32()),
            "confidence": pa.array(rng.random(N).astype(np.float32)),
            "p_true": pa.array(np.round(rng.random(N), 1).astype(np.float32)),
            "correct": pa.array(rng.random(N) < 0.8, mask=~judged),
            "decision": pa.array(rng.normal(size=N).astype(np.float32), mask=rng.random(N) < 0.2),
            "slices": pa.array([["a"] if i % 7 == 0 else ["b", "a"] if i % 11 == 0 else [] for i in range(N)]),
        }
    )


@pytest.fixture
def reader(table: pa.Table, tmp_path: Path) -> ScoreReader:
    path = tmp_path / "it's scores.parquet"
    pq.write_table(table, path, row_group_size=64)
    return ScoreReader(path)


def test_missing_values_come_last_in_both_directions(reader: ScoreReader, table: pa.Table) -> None:
    known = N - table["decision"].null_count
    for order in ("decision", "decision DESC"):
        values = [row["decision"] for row in reader.rows(order=order, limit=N)]
        assert None not in values[:known]
        assert set(values[known:]) == {None}
        assert values[:known] == sorted(values[:known], reverse=order.endswith("DESC"))


def test_pages_in_a_tied_order_are_stable(reader: ScoreReader) -> None:
    whole = [row["row"] for row in reader.rows(order="p_true", limit=N)]
    parts = [row["row"] for start in range(0, N, 37) for row in reader.rows(order="p_true", limit=37, offset=start)]
    assert whole == parts
    assert sorted(whole) == list(range(1_000, 1_000 + N))


@pytest.mark.parametrize("order", ["p_true", "p_true DESC", "row", "confidence DESC"])
def test_stepping_walks_the_whole_list(reader: ScoreReader, order: str) -> None:
    listed = [row["row"] for row in reader.rows("label = ?", [2], order=order, limit=N)]
    for place, row in enumerate(listed):
        before = listed[place - 1] if place else None
        after = listed[place + 1] if place + 1 < len(listed) else None
        assert reader.beside(row, "label = ?", [2], order=order) == (before, after)


def test_a_row_that_is_not_there_has_no_neighbours(reader: ScoreReader) -> None:
    assert reader.beside(5) == (None, None)
    assert reader.one(5) is None
    assert reader.by_rows([5]) == {}
    assert reader.by_rows([]) == {}


def test_only_wide_rows_hold_text_and_slices(reader: ScoreReader) -> None:
    assert "slices" not in reader.rows(limit=1)[0]
    whole = reader.one(1_077)
    assert whole is not None
    assert whole["slices"] == ["a"]
    assert whole["example_id"] == "it's 77"


def test_tallies_count_errors(reader: ScoreReader, table: pa.Table) -> None:
    label = np.array(table["label"].fill_null(-1))
    wrong = ~np.array(table["correct"].fill_null(True))
    for value, n, errors in reader.tally("label", "label IS NOT NULL"):
        assert n == int((label == value).sum())
        assert errors == int(wrong[label == value].sum())
    with pytest.raises(ValueError, match="not tallied"):
        reader.tally("example_id")


def test_members_are_the_rows_that_carry_the_key(reader: ScoreReader) -> None:
    assert reader.members("a").tolist() == [1_000 + i for i in range(N) if i % 7 == 0 or i % 11 == 0]
    assert reader.members("b").tolist() == [1_000 + i for i in range(N) if i % 11 == 0 and i % 7]
    assert reader.members("'; --").tolist() == []
    assert reader.memberships([1_000, 1_001, 1_011]) == {1_000: ["a"], 1_011: ["b", "a"]}
    held = {row for row in range(1_000, 1_012) if reader.by_rows([row])[row]["role"] == "confirm"}
    assert set(reader.memberships([*range(1_000, 1_012)], confirm=True)) <= held


def test_columns_with_a_limit_take_errors_first_and_the_same_ones_each_time(reader: ScoreReader) -> None:
    first, again = (reader.columns(["row", "correct"], "correct IS NOT NULL", limit=100) for _ in range(2))
    np.testing.assert_array_equal(first["row"], again["row"])
    assert first["correct"].tolist() == sorted(first["correct"].tolist())
    assert not first["correct"][0]


def test_missing_booleans_become_nan_not_true(reader: ScoreReader, table: pa.Table) -> None:
    correct = reader.columns(["correct"])["correct"]
    assert int(np.isnan(correct).sum()) == table["correct"].null_count


def test_an_order_is_read_from_its_words() -> None:
    assert Order.parse("confidence DESC") == Order("confidence", descending=True)
    assert Order.parse("confidence desc").descending
    assert Order.parse("1; DROP TABLE x") == Order()
    assert Order.parse("") == Order()


def test_a_manifest_row_is_found_by_its_number(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "manifest.parquet")
    assert manifest_row(tmp_path / "manifest.parquet", 1_003)["example_id"] == "it's 3"
    assert manifest_row(tmp_path / "manifest.parquet", 3) == {}
