"""Logistic regression against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from app.numerics.logistic import fit_logistic


@pytest.mark.parametrize(("rows", "classes"), [(12, 3), (200, 4), (300, 3)])
def test_it_is_scikit_learn_s(rows: int, classes: int) -> None:
    rng = np.random.default_rng(rows)
    x = np.concatenate([rng.normal(size=(rows, 6)), np.ones((rows, 1))], axis=1)
    y = (x[:, :classes] + rng.normal(size=(rows, classes))).argmax(axis=1)
    assert len(set(y.tolist())) == classes
    found = fit_logistic(x, y, classes, 0.7, steps=3000, tolerance=1e-8)
    peer = LogisticRegression(C=1 / 0.7, fit_intercept=False, tol=1e-10, max_iter=5000).fit(x, y)
    np.testing.assert_allclose(found.T, peer.coef_, atol=2e-5)


def test_the_default_stops_early_but_predicts_the_same() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(500, 20)), np.ones((500, 1))], axis=1)
    y = (x[:, :5] + rng.normal(size=(500, 5))).argmax(axis=1)
    exact = fit_logistic(x, y, 5, 1.0, steps=5000, tolerance=1e-10)
    assert ((x @ fit_logistic(x, y, 5, 1.0)).argmax(1) == (x @ exact).argmax(1)).mean() >= 0.99


def test_a_missing_class_is_never_the_likeliest_and_no_rows_say_nothing() -> None:
    x = np.concatenate([np.eye(4), np.ones((4, 1))], axis=1)
    weights = fit_logistic(x, np.array([0, 2, 0, 2]), 3, 0.1)
    assert set((x @ weights).argmax(1).tolist()) == {0, 2}
    assert not fit_logistic(x[:0], np.zeros(0, np.int64), 3, 0.1).any()
    with pytest.raises(ValueError, match="positive"):
        fit_logistic(x, np.array([0, 2, 0, 2]), 3, 0.0)
