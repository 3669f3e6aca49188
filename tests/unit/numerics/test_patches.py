"""Defences against patches: counting by brute force, every content of a patch tried, attacks on what is certified."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.numerics.patches import bands, counting, masks, tokens, votes
from app.numerics.patches.two_mask import Masked, defended, one_mask, safe_masks

FILL = torch.zeros(1)


class Small(nn.Module):
    """A random network of two layers on h × w pixels."""

    def __init__(self, side: int, classes: int, seed: int, channels: int = 1) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.first = torch.randn(channels * side * side, 16, generator=draw)
        self.second = torch.randn(16, classes, generator=draw)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu((x.flatten(1) - 0.3) @ self.first) @ self.second


def places(side: int, patch: int) -> list[tuple[int, int]]:
    return list(itertools.product(range(side - patch + 1), repeat=2))


def contents(patch: int) -> Tensor:
    """Every patch of black and white pixels, [2 ** patch², 1, patch, patch]."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=patch**2))).view(-1, 1, patch, patch)


def patched(image: Tensor, top: int, left: int, inside: Tensor) -> Tensor:
    """The image under each of these patches."""
    found = image.expand(len(inside), -1, -1, -1).clone()
    found[..., top : top + inside.shape[-2], left : left + inside.shape[-1]] = inside
    return found


def smoothed(
    network: nn.Module, images: Tensor, band: int, threshold: float, *, block: bool, stride: int = 1
) -> Tensor:
    side = images.shape[-1]
    kept = bands.kept(side, band, stride)
    rows = kept if block else torch.ones(1, side, dtype=torch.bool)
    return votes.block_votes(network, images, rows, kept, FILL, threshold, 4096).flatten(1, 2)


def double_masking(network: nn.Module, images: Tensor, covering: Tensor) -> Tensor:
    """Algorithm 1 of the paper, written a second time: one image and one mask after the other."""
    found = []
    for image in images:

        def ask(*hidden: Tensor, image: Tensor = image) -> int:
            seen = torch.stack(hidden).any(0)
            return int(network(torch.where(seen, FILL[:, None, None], image)[None]).argmax())

        first = [ask(mask) for mask in covering]
        most = max(sorted(set(first)), key=first.count)
        answer = most
        for mask, dissent in zip(covering, first, strict=True):
            if dissent != most and all(ask(mask, second) == dissent for second in covering):
                answer = dissent
                break
        found.append(answer)
    return torch.tensor(found)


@pytest.mark.parametrize("length", [7, 12, 16])
def test_a_patch_meets_no_more_bands_than_are_counted_with(length: int) -> None:
    for band, stride in itertools.product(range(1, length + 1), range(1, 6)):
        kept = bands.kept(length, band, stride)
        for patch in range(1, length + 1):
            firsts = torch.arange(length - patch + 1)
            brute = max(sum(any(row[i : i + patch]) for row in kept.tolist()) for i in firsts.tolist())
            met = bands.most_met(length, band, stride, patch)
            assert int(bands.touched(kept, patch, firsts).sum(1).max()) == brute <= met
            published = min(math.ceil((patch + band - 1) / stride), len(kept))
            assert met == published if length % stride == 0 else published <= met <= published + 1


def test_at_the_seam_of_a_stride_that_does_not_divide_the_width_a_patch_meets_one_band_more_than_published() -> None:
    kept = bands.kept(224, 19, 10)
    brute = int(bands.touched(kept, 32, torch.arange(193)).sum(1).max())
    assert (brute, bands.most_met(224, 19, 10, 32), math.ceil((32 + 19 - 1) / 10)) == (6, 6, 5)


def test_bands_that_do_not_fit_are_refused() -> None:
    for band, stride in ((0, 1), (9, 1), (3, 0)):
        with pytest.raises(ValueError, match="does not fit into 8 pixels"):
            bands.kept(8, band, stride)
    for patch, most in ((0, 3), (9, 3), (2, 0)):
        with pytest.raises(ValueError, match="masks cover"):
            masks.axis_masks(8, patch, most)


