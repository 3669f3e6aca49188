"""scikit-learn's linear SVM with the same search, and data for it: the independent reference of the SVM tests."""

from dataclasses import dataclass

import numpy as np
import torch
from planting import planted_class
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

COSTS = np.logspace(-6, 0, 7)


def classes_of(sizes, d=512, shift=7.0, slices=1, seed=0):
    """Rows, targets (True = right) and class numbers of classes with planted slices, one per entry of `sizes`."""
    parts = [planted_class(seed + i, slices, n, d, shift) for i, n in enumerate(sizes)]
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return torch.cat([p[0] for p in parts]), ~torch.cat([p[1] for p in parts]), groups


@dataclass
class Peer:
    cost: float
    scores: np.ndarray
    best: SVC
    dual_objective: float

    def predict(self, features):
        return self.best.decision_function(features.numpy())


def peer_fit(features, targets, folds, tolerance=1e-3):
    """The grid search over the very same folds."""
    x, y, f = features.numpy(), targets.numpy(), folds.numpy()
    splits = [(np.flatnonzero(f != k), np.flatnonzero(f == k)) for k in range(f.max() + 1)]
    svc = SVC(kernel="linear", class_weight="balanced", tol=tolerance)
    search = GridSearchCV(svc, {"C": COSTS}, scoring="balanced_accuracy", cv=splits).fit(x, y)
    scores = search.cv_results_["mean_test_score"]
    best = search.best_estimator_
    dual = np.abs(best.dual_coef_).sum() - np.square(best.coef_).sum() / 2
    return Peer(search.best_params_["C"], scores, best, dual)


def primal_objective(weights, intercept, cost, features, targets):
    """1/2 |w|^2 + C sum of class weight times hinge loss, in double precision."""
    x, y = features.double().numpy(), np.where(targets.numpy(), 1.0, -1.0)
    share = np.where(y > 0, (y > 0).mean(), (y < 0).mean())
    margins = y * (x @ np.asarray(weights, dtype=np.float64) + float(intercept))
    return (
        np.square(np.asarray(weights, np.float64)).sum() / 2 + (cost / (2 * share) * np.maximum(0, 1 - margins)).sum()
    )
