"""What patch defences certify of an ordinary network and of one trained on pieces, and attacks on what they certify.

`python -m benchmarks.patches_defence [--images 60] [--patch 4] [--masks 3] [--tries 8] [--steps 10] [--no-tokens]`
trains two small convolutional networks on scikit-learn's digits, enlarged to 24 × 24 pixels: one on whole images, one
also on images of which masks or all but a band of columns are hidden. For each it prints accuracy, what two masks,
columns and blocks certify, and the share of all pairs of masks that early ends leave to ask. Then the attack: of every
certified image patches at every second place, with random contents and with contents found by signed gradients of the
undefended network, against the defended prediction. One that turns ends the benchmark with an error; beside it stands
how many of the same images the same patches turn without the defence. Last, CPU seconds of a ViT-tiny on 23 bands of
19 of 224 columns with tokens dropped and with whole images. One thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from app.numerics.patches import counting, masks, tokens
from app.numerics.patches.bands import kept, most_met
from app.numerics.patches.two_mask import Masked, defended, one_mask, safe_masks
from app.numerics.patches.votes import block_votes

SIDE, BAND, TRAINED, EPOCHS, BATCH = 24, 4, 1200, 12, 256
FILL = torch.zeros(1)
ROWS = torch.ones(1, SIDE, dtype=torch.bool)


@dataclass(frozen=True)
class Case:
    """A network in evaluation mode, and images with labels."""

    name: str
    network: nn.Module
    images: Tensor
    labels: Tensor


def main() -> None:
    """Train, certify, attack, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--masks", type=int, default=3)
    parser.add_argument("--tries", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--no-tokens", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    turned = 0
    for pieces in (False, True):
        turned += _report(_digits(chosen.images, pieces=pieces, patch=chosen.patch), chosen)
    if not chosen.no_tokens:
        _tokens()
    if turned:
        raise SystemExit(f"{turned} certified predictions were turned.")


def _report(case: Case, chosen: argparse.Namespace) -> int:
    covering = masks.covering(SIDE, SIDE, chosen.patch, chosen.masks)
    asked, count = [0], len(case.images)

    def counted(x: Tensor) -> Tensor:
        asked[0] += len(x)
        return case.network(x)

    masked = Masked(counted, case.images, covering, FILL, BATCH)
    first, lead = one_mask(masked, case.labels)
    safe = safe_masks(masked, case.labels.numpy(), first, lead, np.zeros(count, bool)).all(1)
    part = asked[0] / (count * len(covering) * (len(covering) + 1) // 2)
    answers = torch.from_numpy(defended(masked, first))
    clean = _share(case.network(case.images).argmax(1) == case.labels)
    print(f"{case.name}: {count} images, right as they are {clean}, patch {chosen.patch} px of {SIDE}")
    print(f"  two masks {chosen.masks} × {chosen.masks}: right {_share(answers == case.labels)},", end=" ")
    print(f"certified {safe.mean():.3f}, {part:.2f} of all pairs asked, {asked[0] / count:.0f} passes with both rounds")
    turned = _attack(case, chosen, safe, lambda images: _double(case, images, covering))
    for name, rows in (("columns", ROWS), ("blocks", kept(SIDE, BAND))):
        met = most_met(SIDE, BAND, 1, chosen.patch) ** (1 if rows is ROWS else 2)
        counts = _counts(case, case.images, rows)
        held, right = counting.certified(counts, case.labels, met).numpy(), counting.predicted(counts) == case.labels
        print(f"  {name} of {BAND} px: right {_share(right)}, certified {held.mean():.3f}", flush=True)
        if rows is ROWS:
            turned += _attack(case, chosen, held, lambda images: counting.predicted(_counts(case, images, ROWS)))
    return turned


def _double(case: Case, images: Tensor, covering: Tensor) -> Tensor:
    masked = Masked(case.network, images, covering, FILL, BATCH)
    first, _ = one_mask(masked, torch.zeros(len(images), dtype=torch.long))
    return torch.from_numpy(defended(masked, first))


def _counts(case: Case, images: Tensor, rows: Tensor) -> Tensor:
    return block_votes(case.network, images, rows, kept(SIDE, BAND), FILL, 0.2, BATCH).sum((1, 2))


def _attack(
    case: Case, chosen: argparse.Namespace, held: NDArray[np.bool_], defence: Callable[[Tensor], Tensor]
) -> int:
    """How many certified images some patch turns; printed beside how many it turns without the defence."""
    generator, turned, undefended, tried, asked = torch.Generator().manual_seed(0), 0, 0, 0, 0
    corners = range(0, SIDE - chosen.patch + 1, 2)
    for i in np.flatnonzero(held).tolist():
        label = int(case.labels[i])
        shown = torch.cat([
            _contents(case, case.images[i], label, top, left, chosen, generator) for top in corners for left in corners
        ])  # fmt: skip
        tried += len(shown)
        broken = case.network(shown).argmax(1) != label
        undefended += bool(broken.any())
        # The defence is asked about the patches that harm the network most, and about as many others.
        some = torch.cat([shown[broken][:200], shown[~broken][:: max(1, len(shown) // 100)]])
        asked += len(some)
        turned += bool((defence(some) != label).any())
    print(
        f"    attacked: {tried:,} patches on {int(held.sum())} certified images; {undefended} of these are turned",
        end=" ",
    )
    print(f"without the defence, {turned} with it, which was asked of {asked:,} patches", flush=True)
    return turned


def _contents(
    case: Case, image: Tensor, label: int, top: int, left: int, chosen: argparse.Namespace, generator: torch.Generator
) -> Tensor:
    inside = torch.rand(chosen.tries, 1, chosen.patch, chosen.patch, generator=generator)
    found = [_patched(image, top, left, inside)]
    for _ in range(chosen.steps):
        inside = inside.detach().requires_grad_(True)
        loss = nn.functional.cross_entropy(
            case.network(_patched(image, top, left, inside)), torch.full((len(inside),), label)
        )
        inside = (inside + 0.25 * torch.autograd.grad(loss, inside)[0].sign()).clamp(0, 1)
    return torch.cat([*found, _patched(image, top, left, inside.detach())])


def _patched(image: Tensor, top: int, left: int, inside: Tensor) -> Tensor:
    whole = image.expand(len(inside), -1, -1, -1).clone()
    whole[..., top : top + inside.shape[-2], left : left + inside.shape[-1]] = inside
    return whole


def _digits(count: int, *, pieces: bool, patch: int) -> Case:
    """A network trained for a few seconds, on pieces of images too where it is to vote."""
    torch.manual_seed(0)
    data = load_digits()
    small = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
    images = nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bilinear")
    labels, order = torch.tensor(data.target), torch.randperm(len(small))
    train, test = order[:TRAINED], order[TRAINED:][:count]
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimiser, covering = torch.optim.Adam(network.parameters(), 2e-3), masks.covering(SIDE, SIDE, patch, 3)
    bands = kept(SIDE, BAND)
    for _ in range(EPOCHS * (3 if pieces else 1)):
        for rows in torch.split(train[torch.randperm(TRAINED)], 100):
            x, y = images[rows], labels[rows]
            if pieces:
                first, second = (covering[torch.randint(len(covering), (len(x),))] for _ in range(2))
                seen = bands[torch.randint(SIDE, (len(x),))][:, None, None]
                x, y = torch.cat([x, x * ~(first | second)[:, None], x * seen]), y.repeat(3)
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()
    name = "trained on pieces" if pieces else "ordinary"
    return Case(name, network.eval().requires_grad_(False), images[test], labels[test])


def _tokens() -> None:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=10).eval()
    images, bands = torch.randn(2, 3, 224, 224), kept(224, 19, 10)
    seconds = {"dropped": np.inf, "whole": np.inf}
    for _ in range(2):
        began = time.process_time()
        tokens.band_logits(network, images, bands, torch.zeros(3), 8)
        seconds["dropped"] = min(seconds["dropped"], time.process_time() - began)
        began = time.process_time()
        with torch.no_grad():
            for band in bands:
                network(images * band)
        seconds["whole"] = min(seconds["whole"], time.process_time() - began)
    print(f"ViT-tiny, {len(bands)} bands of 19 px: {seconds['dropped']:.2f} s with dropped tokens,", end=" ")
    print(f"{seconds['whole']:.2f} s with whole images, {seconds['whole'] / seconds['dropped']:.1f} times as long")


def _share(right: Tensor) -> str:
    return f"{right.float().mean():.3f}"


if __name__ == "__main__":
    main()
