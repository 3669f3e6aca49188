import numpy as np
import pytest
import torch

from app.numerics.confidence import label_margin, low_confidence_scores, true_class_probability


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    return torch.randn((50, 4), generator=generator).softmax(1), torch.randint(4, (50,), generator=generator)


def test_values_are_those_of_a_loop(sample):
    probabilities, labels = sample
    own = np.array([probabilities[i, labels[i]].item() for i in range(50)])
    best = np.array([max(probabilities[i, c].item() for c in range(4) if c != labels[i]) for i in range(50)])
    assert true_class_probability(*sample).numpy() == pytest.approx(own)
    assert low_confidence_scores(*sample).numpy()[:, 0] == pytest.approx(1 - own)
    assert label_margin(*sample).numpy() == pytest.approx(own - best, abs=1e-6)


def test_a_negative_margin_is_an_error(sample):
    probabilities, labels = sample
    assert torch.equal(label_margin(*sample) < 0, probabilities.argmax(1) != labels)


def test_one_class_and_no_rows():
    assert label_margin(torch.ones(2, 1), torch.zeros(2).long()).tolist() == [1.0, 1.0]
    assert true_class_probability(torch.ones(0, 3), torch.zeros(0).long()).shape == (0,)


@pytest.mark.parametrize("labels", [[0, 4], [-1, 0], [0]])
def test_labels_must_fit(labels):
    with pytest.raises(ValueError, match="label"):
        true_class_probability(torch.full((2, 4), 0.25), torch.tensor(labels))
