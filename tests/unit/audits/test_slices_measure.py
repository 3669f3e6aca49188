"""Measured on confirm rows, and on nothing else: every figure against a loop, every test against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from app.audits.slices.measure import Candidate, confirmed, measure
from app.audits.slices.rows import Rows
from app.audits.slices.schema import SliceMetrics

N, CLASSES, FDR, LEAST = 600, 3, 0.05, 10


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Fit and confirm rows fail at rates of their own, so that whoever mixes them is off."""
    rng = np.random.default_rng(0)
    labels, fit = rng.integers(0, CLASSES, N), rng.random(N) < 0.5
    wrong = rng.random(N) < np.where(fit, 0.7, 0.2)
    predictions = np.where(wrong, (labels + rng.integers(1, CLASSES, N)) % CLASSES, labels)
    ones = np.ones(N, np.float32)
    return Rows(
        labels, predictions, ones, ones, np.ones(N, bool), fit, np.zeros((N, 2), np.float32),
        torch.zeros(2), torch.ones(2), ("a", "b", "c"), "cpu", {},
    )  # fmt: skip


@pytest.fixture(scope="module")
def candidates(rows: Rows) -> list[Candidate]:
    """Of each class one slice by chance, one that leans to errors, one of a few errors, and an empty one."""
    rng, made = np.random.default_rng(1), []
    for index in range(CLASSES):
        positions = rows.of_class(index)
        wrong, confirm = ~rows.correct[positions], ~rows.fit[positions]
        few = np.flatnonzero(wrong & confirm)[: LEAST - 1]
        sets = {
            "chance": rng.random(len(positions)) < 0.3,
            "hard": np.where(wrong, rng.random(len(positions)) < 0.8, rng.random(len(positions)) < 0.1),
            "few": np.isin(np.arange(len(positions)), few),
            "empty": np.zeros(len(positions), bool),
        }
        for name, member in sets.items():
            scores = rng.random(len(positions)).astype(np.float32)
            made.append(Candidate(f"{name}-{index}", "direction", index, positions, scores, member))
    return made


@pytest.fixture(scope="module")
def found(rows: Rows, candidates: list[Candidate]) -> dict[str, SliceMetrics]:
    return {c.key: m for c, m in zip(candidates, measure(rows, candidates, FDR, LEAST), strict=True)}


def counted(rows: Rows, candidate: Candidate) -> tuple[int, int, int, int]:
    """(errors inside, inside, errors outside, outside), row by row."""
    k = n = rest_k = rest_n = 0
    for position, member in zip(candidate.positions, candidate.member, strict=True):
        if rows.fit[position]:
            continue
        wrong = int(rows.predictions[position] != rows.labels[position])
        k, n = k + wrong * int(member), n + int(member)
        rest_k, rest_n = rest_k + wrong * int(not member), rest_n + int(not member)
    return k, n, rest_k, rest_n


def test_counts_are_of_confirm_rows(rows: Rows, candidates: list[Candidate], found: dict[str, SliceMetrics]) -> None:
    for candidate in candidates:
        m = found[candidate.key]
        k, n, rest_k, rest_n = counted(rows, candidate)
        assert (m.errors.k, m.errors.n, m.rest.k, m.rest.n) == (k, n, rest_k, rest_n)
        assert (m.class_errors.k, m.class_errors.n) == (k + rest_k, n + rest_n)
        assert m.prevalence == pytest.approx(n / (n + rest_n))
        assert m.size == candidate.member.sum()


def test_p_and_q_are_those_of_scipy(rows: Rows, candidates: list[Candidate], found: dict[str, SliceMetrics]) -> None:
    expected = []
    for candidate in candidates:
        k, n, rest_k, rest_n = counted(rows, candidate)
        table = [[k, n - k], [rest_k, rest_n - rest_k]]
        expected.append(stats.fisher_exact(table, alternative="greater").pvalue if n else 1.0)
    assert [m.p_value for m in found.values()] == pytest.approx(expected)
    assert [m.q_value for m in found.values()] == pytest.approx(stats.false_discovery_control(expected))


def test_pictures_and_mistakes_are_of_confirm_rows(
    rows: Rows, candidates: list[Candidate], found: dict[str, SliceMetrics]
) -> None:
    for candidate in candidates:
        m = found[candidate.key]
        assert not rows.fit[m.hard_rows].any()
        assert not rows.fit[m.easy_rows].any()
        members = set(candidate.positions[candidate.member].tolist())
        assert set(m.hard_rows) <= members
        assert not set(m.easy_rows) & members
        assert sum(one.n for one in m.mistaken_for) == m.errors.k


def test_few_errors_confirm_nothing_however_rare_they_are(found: dict[str, SliceMetrics]) -> None:
    for index in range(CLASSES):
        hard, few = found[f"hard-{index}"], found[f"few-{index}"]
        assert hard.q_value <= FDR
        assert hard.errors.k >= LEAST
        assert confirmed(hard, FDR, LEAST)
        assert few.q_value <= FDR
        assert few.errors.k == LEAST - 1
        assert not confirmed(few, FDR, LEAST)


def test_what_is_missing_is_said_where_something_is(found: dict[str, SliceMetrics]) -> None:
    assert found["hard-0"].missing == ""
    assert found["empty-0"].missing == "No confirm row falls into it."
    assert found["few-0"].missing.startswith("If these rates hold, 2 times as many")
    assert not confirmed(found["empty-0"], FDR, LEAST)
