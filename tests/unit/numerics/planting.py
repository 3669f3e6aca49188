"""Classes with planted slices, for the tests of this folder."""

import numpy as np
import torch


def planted_class(seed, slices=3, n=1000, d=512, shift=7.0, prevalence=0.1, overlap=False):
    """Standardised unit rows [n, d], errors [n] and true membership [n, slices] of a class with planted slices.

    Rows are Gaussian; each slice shifts its rows along a random direction and fails at 60 % against 10 %.
    """
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, d))
    axes = rng.standard_normal((slices, d))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    if overlap:
        members = rng.random((n, slices)) < prevalence
    else:
        size = int(n * prevalence)
        place = rng.permutation(n)[:, None] // size
        members = place == np.arange(slices)
    features += shift * (members @ axes)
    errors = rng.random(n) < np.where(members.any(axis=1), 0.6, 0.1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return torch.from_numpy(features).float(), torch.from_numpy(errors), torch.from_numpy(members)


def best_precision(scores, members, k=10):
    """Mean over planted slices of the precision of the best-matching ranking at k; scores [n, m], members [n, s]."""
    top = scores.topk(k, dim=0).indices
    return members[top].double().mean(dim=0).amax(dim=0).mean().item()
