import numpy as np
import pytest

from app.numerics.shift.mmd import mmd_test


def naive(x, y, bandwidth):
    """The unbiased estimate, term by term."""

    def k(a, b):
        return np.exp(-((a - b) ** 2).sum() / (2 * bandwidth**2))

    n, m = len(x), len(y)
    first = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    second = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return first + second - 2 * np.mean([[k(a, b) for b in y] for a in x])


def two(seed, n=20, m=17, d=5, move=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32), (rng.normal(size=(m, d)) + move).astype(np.float32)


@pytest.mark.parametrize("move", [0.0, 0.7])
def test_statistic_is_the_formula_written_out(move):
    x, y = two(1, move=move)
    found = mmd_test(x, y, 20, seed=0)
    pooled = np.concatenate([x, y]).astype(np.float64)
    squares = [((a - b) ** 2).sum() for i, a in enumerate(pooled) for b in pooled[i + 1 :]]
    assert found.bandwidth == pytest.approx((np.median(squares) / 2) ** 0.5, rel=1e-5)
    assert found.statistic == pytest.approx(
        naive(x.astype(np.float64), y.astype(np.float64), found.bandwidth), abs=2e-6
    )


def test_p_value_is_the_share_of_all_relabellings():
    from itertools import combinations

    x, y = two(3, 5, 4, 2, 1.0)
    pooled = np.concatenate([x, y]).astype(np.float64)
    found = mmd_test(x, y, 4000, seed=0)
    every = []
    for chosen in combinations(range(9), 5):
        inside = np.isin(np.arange(9), chosen)
        every.append(naive(pooled[inside], pooled[~inside], found.bandwidth))
    exact = np.mean(np.array(every) >= naive(x, y, found.bandwidth) - 1e-7)
    assert found.p_value == pytest.approx(exact, abs=0.03)
    assert found.null_95 == pytest.approx(np.quantile(every, 0.95), abs=0.05)


def test_false_alarms_keep_their_level():
    p = np.array([mmd_test(*two(seed, 30, 40), 99, seed=seed).p_value for seed in range(400)])
    assert 0.025 <= (p <= 0.05).mean() <= 0.085
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=0.08)


def test_finds_a_change_of_spread_alone():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(150, 4)), 1.6 * rng.normal(size=(150, 4))
    assert mmd_test(x.astype(np.float32), y.astype(np.float32), seed=0).p_value == pytest.approx(1 / 1001)


def test_a_seed_gives_the_same_answer_and_another_nearly_so():
    x, y = two(5, 60, 60, move=0.15)
    one, again, other = (mmd_test(x, y, seed=seed) for seed in (1, 1, 2))
    assert one[:-1] == again[:-1]
    assert (one.null == again.null).all()
    assert other.statistic == one.statistic
    assert other.p_value == pytest.approx(one.p_value, abs=0.06)


def test_large_sets_are_drawn_from_and_the_result_says_how_many():
    x, y = two(6, 500, 90, move=0.5)
    found = mmd_test(x, y, 50, seed=0, most=100)
    assert (found.n_x, found.n_y) == (100, 90)
    assert found.p_value < 0.05


def test_rows_that_are_all_alike_do_not_differ():
    same = np.ones((10, 3), np.float32)
    found = mmd_test(same, same, 50, seed=0)
    assert (found.statistic, found.p_value) == (0.0, 1.0)


def test_mostly_equal_rows_still_get_a_bandwidth():
    x = np.zeros((30, 2), np.float32)
    y = np.zeros((30, 2), np.float32)
    y[:8] = 1
    found = mmd_test(x, y, 999, seed=0)
    assert found.bandwidth > 0
    assert found.p_value < 0.02


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((1, 2)), np.zeros((5, 2))),
        (np.zeros((5, 2)), np.zeros((5, 3))),
        (np.full((5, 2), np.nan), np.zeros((5, 2))),
    ],
)
def test_what_cannot_be_compared_is_refused(x, y):
    with pytest.raises(ValueError, match="vectors"):
        mmd_test(x.astype(np.float32), y.astype(np.float32), seed=0)
