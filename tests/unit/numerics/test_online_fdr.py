import numpy as np
import pytest

from app.numerics.online_fdr import gamma_sequence, online_adjusted_p_values


def lord(p, alpha):
    """Which of the questions LORD++ rejects: the formula of the paper, written out."""
    gamma = gamma_sequence(len(p) + 1)
    rejected_at = []
    for t in range(1, len(p) + 1):
        level = gamma[t - 1] * alpha / 2
        for number, tau in enumerate(rejected_at):
            level += (alpha / 2 if number == 0 else alpha) * gamma[t - tau - 1]
        if p[t - 1] <= level:
            rejected_at.append(t)
    return np.isin(np.arange(1, len(p) + 1), rejected_at)


def stream(seed, length=60, signal=0.4):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(length) < signal, rng.random(length) ** 12, rng.random(length))


def test_gamma_is_decreasing_and_sums_to_one():
    length = 100_000
    gamma = gamma_sequence(length)
    tail = gamma[-1] * length / 0.6
    assert np.all(np.diff(gamma) < 0)
    assert gamma.sum() + tail == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_adjusted_values_give_the_decisions_at_every_level(seed):
    p = stream(seed, signal=0.5)
    adjusted = online_adjusted_p_values(p)
    for alpha in np.concatenate([np.geomspace(1e-8, 0.999, 60), adjusted[adjusted < 0.99] * (1 + 1e-9)]):
        rejected = lord(p, alpha)
        assert np.array_equal(adjusted <= alpha, rejected)


def test_adjusted_values_never_change_afterwards():
    p = stream(9)
    assert online_adjusted_p_values(p)[:20] == pytest.approx(online_adjusted_p_values(p[:20]))


def test_asking_later_costs_more_and_findings_earn():
    alone = online_adjusted_p_values([1e-4])[0]
    after_failures = online_adjusted_p_values([0.9] * 20 + [1e-4])[-1]
    after_findings = online_adjusted_p_values([1e-9] * 20 + [1e-4])[-1]
    assert 1e-4 < alone < after_failures
    assert after_findings < after_failures


def test_false_discovery_rate_is_kept():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        null = rng.random(80) < 0.7
        p = np.where(null, rng.random(80), rng.random(80) ** 20)
        rejected = lord(p, 0.1)
        shares.append((rejected & null).sum() / max(rejected.sum(), 1))
    assert np.mean(shares) <= 0.1


def test_empty_and_impossible_streams():
    assert online_adjusted_p_values([]).shape == (0,)
    with pytest.raises(ValueError, match="p-values"):
        online_adjusted_p_values([0.5, float("nan")])
