import numpy as np
import pytest

from app.numerics.shift.decompose import evidence, gap, harder_p


def drawn(shares, accuracies, n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), n, p=shares)
    return labels, rng.random(n) < np.array(accuracies)[labels]


def test_parts_are_the_formula_and_add_up():
    one = drawn([0.5, 0.3, 0.2], [0.9, 0.7, 0.5], 500, 0)
    other = drawn([0.2, 0.3, 0.5], [0.8, 0.7, 0.6], 400, 1)
    found = gap(*one, *other, 3, seed=0, resamples=50)

    def rates(labels, right):
        return [right[labels == c].mean() for c in range(3)], [np.mean(labels == c) for c in range(3)]

    (a, p), (b, q) = rates(*one), rates(*other)
    assert found.label.value == pytest.approx(sum((q[c] - p[c]) * a[c] for c in range(3)))
    assert found.within.value == pytest.approx(sum(q[c] * (b[c] - a[c]) for c in range(3)))
    assert found.total.value == pytest.approx(found.label.value + found.within.value)
    assert found.total.value == pytest.approx(other[1].mean() - one[1].mean())
    assert found.per_class == pytest.approx([q[c] * (b[c] - a[c]) for c in range(3)])
    assert (found.source.n, found.target.n, found.left_out) == (500, 400, 0)


@pytest.mark.parametrize(
    ("shares", "accuracies", "label", "within"),
    [([0.1, 0.9], [0.9, 0.5], -0.16, 0.0), ([0.5, 0.5], [0.7, 0.3], 0.0, -0.2)],
)
def test_intervals_hold_the_true_parts(shares, accuracies, label, within):
    held = []
    for seed in range(60):
        one = drawn([0.5, 0.5], [0.9, 0.5], 400, seed)
        other = drawn(shares, accuracies, 400, 1000 + seed)
        found = gap(*one, *other, 2, seed=seed, resamples=150)
        held.append((found.label.low <= label <= found.label.high, found.within.low <= within <= found.within.high))
    assert 0.88 <= np.mean(held) <= 1


def test_target_rows_of_classes_that_the_source_lacks_are_left_out_and_counted():
    found = gap([0, 0, 1], [True, False, True], [0, 2, 2], [True, False, False], 3, seed=0, resamples=20)
    assert (found.left_out, found.target.n, found.target.value) == (2, 1, 1.0)
    assert np.isnan(found.per_class[1:]).all()
    with pytest.raises(ValueError, match="no target row"):
        gap([0], [True], [1], [True], 2, seed=0)


def clouds(shares, move, n, seed, by=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=shares)
    points = rng.normal(size=(n, 4)) + 4 * np.eye(4)[labels]
    points[labels == by] += move
    return points.astype(np.float32), labels


@pytest.mark.parametrize(
    ("shares", "move", "kind"),
    [
        ([0.4, 0.3, 0.3], 0.0, "none"),
        ([0.1, 0.3, 0.6], 0.0, "label"),
        ([0.4, 0.3, 0.3], 1.0, "covariate"),
        ([0.2, 0.3, 0.5], 1.0, "both"),
    ],
)
def test_the_kind_of_shift_that_was_made_is_named(shares, move, kind):
    found = evidence(*clouds([0.4, 0.3, 0.3], 0.0, 300, 0), *clouds(shares, move, 300, 1), 3, seed=0, permutations=199)
    assert found.kind == kind
    moved = [row.class_index for row in found.classes if row.holm <= 0.05]
    assert moved == ([0] if move else [])


def test_without_a_shift_none_is_named_in_nineteen_of_twenty_families():
    wrong = 0
    for seed in range(120):
        one, other = (clouds([0.4, 0.3, 0.3], 0.0, 60, 2 * seed + side) for side in (0, 1))
        found = evidence(*one, *other, 3, seed=seed, permutations=99)
        wrong += found.kind in {"covariate", "both"}
    assert wrong / 120 <= 0.1


def test_a_change_too_small_for_any_class_is_seen_in_all_together():
    """Eight classes of twenty rows, each moved a little its own way."""
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(8), 20)
    ways = rng.normal(size=(8, 6))
    ways *= 0.75 / np.linalg.norm(ways, axis=1, keepdims=True)

    def drawn(move: float) -> np.ndarray:
        return (rng.normal(size=(160, 6)) + move * ways[labels]).astype(np.float32)

    found = evidence(drawn(0), labels, drawn(1), labels, 8, seed=0, permutations=499)
    assert found.kind == "covariate"
    assert found.images_p <= 0.02
    assert min(row.holm for row in found.classes) > 0.05


def test_equal_accuracy_within_classes_is_tested_as_relabelling_within_classes_does():
    rng = np.random.default_rng(2)
    labels, target = rng.integers(0, 3, 200), rng.integers(0, 3, 150)
    right, there = rng.random(200) < 0.9 - 0.2 * labels, rng.random(150) < 0.8 - 0.2 * target
    found = harder_p(labels, right, target, there, 3)
    every, outcome = np.concatenate([labels, target]), np.concatenate([right, there])
    first = np.arange(350) < 200

    def statistic(side: np.ndarray) -> float:
        rates = [(outcome[side & (every == c)].sum(), (side & (every == c)).sum()) for c in range(3)]
        expected = [outcome[every == c].mean() * n for c, (_, n) in enumerate(rates)]
        return abs(sum(k - e for (k, _), e in zip(rates, expected, strict=True)))

    larger = 0
    for _ in range(2000):
        side = first.copy()
        for c in range(3):
            side[every == c] = rng.permutation(side[every == c])
        larger += statistic(side) >= statistic(first) - 1e-9
    assert found == pytest.approx(larger / 2000, abs=0.03)
    assert harder_p(labels, np.ones(200, bool), target, np.ones(150, bool), 3) is None


def test_classes_with_few_rows_are_not_tested_and_said():
    points, labels = clouds([0.5, 0.47, 0.03], 0.0, 100, 0)
    found = evidence(points, labels, points, labels, 4, seed=0, permutations=19)
    assert [row.class_index for row in found.classes] == [0, 1]
    assert found.untested == [2]
