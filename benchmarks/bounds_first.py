"""Proofs before dear attacks, against pyautoattack's standard ensemble, on the provably robust MNIST network.

`python -m benchmarks.bounds_first [--images 200]` reads the network and the images from the folder that
FAULTLINE_REAL_DATA names. Ours: PGD, interval bounds, CROWN and the convex outer polytope on what it leaves, and the
ensemble of attacks on what is then undecided. On one thread it prints CPU seconds and their ratio, both robust
accuracies, and the points that only one of the two breaks. Each broken point is replayed in double precision. A point
that pyautoattack breaks and ours does not, or that is proven and broken, ends the benchmark with an error.
"""

from __future__ import annotations

import argparse
import time

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from app.numerics.attacks.ensemble import Attack, ensemble, standard
from app.numerics.attacks.pgd import pgd
from app.numerics.attacks.region import Ball
from app.numerics.bounds.margins import Method, margin_bounds
from app.numerics.bounds.program import Program
from benchmarks.bounds_mnist import RADIUS, network, test_images

BALL = Ball("Linf", RADIUS)
PROOFS: tuple[Method, ...] = ("ibp", "crown", "wong_kolter")
UNDECIDED, PROVEN, BROKEN = 0, 1, 2


def main() -> None:
    """Decide, attack, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--batch", type=int, default=250)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    program, (images, labels) = network(), test_images(chosen.images)
    began = time.process_time()
    verdict, found = _ours(program, images, labels, chosen.batch)
    our_seconds = time.process_time() - began
    began = time.process_time()
    theirs = _peer(program, images, labels, chosen.batch)
    their_seconds = time.process_time() - began
    _print(verdict, theirs)
    _replay(program, images, labels, found, verdict == BROKEN)
    print(f"CPU seconds: ours {our_seconds:.1f}, pyautoattack {their_seconds:.1f}, ", end="")
    print(f"ratio {our_seconds / their_seconds:.3f}")
    if bool((theirs & (verdict != BROKEN)).any()):
        raise SystemExit("pyautoattack breaks a point that ours does not.")


def _ours(program: Program, images: Tensor, labels: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    verdict, found = torch.zeros_like(labels), images.clone()
    _attack(program, images, labels, (Attack("pgd", pgd),), batch, verdict, found)
    for method in PROOFS:
        rows = (verdict == UNDECIDED).nonzero()[:, 0]
        began = time.process_time()
        bounds = margin_bounds(program, images[rows], labels[rows], RADIUS, method)
        verdict[rows[bounds > 0]] = PROVEN
        seconds = time.process_time() - began
        print(f"{method}: {int((bounds > 0).sum())} of {len(rows)} proven, {seconds:.1f} CPU s", flush=True)
    _attack(program, images, labels, standard(), batch, verdict, found)
    return verdict, found


def _attack(
    program: Program,
    images: Tensor,
    labels: Tensor,
    attacks: tuple[Attack, ...],
    batch: int,
    verdict: Tensor,
    found: Tensor,
) -> None:
    rows = (verdict == UNDECIDED).nonzero()[:, 0]
    began = time.process_time()
    answer = ensemble(program.forward, images[rows], labels[rows], BALL, attacks, keys=rows, batch_size=batch)
    broken = answer.broken_by != -1
    found[rows], verdict[rows[broken]] = answer.images, BROKEN
    seconds = time.process_time() - began
    names = ", ".join(attack.name for attack in attacks)
    print(f"{names}: {int(broken.sum())} of {len(rows)} broken, {seconds:.1f} CPU s", flush=True)


class _Network(nn.Module):
    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: Tensor) -> Tensor:
        return self.program.forward(images)


def _peer(program: Program, images: Tensor, labels: Tensor, batch: int) -> Tensor:
    model = _Network(program)
    attack = AutoAttack(model, norm="Linf", eps=RADIUS, version="standard", seed=0)
    attack.verbose = False
    found, _ = attack.run_standard_evaluation(images, labels, batch_size=batch)
    with torch.no_grad():
        broken: Tensor = model(found).argmax(1) != labels
    return broken


def _print(verdict: Tensor, theirs: Tensor) -> None:
    proven, ours = verdict == PROVEN, verdict == BROKEN
    print(f"{len(verdict)} images, L∞ {RADIUS}: proven {int(proven.sum())}, broken {int(ours.sum())}, ", end="")
    print(f"undecided {int((verdict == UNDECIDED).sum())}; pyautoattack breaks {int(theirs.sum())}")
    print(f"only ours {int((ours & ~theirs).sum())}, only pyautoattack {int((theirs & ~ours).sum())}", end=", ")
    print(f"proven and broken {int((proven & theirs).sum())}", flush=True)


@torch.no_grad()
def _replay(program: Program, images: Tensor, labels: Tensor, found: Tensor, broken: Tensor) -> None:
    there = found[broken].double()
    near = (there - images[broken].double()).flatten(1).abs().amax(1) <= RADIUS
    inside = near & (there.flatten(1).amin(1) >= 0) & (there.flatten(1).amax(1) <= 1)
    wrong = program.forward(there).argmax(1) != labels[broken]
    print(f"replayed: {int((wrong & inside).sum())} of {int(broken.sum())} broken points hold")


if __name__ == "__main__":
    main()