def test_votes_are_the_softmax_of_what_a_band_shows() -> None:
    network, images = Small(6, 3, 0), torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    found = smoothed(network, images, 2, 0.3, block=False)
    assert found.shape == (3, 6, 3)
    for n, first in itertools.product(range(3), range(6)):
        seen = torch.zeros(1, 1, 6, 6)
        for column in (first, (first + 1) % 6):
            seen[..., column] = images[n, ..., column]
        assert torch.equal(found[n, first], network(seen)[0].softmax(0) >= 0.3)
    alone = smoothed(network, images, 2, 0.0, block=True)
    assert alone.shape == (3, 36, 3)
    assert (alone.sum(2) == 1).all()


def test_equal_votes_go_to_the_smaller_class_and_decide_what_is_certified() -> None:
    counts = torch.tensor([[5, 5, 1], [1, 5, 5], [9, 1, 0], [1, 9, 0], [9, 1, 0]])
    assert counting.predicted(counts).tolist() == [0, 1, 0, 1, 0]
    labels = torch.tensor([0, 2, 0, 1, 1])
    assert counting.certified(counts, labels, 0).tolist() == [True, False, True, True, False]
    # A lead of exactly 2 · 4 holds for the smaller class only.
    assert counting.certified(counts, labels, 4).tolist() == [False, False, True, False, False]
    assert not counting.certified(counts, labels, 4, strict=True).any()
    assert counting.certified(counts, labels, 3, strict=True).tolist() == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("block", "threshold", "stride"), [(False, 0.3, 1), (False, 0.0, 2), (True, 0.3, 1), (True, 0.0, 2)]
)
def test_no_content_at_all_turns_a_certified_vote(block: bool, threshold: float, stride: int) -> None:
    side, patch, band = 8, 1, 1
    draw = torch.Generator().manual_seed(3)
    images = (torch.rand(60, 1, side, side, generator=draw) > 0.5).float()
    network = Small(side, 2, 5)
    network.second[:, 1] += 0.6
    cast = smoothed(network, images, band, threshold, block=block, stride=stride)
    winners = counting.predicted(cast.sum(1))
    met = bands.most_met(side, band, stride, patch) ** (2 if block else 1)
    held = counting.certified(cast.sum(1), winners, met)
    assert int(held.sum()) > 5
    turned = 0
    for i in range(len(images)):
        tried = torch.cat([patched(images[i], top, left, contents(patch)) for top, left in places(side, patch)])
        after = counting.predicted(smoothed(network, tried, band, threshold, block=block, stride=stride).sum(1))
        assert not held[i] or (after == winners[i]).all()
        turned += int((after != winners[i]).any())
    assert turned or block


def test_the_reserve_of_a_place_is_what_the_worst_votes_leave() -> None:
    generator = np.random.default_rng(0)
    for _ in range(40):
        cast = torch.from_numpy(generator.random((7, 3)) > 0.5)
        hit = torch.from_numpy(generator.random((4, 7)) > 0.6)
        label = int(generator.integers(3))
        there = torch.stack([cast[row].sum(0) for row in hit])
        found = counting.reserve(cast.sum(0), there, hit.sum(1), label)
        for row, left in zip(hit, found.tolist(), strict=True):
            worst = []
            for rival in {0, 1, 2} - {label}:
                turned = cast.clone()
                turned[row], turned[row, rival] = False, True
                counts = turned.sum(0)
                worst.append(int(counts[label] - counts[rival]) - (rival < label))
            assert left == min(worst)


def test_a_certificate_leaves_a_reserve_everywhere() -> None:
    network, images = Small(9, 2, 2), torch.rand(40, 1, 9, 9, generator=torch.Generator().manual_seed(8))
    kept, patch = bands.kept(9, 1), 2
    cast = smoothed(network, images, 1, 0.0, block=False)
    winners = counting.predicted(cast.sum(1))
    held = counting.certified(cast.sum(1), winners, bands.most_met(9, 1, 1, patch))
    hit = bands.touched(kept, patch, torch.arange(8))
    for i in torch.nonzero(held)[:, 0].tolist():
        there = hit.long() @ cast[i].long()
        assert (counting.reserve(cast[i].sum(0), there, hit.sum(1), int(winners[i])) >= 0).all()
    assert 0 < int(held.sum()) < 40


def test_masks_cover_a_patch_wherever_it_lies() -> None:
    for length, most in itertools.product((8, 11, 32), (1, 2, 3, 6)):
        for patch in range(1, length + 1):
            first, width = masks.axis_masks(length, patch, most)
            assert len(first) <= most
            assert int(first[-1]) + width == length
            for top in range(length - patch + 1):
                assert any(a <= top and top + patch <= a + width for a in first.tolist())
    assert [masks.axis_masks(224, 32, k)[1] for k in (3, 6)] == [96, 64]


