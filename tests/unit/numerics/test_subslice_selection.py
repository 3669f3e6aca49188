import numpy as np
import pytest

from app.numerics.subslice_selection import choose_slices, fit_slice_mixture, membership_cuts


def easy_and_slices(seed, shifts, n=2000, share=0.1, rate=0.6):
    """Scores of slices told apart perfectly: column j is shifted for the rows of slice j."""
    rng = np.random.default_rng(seed)
    home = rng.permutation(n)[:, None] // int(n * share) == np.arange(len(shifts))
    scores = rng.normal(size=home.shape) + home * np.asarray(shifts)
    errors = rng.random(n) < np.where(home.any(axis=1), rate, 0.1)
    return scores, errors, home


def test_em_recovers_what_was_drawn():
    scores, errors, _ = easy_and_slices(0, [4.0, 3.0])
    mixture = fit_slice_mixture(scores, errors)
    assert mixture.weight == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
    assert mixture.shift == pytest.approx([4.0, 3.0], rel=0.2)
    assert mixture.rate == pytest.approx([0.1, 0.6, 0.6], abs=0.08)
    assert mixture.log_likelihood > 500


def test_noise_gains_nothing_worth_its_parameters():
    rng = np.random.default_rng(1)
    gains = [fit_slice_mixture(rng.normal(size=(500, 2)), rng.random(500) < 0.2).log_likelihood for _ in range(20)]
    assert np.mean(np.array(gains) < 2 * 1.5 * np.log(500)) >= 0.9


def test_separate_slices_beat_the_direction_that_blends_them():
    scores, errors, _ = easy_and_slices(2, [6.0, 6.0, 6.0])
    blend = scores.sum(axis=1, keepdims=True) / np.sqrt(3)
    split = np.concatenate([scores, np.random.default_rng(3).normal(size=(2000, 1))], axis=1)
    k, order, gains = choose_slices([blend, scores[:, :2], scores, split], errors)
    assert k == 3
    assert sorted(order.tolist()) == [0, 1, 2]
    assert gains == pytest.approx([(0.6 - errors.mean()) * 200] * 3, rel=0.2)


def test_unusual_rows_that_do_not_fail_are_no_slice():
    scores, _, home = easy_and_slices(4, [6.0, 6.0])
    errors = np.random.default_rng(5).random(2000) < np.where(home[:, 0], 0.6, 0.1)
    blend = scores.sum(axis=1, keepdims=True) / np.sqrt(2)
    k, order, _ = choose_slices([blend, scores], errors)
    assert (k, order.tolist()) == (2, [0])


def test_cuts_end_where_the_errors_end():
    scores, errors, home = easy_and_slices(6, [8.0])
    cut = membership_cuts(scores, errors)
    assert ((scores >= cut)[:, 0] == home[:, 0]).mean() > 0.97


def test_cuts_by_brute_force():
    rng = np.random.default_rng(7)
    scores, errors = rng.normal(size=(80, 1)), rng.random(80) < 0.3
    ranked = np.sort(scores[:, 0])[::-1]
    sizes = sorted({max(int(np.ceil(s * 80)), 5) for s in (0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)})
    r = errors.mean()
    z = []
    for m in sizes:
        inside = scores[:, 0] >= ranked[m - 1]
        z.append((errors[inside].sum() - m * r) / np.sqrt(m * r * (1 - r) * (1 - m / 80)))
    m = sizes[int(np.argmax(z))]
    assert membership_cuts(scores, errors)[0] == pytest.approx((ranked[m - 1] + ranked[m]) / 2)
