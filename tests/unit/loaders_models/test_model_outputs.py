"""Whatever networks return becomes one matrix, or a sentence."""

import pytest
import torch

from app.loaders.models.outputs import BadOutput, are_probabilities, check_finite, class_scores, to_logits

SCORES = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(4, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "raw",
    [
        SCORES,
        SCORES.half(),
        SCORES[:, :, None, None],
        {"logits": SCORES, "features": OTHER},
        {"anything": SCORES},
        {"out": SCORES, "aux": SCORES},
        (SCORES,),
        [SCORES, torch.zeros(4, 8, 2, 2)],
        (SCORES, torch.tensor(0.5)),
        ((SCORES,), {"hidden": torch.zeros(4, 2, 2)}),
        (SCORES, torch.zeros(4, 9, dtype=torch.int64)),
    ],
)
def test_the_one_matrix_is_found(raw):
    assert torch.allclose(class_scores(raw, 4), SCORES, atol=1e-2)


def test_the_number_of_classes_picks_one_of_several():
    assert torch.equal(class_scores((OTHER, SCORES), 4, classes=3), SCORES)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ((SCORES, OTHER), "2 matrices"),
        ((SCORES, SCORES), "2 matrices"),
        (SCORES[:2], "shape 2×3"),
        (SCORES[0], "shape 3"),
        (torch.zeros(4, 3, 5), "shape 4×3×5"),
        (torch.zeros(0, 3), "shape 0×3"),
        (torch.zeros(4, 3, dtype=torch.int64), "int64 tensor"),
        (torch.tensor(1.0), "shape scalar"),
        ({}, "no|none"),
        ({"boxes": torch.zeros(4, 2, 2)}, "a dict with the keys 'boxes'"),
        ((), "a tuple of nothing"),
        ("text", "a str"),
        (None, "a NoneType"),
        (torch.zeros(4, 1), "single output"),
    ],
)
def test_anything_else_is_explained(raw, words):
    with pytest.raises(BadOutput, match=words):
        class_scores(raw, 4)


def test_the_wrong_number_of_classes():
    with pytest.raises(BadOutput, match="3 outputs, but 10 classes"):
        class_scores(SCORES, 4, classes=10)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_is_an_error_with_its_place(value):
    bad = SCORES.clone()
    bad[2, 1] = value
    with pytest.raises(BadOutput, match=r"1 of 4 images .* number 2"):
        check_finite(bad)
    assert check_finite(SCORES) is SCORES


def test_probabilities_are_told_from_logits():
    assert are_probabilities(SCORES.softmax(1))
    assert not are_probabilities(SCORES)
    assert not are_probabilities(SCORES.sigmoid())
    assert not are_probabilities(torch.tensor([[1.5, -0.5]]))


def test_logits_of_probabilities_give_them_back():
    probabilities = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    assert torch.allclose(to_logits(probabilities).softmax(1), probabilities)
    assert torch.isfinite(to_logits(probabilities)).all()
    with pytest.raises(BadOutput, match="Choose logits"):
        to_logits(SCORES)
