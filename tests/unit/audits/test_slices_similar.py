"""Questions over all rows: read in pieces, answered as if every row were scored in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from app.audits.base import Inputs
from app.audits.slices import actions, similar
from app.audits.slices.rows import Ints, Rows, prepare
from app.audits.slices.schema import ClimbPayload, HypothesisPayload, NeighboursPayload
from app.audits.slices.similar import LENGTHS, row_lengths, similarity
from app.numerics.ranking import rank_scores, top_share
from app.numerics.significance import slice_excess_p_value

from .planted_inputs import DIMENSION, planted_inputs


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    """Embeddings far from zero, of unequal scales."""
    plain = planted_inputs()
    generator = np.random.default_rng(4)
    moved = np.array(plain.audited.embeddings) * np.exp(generator.uniform(-2, 2, DIMENSION)) + 20
    return replace(plain, audited=replace(plain.audited, embeddings=moved.astype(np.float32)))


@pytest.fixture(scope="module")
def rows(inputs: Inputs) -> Rows:
    return prepare(inputs)


@pytest.fixture(scope="module")
def asked(inputs: Inputs, rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """A finished stage without candidates."""
    folder = tmp_path_factory.mktemp("slices")
    for name, array in {**rows.details(), LENGTHS: row_lengths(rows)}.items():
        np.save(folder / f"{name}.npy", array)
    kinds = {"key": pa.string(), "rows": pa.list_(pa.int64()), "evidence": pa.string()}
    members = [
        rows.of_class(1)[:50].tolist(),
        [],
        np.flatnonzero(rows.audited)[::3].tolist(),
        rows.of_class(1).tolist(),
    ]
    evidence = ["confirmed", "confirmed", "confirmed", "insufficient"]
    values = {"key": ["half", "none", "other", "weak"], "rows": members, "evidence": evidence}
    pq.write_table(
        pa.table({name: pa.array(values[name], kind) for name, kind in kinds.items()}), folder / "candidates.parquet"
    )
    return replace(inputs, earlier={"slices": folder})


def full_scores(rows: Rows, positions: Ints, direction: torch.Tensor) -> np.ndarray:
    return rank_scores(rows.features(positions), direction).numpy()


@pytest.mark.parametrize("at_once", [7, 8_192])
@pytest.mark.parametrize("chosen", ["all", "class", "few", "none"])
def test_the_closest_are_those_of_the_full_scores(
    asked: Inputs, rows: Rows, chosen: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "_AT_ONCE", at_once)
    everything = np.flatnonzero(rows.audited)
    positions = {"all": everything, "class": rows.of_class(1), "few": everything[3::40], "none": everything[:0]}[chosen]
    direction = torch.from_numpy(np.random.default_rng(2).normal(size=DIMENSION).astype(np.float32))
    found = similarity(rows, asked.earlier["slices"], positions, direction)
    scores = full_scores(rows, positions, direction)
    order = np.argsort(-scores, kind="stable")[:9]
    closest, said = found.closest(9)
    assert closest.tolist() == positions[order].tolist()
    np.testing.assert_allclose(said, scores[order], atol=1e-6)
    if len(positions):
        assert np.array_equal(found.members(0.1), top_share(torch.from_numpy(scores), 0.1).numpy())
        among = np.arange(len(positions)) % 3 == 0
        expected = [p for p in positions[np.argsort(-scores, kind="stable")] if among[np.searchsorted(positions, p)]]
        assert found.closest(4, among)[0].tolist() == expected[:4]


def test_a_run_that_kept_no_lengths_is_answered_alike(asked: Inputs, rows: Rows, tmp_path: Path) -> None:
    direction = torch.ones(DIMENSION)
    kept = similarity(rows, asked.earlier["slices"], rows.of_class(0), direction)
    measured = similarity(rows, tmp_path, rows.of_class(0), direction)
    np.testing.assert_array_equal(kept.bounds.low, measured.bounds.low)


def test_a_hypothesis_is_that_of_the_full_scores(asked: Inputs, rows: Rows) -> None:
    payload = HypothesisPayload(rows=rows.of_class(1)[:12].tolist(), share=0.2)
    answer = actions.hypothesis(asked, payload)
    pool, picked = np.flatnonzero(rows.audited), np.array(payload.rows)
    scores = full_scores(rows, pool, actions._picked_move(rows, pool, picked))
    member = top_share(torch.from_numpy(scores), 0.2).numpy()
    tested = ~rows.fit[pool] & ~np.isin(pool, picked)
    inside, outside = pool[tested & member], pool[tested & ~member]
    wrong = ~rows.correct
    k, rest = int(wrong[inside].sum()), int(wrong[outside].sum())
    assert answer.result["inside"]["n"] == len(inside)
    assert answer.p_value == slice_excess_p_value(k, len(inside), k + rest, len(inside) + len(outside))
    best = inside[np.argsort(-scores[tested & member], kind="stable")][: actions.SHOWN]
    assert answer.result["rows"] == best.tolist()
    shares = {entry["key"]: entry["share"] for entry in answer.result["overlap"]}
    expected = {"half": rows.of_class(1)[:50], "other": pool[::3]}
    assert shares == {key: pytest.approx(np.isin(inside, found).mean()) for key, found in expected.items()}


def test_a_sentence_costs_two_encoded_sentences(asked: Inputs) -> None:
    """A text tower reads a few dozen sentences a second: the vocabulary is not encoded again for each question."""
    heard: list[str] = []

    def encode(sentences: Sequence[str]) -> np.ndarray:
        heard.extend(sentences)
        assert asked.encode_text is not None
        return asked.encode_text(sentences)

    listening = replace(asked, encode_text=encode)
    plain = actions.hypothesis(listening, HypothesisPayload(sentence="at night", class_index=1)).result
    assert heard[0] == "at night"
    assert len(heard) == 2
    assert plain["rows"]
    heard.clear()
    actions.hypothesis(listening, HypothesisPayload(sentence="a car at night", class_index=1))
    assert "car" in heard[1]


def test_neighbours_are_sought_among_all_images_or_those_of_a_class(asked: Inputs, rows: Rows) -> None:
    everything = np.flatnonzero(rows.audited)
    own = int(everything[17])
    for index, searched in ((None, everything), (2, rows.of_class(2))):
        pool = searched[searched != own]
        scores = full_scores(rows, pool, rows.features(np.array([own]))[0])
        answer = actions.neighbours(asked, NeighboursPayload(position=own, class_index=index, top=8)).result
        assert answer["rows"] == pool[np.argsort(-scores, kind="stable")[:8]].tolist()
        assert answer["compared"] == len(pool)


@pytest.mark.parametrize("position", [10**6, 10**9])
def test_images_that_are_not_there_get_a_sentence(asked: Inputs, position: int) -> None:
    for ask, payload in (
        (actions.neighbours, NeighboursPayload(position=position)),
        (actions.climb, ClimbPayload(inside=[0, position])),
        (actions.hypothesis, HypothesisPayload(rows=[position])),
    ):
        with pytest.raises(ValueError, match=f"There is no image {position:,}: the split has"):
            ask(asked, payload)  # type: ignore[operator]