def test_covered_places_are_those_that_lie_within_a_mask() -> None:
    hidden = masks.covering(9, 7, 2, 3)
    found = masks.covers(hidden, torch.arange(8), torch.arange(6), 2)
    for k, top, left in itertools.product(range(len(hidden)), range(8), range(6)):
        assert found[k, top, left] == hidden[k, top : top + 2, left : left + 2].all()
    assert found.any(0).all()


def certify(
    network: Callable[[Tensor], Tensor], images: Tensor, covering: Tensor, labels: Tensor, whole: bool
) -> tuple[np.ndarray, ...]:
    masked = Masked(network, images, covering, FILL, 50)
    first, lead = one_mask(masked, labels)
    safe = safe_masks(masked, labels.numpy(), first, lead, np.full(len(images), whole))
    return safe, defended(masked, first)


def test_double_masking_is_the_published_algorithm() -> None:
    network, covering = Small(6, 3, 1), masks.covering(6, 6, 2, 3)
    images = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = network(images).argmax(1)
    safe, answers = certify(network, images, covering, labels, whole=True)
    assert torch.equal(torch.from_numpy(answers), double_masking(network, images, covering))
    for i, image in enumerate(images):
        pairs = torch.stack([torch.where(a | b, FILL[:, None, None], image) for a in covering for b in covering])
        table = (network(pairs).argmax(1) == labels[i]).view(len(covering), -1)
        assert torch.equal(torch.from_numpy(safe[i]), table.all(1))
    early, _ = certify(network, images, covering, labels, whole=False)
    assert (early.all(1) == safe.all(1)).all()
    assert 0 < safe.all(1).sum() < len(images)


def test_early_ends_ask_less() -> None:
    asked = [0, 0]
    covering, images = masks.covering(8, 8, 2, 6), torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network = Small(8, 4, 0)
    labels = network(images).argmax(1)
    for whole in (False, True):

        def counted(x: Tensor, whole: bool = whole) -> Tensor:
            asked[whole] += len(x)
            return network(x)

        masked = Masked(counted, images, covering, FILL, 64)
        first, lead = one_mask(masked, labels)
        safe_masks(masked, labels.numpy(), first, lead, np.full(len(images), whole))
    every = len(images) * len(covering) * (len(covering) + 1) // 2
    assert asked[0] < asked[1] <= every
    assert asked[0] < every / 3


