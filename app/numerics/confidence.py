"""The baseline that every slice method must beat: the rows whose true class the model believes least."""

from __future__ import annotations

import torch
from torch import Tensor


def true_class_probability(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Probability of each row's true class.

    Args:
        probabilities: float [n, classes], rows sum to 1.
        labels: int64 [n] in [0, classes).

    Returns:
        float32 [n] in [0, 1], **0 = worst**.

    Raises:
        ValueError: shapes that do not match, or a label outside the classes.
    """
    if probabilities.dim() != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError("probabilities must be [n, classes] and labels [n]")
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= probabilities.shape[1]):
        raise ValueError("every label must be one of the classes")
    return probabilities.gather(1, labels[:, None]).squeeze(1).float()


def low_confidence_scores(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The baseline as one slice's scoring function: `1 - p_true`, float32 [n, 1] in [0, 1], **large = in the slice**.

    It knows the outcome (below one half the row is wrong), so it is a bar for rankings, while a test of its error rate
    on confirm rows would be circular. Arguments and errors as for `true_class_probability`.

    Source: the baseline of Plumb et al., TMLR 2023.
    """
    return 1 - true_class_probability(probabilities, labels)[:, None]


def label_margin(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Margin between the true class and the best other class: float32 [n] in [-1, 1], **-1 = worst**, < 0 = wrong.

    Arguments and errors as for `true_class_probability`; with one class the margin is the probability itself.
    """
    own = true_class_probability(probabilities, labels)
    if probabilities.shape[1] == 1:
        return own
    others = probabilities.float().scatter(1, labels[:, None], -torch.inf)
    return own - others.amax(dim=1)
