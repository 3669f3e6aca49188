"""Caption arithmetic, banks and label leaks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.numerics.captions import (
    CaptionText,
    caption_bank,
    caption_scores,
    displacements,
    fill,
    names_label,
    top_matches,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_displacements_equal_numpy() -> None:
    text, reference = torch.randn(7, 5, generator=rng()), torch.randn(5, generator=rng(1))
    std = torch.rand(5, generator=rng(2)) + 0.1
    t, r = text.numpy(), reference.numpy()
    moved = (t / np.linalg.norm(t, axis=1, keepdims=True) - r / np.linalg.norm(r)) / std.numpy()
    expected = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(displacements(text, reference, std).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_length_of_a_text_gives_no_advantage() -> None:
    text, reference, std = torch.randn(4, 6, generator=rng()), torch.randn(6, generator=rng(1)), torch.ones(6)
    torch.testing.assert_close(displacements(text, reference, std), displacements(9 * text, reference, std))


def test_a_caption_equal_to_its_reference_says_nothing() -> None:
    reference = torch.randn(6, generator=rng())
    assert displacements(reference[None], reference, torch.ones(6)).abs().max() < 1e-5


def test_scores_are_standard_deviations_of_the_null() -> None:
    directions, null = torch.randn(3, 8, generator=rng()), torch.randn(500, 8, generator=rng(1))
    z = caption_scores(directions, null, null)
    torch.testing.assert_close(z.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(1), torch.ones(3), atol=1e-5, rtol=0)


def test_scores_do_not_depend_on_the_direction_s_length() -> None:
    directions, moves = torch.randn(3, 8, generator=rng()), torch.randn(9, 8, generator=rng(1))
    null = torch.randn(50, 8, generator=rng(2))
    torch.testing.assert_close(caption_scores(directions, moves, null), caption_scores(5 * directions, moves, null))


def test_the_planted_caption_wins() -> None:
    concepts = torch.nn.functional.normalize(torch.randn(40, 64, generator=rng()), dim=1)
    reference = torch.nn.functional.normalize(torch.randn(64, generator=rng(1)), dim=0)
    text = reference + 0.3 * concepts
    direction = concepts[17] + 0.5 * torch.nn.functional.normalize(torch.randn(64, generator=rng(2)), dim=0)
    null = displacements(torch.randn(100, 64, generator=rng(3)), reference, torch.ones(64))
    z = caption_scores(direction[None], displacements(text, reference, torch.ones(64)), null)
    assert int(z.argmax()) == 17
    assert float(z[0, 17]) > 3


def test_a_zero_direction_scores_zero() -> None:
    z = caption_scores(torch.zeros(1, 4), torch.randn(5, 4, generator=rng()), torch.randn(9, 4, generator=rng(1)))
    assert torch.equal(z, torch.zeros(1, 5))


def test_one_null_caption_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        caption_scores(torch.ones(1, 4), torch.ones(1, 4), torch.ones(1, 4))


def test_a_large_bank_is_one_product() -> None:
    moves = torch.randn(66_560, 128, generator=rng())
    assert caption_scores(torch.randn(8, 128, generator=rng(1)), moves, moves[:200]).shape == (8, 66_560)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_top_matches_equal_a_sort(k: int) -> None:
    features, move = torch.randn(20, 4, generator=rng()), torch.randn(4, generator=rng(1))
    expected = np.argsort(-(features @ move).numpy())[:k]
    np.testing.assert_array_equal(top_matches(features, move, k).numpy(), expected)


def test_bank_holds_every_pair_once_and_not_the_reference() -> None:
    colours = [CaptionText("white", ("colour",)), CaptionText("orange", ("colour",))]
    places = [CaptionText("on grass", ("setting",))]
    bank = caption_bank(["a photo of a {adjective} {noun} {setting}"], ["animal"], colours, places)["animal"]
    assert {c.text: c.facets for c in bank} == {
        "a photo of a white animal": ("colour",),
        "a photo of an orange animal": ("colour",),
        "a photo of an animal on grass": ("setting",),
        "a photo of a white animal on grass": ("colour", "setting"),
        "a photo of an orange animal on grass": ("colour", "setting"),
    }


def test_a_template_without_a_slot_ignores_its_words() -> None:
    bank = caption_bank(["a {noun} {setting}"], ["toy"], [CaptionText("red", ("c",))], [CaptionText("indoors", ("s",))])
    assert [c.text for c in bank["toy"]] == ["a toy indoors"]


def test_fill_closes_gaps_and_bends_articles() -> None:
    assert fill("A {adjective} {noun} {setting}", "object") == "An object"
    assert fill("a {noun}", "thing") == "a thing"


@pytest.mark.parametrize(
    ("caption", "labels", "named"),
    [
        ("two white cats on grass", ["cat"], True),
        ("a category of things", ["cat"], False),
        ("a red fire engine", ["fire truck"], False),
        ("a truck on fire", ["fire truck"], True),
        ("ein Café bei Nacht", ["cafe"], True),
        ("many ponies", ["pony"], True),
        ("a glass on a table", ["glass"], True),
        ("foxes in snow", ["fox"], True),
        ("a photo of an animal", ["young", "old"], False),
        ("a young animal", ["young", "old"], True),
        ("犬 on grass", ["犬"], True),
    ],
)
def test_labels_are_recognised(caption: str, labels: list[str], named: bool) -> None:
    assert names_label(caption, labels) is named