def test_no_content_at_all_turns_double_masking_where_it_is_certified() -> None:
    side, patch = 5, 2
    covering, network = masks.covering(side, side, patch, 2), Small(side, 2, 4)
    images = (torch.rand(40, 1, side, side, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    labels = network(images).argmax(1)
    safe, _ = certify(network, images, covering, labels, whole=True)
    hides = masks.covers(covering, torch.arange(side - patch + 1), torch.arange(side - patch + 1), patch)
    turned, certain = 0, 0
    for i, (top, left) in itertools.product(range(len(images)), places(side, patch)):
        tried = patched(images[i], top, left, contents(patch))
        _, after = certify(network, tried, covering, labels[i].expand(len(tried)), whole=False)
        if safe[i][hides[:, top, left].numpy()].any():
            certain += 1
            assert (after == int(labels[i])).all(), "a safe mask covers this place"
        turned += bool((after != int(labels[i])).any())
    assert turned
    assert certain
    assert 0 < safe.all(1).sum() < len(images)


def attack(network: nn.Module, image: Tensor, label: int, top: int, left: int, patch: int, seed: int) -> Tensor:
    """Contents of a patch by random draws and by signed gradients of the undefended network's loss."""
    draw = torch.Generator().manual_seed(seed)
    inside = torch.rand(8, image.shape[0], patch, patch, generator=draw)
    found = [inside]
    for _ in range(6):
        inside = inside.detach().requires_grad_(True)
        whole = image.expand(8, -1, -1, -1).clone()
        whole[..., top : top + patch, left : left + patch] = inside
        loss = nn.functional.cross_entropy(network(whole), torch.full((8,), label))
        inside = (inside + 0.3 * torch.autograd.grad(loss, inside)[0].sign()).clamp(0, 1)
        found.append(inside)
    return patched(image, top, left, torch.cat(found[:1] + found[-1:]).detach())


def test_attacks_at_every_place_turn_the_network_but_no_certified_prediction() -> None:
    side, patch = 8, 2
    network = Small(side, 3, 6)
    images = torch.rand(24, 1, side, side, generator=torch.Generator().manual_seed(4))
    labels = network(images).argmax(1)
    covering, kept = masks.covering(side, side, patch, 3), bands.kept(side, 2)
    two, _ = certify(network, images, covering, labels, whole=False)
    cast = smoothed(network, images, 2, 0.0, block=False).sum(1)
    one = counting.certified(cast, labels, bands.most_met(side, 2, 1, patch)).numpy()
    assert 0 < two.all(1).sum() < len(images)
    broke = 0
    for i in np.flatnonzero(two.all(1) | one).tolist():
        tried = torch.cat(
            [attack(network, images[i], int(labels[i]), *place, patch, i) for place in places(side, patch)]
        )
        broke += bool((network(tried).argmax(1) != labels[i]).any())
        if two[i].all():
            assert (
                certify(network, tried, covering, labels[i].expand(len(tried)), whole=False)[1] == int(labels[i])
            ).all()
        if one[i]:
            counts = votes.block_votes(network, tried, torch.ones(1, side, dtype=torch.bool), kept, FILL, 0.0, 4096)
            assert (counting.predicted(counts.sum((1, 2))) == labels[i]).all()
    assert broke, "the attack is strong enough to turn the undefended network"


def transformer(kind: str) -> nn.Module:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    changes = {
        "plain": {},
        "mean of tokens": {"global_pool": "avg"},
        "registers, positions without prefix": {"reg_tokens": 2, "no_embed_class": True},
        "any size": {"dynamic_img_size": True},
    }
    if kind == "distilled":
        model = timm.models.deit.VisionTransformerDistilled(**shape)
    else:
        model = timm.models.vision_transformer.VisionTransformer(**shape, **changes[kind])
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize(
    "kind", ["plain", "mean of tokens", "registers, positions without prefix", "any size", "distilled"]
)
def test_dropping_tokens_is_the_same_as_masking_attention_to_them(kind: str) -> None:
    model = transformer(kind)
    assert tokens.why_not(model, 32) == ""
    images, fill = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([0.1, 0.0, -0.2])
    kept = bands.kept(32, 5, 3)
    found = tokens.band_logits(model, images, kept, fill, 2)
    seen = tokens.tokens_of(kept, 8)
    assert len(set(seen.sum(1).tolist())) > 1, "bands that cut one token and bands that cut two"
    for p, band in enumerate(kept):
        whole = torch.where(band[None, None, None], images, fill[:, None, None])
        prefix = torch.ones(model.num_prefix_tokens, dtype=torch.bool)
        alive = torch.cat([prefix, seen[p].repeat(4)])
        with torch.no_grad():
            x = model.norm_pre(model._pos_embed(model.patch_embed(whole)))
            bias = torch.where(alive, 0.0, -torch.inf)[None, None, None, :].expand(1, 1, len(alive), -1)
            for block in model.blocks:
                x = block(x, attn_mask=bias)
            reference = model.forward_head(model.norm(x)[:, alive])
        assert torch.allclose(found[:, p], reference, atol=1e-5)
    assert not torch.allclose(found[:, 0], found[:, 1], atol=1e-3)


def test_other_networks_say_why_their_tokens_cannot_be_dropped() -> None:
    assert "no plain vision transformer" in tokens.why_not(nn.Linear(2, 2), 32)


def test_what_votes_certify_equals_the_published_rule() -> None:
    """Levine and Feizi's: sorted counts, ties to the smaller class, the second class the first of those that follow."""
    draw = np.random.default_rng(5)
    for _ in range(300):
        counts, met = draw.integers(0, 12, (1, 4)), int(draw.integers(0, 5))
        order = np.argsort(-counts[0], kind="stable")
        first, second = order[0], order[1]
        gap = counts[0, first] - counts[0, second]
        published = gap > 2 * met or (gap == 2 * met and first < second)
        found = torch.from_numpy(counts)
        assert int(counting.predicted(found)[0]) == first
        assert bool(counting.certified(found, torch.tensor([first]), met)[0]) == published
        assert bool(counting.certified(found, torch.tensor([first]), met, strict=True)[0]) == (gap > 2 * met)
