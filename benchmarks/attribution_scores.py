"""What the attribution benchmarks share: our checkpoints' features, and scores against retrained truth."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from app.numerics.attribution.lds import rank_correlation
from app.numerics.attribution.outputs import doubt, margin
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.sketch import GradientSketch
from app.numerics.attribution.taps import TappedNetwork
from app.numerics.attribution.trak import Checkpoint
from benchmarks.attribution_tasks import Data


def tapped(network: nn.Module, data: Data) -> TappedNetwork:
    """Taps on a trained network's graph."""
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (data.train[:2],), dynamic_shapes=(batch,)).run_decompositions({})
    return TappedNetwork(program.module(check_guards=False), data.train[:1])


class Features:
    """Sketched gradients at checkpoints of one architecture, whose graph is made once."""

    def __init__(self, network: nn.Module, data: Data, width: int) -> None:
        batch = {0: torch.export.Dim("batch")}
        # The graph takes other checkpoints' weights in place, so it must not share the network's own.
        own = copy.deepcopy(network)
        program = torch.export.export(own, (data.train[:2],), dynamic_shapes=(batch,)).run_decompositions({})
        self._graph, self._data, self._width = program.module(check_guards=False), data, width
        self._taps = TappedNetwork(self._graph, data.train[:1])

    def checkpoint(self, network: nn.Module, number: int) -> Checkpoint:
        """Everything that TRAK needs of one checkpoint, as a run makes it: int8 rows, their spectrum, targets."""
        data = self._data
        train, logits = self.of(network, number, data.train, data.labels)
        rows = quantise(train)
        targets = quantise(self.of(network, number, data.targets, data.target_labels)[0]).rows()
        return Checkpoint(rows, Spectrum.of([rows.rows()]), targets, doubt(logits, data.labels))

    def of(self, network: nn.Module, number: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 [n, k] and logits."""
        self._graph.load_state_dict(network.state_dict())
        sketch = GradientSketch(self._taps.taps, self._width, seed=0, checkpoint=number)
        features, outputs = [], []
        for x, y in zip(images.split(64), labels.split(64), strict=True):
            logits, factors = self._taps.factors(x, lambda found, y=y: margin(found, y))
            features.append(sketch.features(factors))
            outputs.append(logits)
        return torch.cat(features), torch.cat(outputs)


def lds(scores: Tensor, truth: tuple[Tensor, Tensor]) -> float:
    """Linear datamodelling score of scores [N, m] against masks [M, N] and margins [R, M, m]."""
    masks, margins = truth
    return float(rank_correlation(masks.float() @ scores, margins.mean(dim=0)).mean())
