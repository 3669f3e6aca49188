import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from app.numerics.shift.effective import effective_robustness, expected_accuracy, fit_line
from app.numerics.shift.published import published

ACCURACY = np.linspace(0.6, 0.95, 12)


def shifted(noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return expit(0.9 * logit(ACCURACY) - 0.7 + noise * rng.normal(size=12))


def test_line_is_least_squares_on_logits():
    y = shifted(0.2)
    line = fit_line(ACCURACY, y)
    peer = stats.linregress(logit(ACCURACY), logit(y))
    assert line == pytest.approx((peer.slope, peer.intercept, peer.rvalue**2, 12))


def test_a_model_on_the_line_has_no_effective_robustness():
    found = effective_robustness((8000, 10_000), (0, 1), (ACCURACY, shifted()), seed=0, resamples=5)
    expected = expit(0.9 * logit(0.8) - 0.7)
    assert found.expected == pytest.approx(expected)
    right = round(expected * 10_000)
    on_it = effective_robustness((8000, 10_000), (right, 10_000), (ACCURACY, shifted()), seed=0, resamples=200)
    assert on_it.residual.value == pytest.approx(0, abs=1e-4)
    assert on_it.residual.low < 0 < on_it.residual.high
    above = effective_robustness((8000, 10_000), (right + 800, 10_000), (ACCURACY, shifted()), seed=0, resamples=200)
    assert above.residual.value == pytest.approx(0.08, abs=1e-4)
    assert above.residual.low > 0
    assert not above.outside


def test_intervals_hold_zero_for_models_of_the_line_as_often_as_they_say():
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        right = rng.binomial(400, 0.8), rng.binomial(400, expit(0.9 * logit(0.8) - 0.7))
        found = effective_robustness(
            (right[0], 400), (right[1], 400), (ACCURACY, shifted(0.03, seed)), seed=seed, resamples=150
        )
        held += found.residual.low <= 0 <= found.residual.high
    assert 0.87 <= held / 100 <= 1


def test_a_model_beyond_the_others_is_said():
    assert effective_robustness((99, 100), (80, 100), (ACCURACY, shifted()), seed=0, resamples=5).outside


def test_accuracies_of_zero_and_one_stay_finite():
    line = fit_line([0.0, 0.5, 1.0], [0.0, 0.4, 1.0])
    assert np.isfinite(line.slope)
    assert np.isfinite(expected_accuracy(line, [0.0, 1.0])).all()


@pytest.mark.parametrize(
    ("x", "y"), [([0.5, 0.6], [0.4, 0.5]), ([0.5, 0.6, 1.7], [0.1, 0.2, 0.3]), ([0.5] * 3, [0.1, 0.2, 0.3])]
)
def test_what_gives_no_line_is_refused(x, y):
    with pytest.raises(ValueError, match=r"line|accuracies"):
        fit_line(x, y)


def test_an_accuracy_without_images_is_refused():
    with pytest.raises(ValueError, match="images"):
        effective_robustness((0, 0), (1, 2), (ACCURACY, shifted()), seed=0)


@pytest.mark.parametrize(("key", "models", "source"), [("imagenetv2", 50, "github.com"), ("cifar10.1", 7, "Recht")])
def test_published_lines_are_tight_and_have_their_source(key, models, source):
    pair = published()[key]
    assert len(pair.models) == len(set(pair.models)) == models
    assert source in pair.source
    line = fit_line(pair.accuracy, pair.shifted_accuracy)
    assert line.r_squared > 0.97
    # both papers: gains on the original images are larger ones on the shifted, and every model falls
    assert np.polyfit(pair.accuracy, pair.shifted_accuracy, 1)[0] > 1
    assert np.all(pair.shifted_accuracy < pair.accuracy)
    assert np.abs(expected_accuracy(line, pair.accuracy) - pair.shifted_accuracy).max() < 0.03
