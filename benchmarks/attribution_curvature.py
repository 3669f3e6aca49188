"""What EK-FAC's curvature should be estimated from, and how many of its directions are needed.

`python -m benchmarks.attribution_curvature [task …]` prints linear datamodelling scores at one checkpoint: with the
curvature from one sampled label a row, from random signs, and from all labels in proportion; from fewer rows; with
other dampings; and with the k largest coordinates kept, beside a random sketch of all of them. Truth and checkpoints
are those of `benchmarks.attribution_tasks`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from app.numerics.attribution import ekfac
from app.numerics.attribution.coordinates import choose_coordinates, whitened
from app.numerics.attribution.factors import Factors
from app.numerics.attribution.outputs import cross_entropy, doubt, margin
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.randomness import buckets, signs
from app.numerics.attribution.taps import TappedNetwork
from app.numerics.streams import stream
from benchmarks.attribution_scores import lds, tapped
from benchmarks.attribution_tasks import TASKS, Data, checkpoints, truth

SEEDS = range(4)
Output = Callable[[Tensor], Tensor]


class Bench:
    """One checkpoint of a task, and the scores that a curvature gives there."""

    def __init__(self, name: str) -> None:
        task = TASKS[name]
        self.data: Data = task.data()
        self.truth = truth(task)
        self.network: TappedNetwork = tapped(checkpoints(task, 1)[0], self.data)
        self.rows = torch.arange(len(self.data.train))
        self.targets = self._factors(self.data.targets, self.data.target_labels, margin)
        self.losses = [self._factors(x, y, cross_entropy) for x, y in self._labelled()]

    def curvature(self, seed: int, rows: Tensor | None = None) -> list[ekfac.Curvature]:
        """As the product estimates it."""
        some = self.rows if rows is None else rows
        return ekfac.estimate_curvature(
            self.network, lambda: ((part.tolist(), self.data.train[part]) for part in some.split(100)), seed
        )

    def from_labels(self, draws: Callable[[Tensor], Sequence[tuple[Tensor, Tensor]]]) -> list[ekfac.Curvature]:
        """From labels and their weights, [n] each; `draws` makes them of probabilities [n, C], anew for the values."""
        taps, covariance = self.network.taps, ekfac.CovarianceSum(self.network.taps)
        for passes in self._drawn(draws):
            covariance.add(*passes)
        bases = covariance.bases()
        sums = [ekfac.rotated_moments(taps, bases, *passes) for passes in self._drawn(draws)]
        return ekfac.joined(bases, [ekfac.sum_of(same) for same in zip(*sums, strict=True)], len(self.rows))

    def whole(self, curvature: list[ekfac.Curvature], damping: float = ekfac.DAMPING) -> Tensor:
        """Scores [N, m] without dropping anything."""
        solved = ekfac.precondition(self.network.taps, self.targets, curvature, damping)
        return torch.cat([ekfac.influence(self.network.taps, loss, solved) for loss in self.losses])

    def features(self, curvature: list[ekfac.Curvature], size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Whitened margins of training rows and targets, `size` coordinates each, and the loss's slope."""
        kept = choose_coordinates(curvature, size).weights
        found, slopes = [], []
        for x, y in self._labelled():
            logits, factors = self.network.factors(x, lambda found, y=y: margin(found, y))
            found.append(whitened(self.network.taps, factors, kept))
            slopes.append(doubt(logits, y))
        return torch.cat(found), whitened(self.network.taps, self.targets, kept), torch.cat(slopes)[:, None]

    def lds(self, scores: Tensor) -> float:
        """Against the retrained truth."""
        return lds(scores, self.truth)

    def _labelled(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.data.train.split(100), self.data.labels.split(100), strict=True)

    def _factors(self, x: Tensor, y: Tensor, output: Callable[[Tensor, Tensor], Tensor]) -> list[Factors]:
        return self.network.factors(x, lambda logits: output(logits, y))[1]

    def _drawn(self, draws: Callable[[Tensor], Sequence[tuple[Tensor, Tensor]]]) -> Iterator[list[list[Factors]]]:
        for x, y in self._labelled():
            logits, _ = self.network.factors(x, lambda found, y=y: margin(found, y))
            pairs = draws(logits.softmax(dim=1))
            yield [
                self.network.factors(x, lambda found, y=y, w=w: cross_entropy(found, y) * w.sqrt())[1] for y, w in pairs
            ]


def one_label(seed: int) -> Callable[[Tensor], Sequence[tuple[Tensor, Tensor]]]:
    """A label for each row, sampled from the prediction."""
    generator = torch.Generator().manual_seed(seed)
    return lambda p: [(torch.multinomial(p, 1, generator=generator)[:, 0], torch.ones(len(p)))]


def all_labels(p: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Every label, weighted by its probability."""
    return [(torch.full((len(p),), c), p[:, c]) for c in range(p.shape[1])]


def sketched(side: Tensor, size: int) -> Tensor:
    """A count sketch of all coordinates."""
    source = stream(0, "curvature benchmark", size)
    bucket, sign = buckets(side.shape[1], size, source), signs((side.shape[1],), source)
    return side.new_zeros(len(side), size).index_add_(1, bucket, side * sign)


def figures(values: Sequence[float]) -> str:
    """Scores in a row."""
    return " ".join(f"{value:.3f}" for value in values)


def run(name: str) -> None:
    """Measure one task."""
    bench = Bench(name)
    print(f"{name}, {len(bench.rows):,} training rows")
    print(f"  one sampled label:  {figures([bench.lds(bench.whole(bench.from_labels(one_label(s)))) for s in SEEDS])}")
    began = time.process_time()
    found = [bench.curvature(seed) for seed in SEEDS]
    seconds = (time.process_time() - began) / len(found)
    print(
        f"  {ekfac.PROBES} draws of signs:   {figures([bench.lds(bench.whole(c)) for c in found])}; {seconds:.2f} CPU s"
    )
    print(f"  all labels:         {bench.lds(bench.whole(bench.from_labels(all_labels))):.3f}")
    for share in (2, 4):
        some = [torch.randperm(len(bench.rows), generator=torch.Generator().manual_seed(s)) for s in SEEDS]
        parts = [bench.curvature(s, rows[: len(rows) // share]) for s, rows in zip(SEEDS, some, strict=True)]
        print(f"  1/{share} of the rows:    {figures([bench.lds(bench.whole(c)) for c in parts])}")
    dampings = (0.01, 0.03, 0.1, 0.3, 1.0)
    print(f"  damping {dampings}: {figures([bench.lds(bench.whole(found[0], d)) for d in dampings])}")
    directions(bench, found[0])


def directions(bench: Bench, curvature: list[ekfac.Curvature]) -> None:
    """The k largest coordinates as int8 rows, beside a sketch of all."""
    exact = bench.whole(curvature)
    every = bench.features(curvature, sum(layer.values.numel() for layer in curvature))
    for size in (512, 1024, 2048, 4096):
        train, targets, slope = bench.features(curvature, size)
        kept = quantise(train).rows() @ quantise(targets).rows().T * slope
        drawn = sketched(every[0], size) @ sketched(every[1], size).T * every[2]
        said = [
            f"correlation {torch.corrcoef(torch.stack([scores.flatten(), exact.flatten()]))[0, 1]:.3f}, "
            f"LDS {bench.lds(scores):.3f}"
            for scores in (kept, drawn)
        ]
        print(f"  k = {size:,}: kept {said[0]}; sketched {said[1]}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in parser.parse_args().tasks:
        run(name)


if __name__ == "__main__":
    main()
