"""Each method's scores for a block of targets, from what the run's arrays hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import Inputs, Split
from app.audits.gradients import why_none
from app.audits.influence.kept import kept_spectra
from app.audits.influence.schema import METHODS, CurvatureSummary, Method, Params
from app.numerics.attribution.knn_shapley import knn_shapley, signed_similarity
from app.numerics.attribution.quantised import QuantisedRows
from app.numerics.attribution.ridge import DEFAULT_RIDGE, Spectrum
from app.numerics.attribution.tracin import logit_error, tracin_last_layer
from app.numerics.attribution.trak import Checkpoint, trak_scores

BlockScores = Callable[[NDArray[np.int64]], Tensor]
"""Places of targets in the audited split → float32 [N, m]."""


class CannotAttribute(Exception):
    """A method has nothing to work with; the message says what is missing."""


@dataclass
class Attributor:
    """Scores of every method that this run allows; the others say why not."""

    inputs: Inputs
    train: Split
    targets: Split
    reasons: dict[Method, str] = field(default_factory=dict)
    methods: dict[Method, BlockScores] = field(default_factory=dict)
    ridge: float | None = None
    """Of TRAK; may be set anew at any time."""
    trained: list[Checkpoint] = field(default_factory=list)
    """The training side of TRAK at each checkpoint; empty where there are no gradients."""

    def __post_init__(self) -> None:
        makers: dict[Method, Callable[[], BlockScores]] = {
            "trak": self._trak,
            "ekfac": self._ekfac,
            "tracin_full": self._tracin_full,
            "tracin": self._tracin,
            "knn_shapley": self._knn_shapley,
            "similarity": self._similarity,
        }
        for method in METHODS:
            try:
                self.methods[method] = makers[method]()
            except CannotAttribute as error:
                self.reasons[method] = str(error)

    def points(self, places: NDArray[np.int64]) -> list[Checkpoint]:
        """What TRAK needs of each checkpoint for some places of the audited split."""
        targets = [rows(self.targets, c).take(places).rows() for c in range(len(self.trained))]
        return [point._replace(targets=own) for point, own in zip(self.trained, targets, strict=True)]

    def _trak(self) -> BlockScores:
        self.trained, self.ridge = checkpoints_of(self.inputs, self.train)

        def scores(places: NDArray[np.int64]) -> Tensor:
            assert self.ridge is not None
            return trak_scores(self.points(places), self.ridge)

        return scores

    def _ekfac(self) -> BlockScores:
        own, other = whitened_of(self.train), whitened_of(self.targets)
        slope = loss_slope(self.train, "ekfac.doubt") / len(self.train.manifest)
        return lambda places: own.dot(other.take(places).rows()) * slope[:, None]

    def _tracin_full(self) -> BlockScores:
        train, count = self.train, checkpoints(self.train)
        if not count:
            raise CannotAttribute(why_none(train.model))

        def scores(places: NDArray[np.int64]) -> Tensor:
            found = torch.zeros(len(train.manifest), len(places))
            for c in range(count):
                doubts = torch.from_numpy(array(self.targets, "doubt", c))[places]
                queries = rows(self.targets, c).take(places).rows() * doubts[:, None]
                found += rows(train, c).dot(queries) * loss_slope(train, f"gradients.doubt-{c}")[:, None]
            return found

        return scores

    def _tracin(self) -> BlockScores:
        train, targets = last_layer(self.train, teaches=True), last_layer(self.targets, teaches=False)

        def scores(places: NDArray[np.int64]) -> Tensor:
            return tracin_last_layer([train], [(targets[0][places], targets[1][places])], [1.0])

        return scores

    def _knn_shapley(self) -> BlockScores:
        train, targets = self._space()
        own, other, k = targets_of(self.train), targets_of(self.targets), self.inputs.params.neighbours
        return lambda places: knn_shapley(train, own, targets[places], other[places], k)

    def _similarity(self) -> BlockScores:
        train, targets = self._space()
        own, other = targets_of(self.train), targets_of(self.targets)
        return lambda places: signed_similarity(train, own, targets[places], other[places])

    def _space(self) -> tuple[Tensor, Tensor]:
        return space(self.train), space(self.targets)


def last_layer(split: Split, *, teaches: bool) -> tuple[Tensor, Tensor]:
    """The loss's gradient by the logits, float32 [n, C], and the penultimate features with a one appended.

    Raises:
        CannotAttribute: the model hides them.
    """
    if split.logits is None or split.features is None:
        raise CannotAttribute("This model hides its penultimate layer.")
    labels = targets_of(split)
    inputs = torch.cat([tensor(split.features), torch.ones(len(labels), 1)], dim=1)
    error = logit_error(tensor(split.logits), labels)
    # Unlabelled training rows teach nothing.
    return torch.where(known(split)[:, None], error, 0.0) if teaches else error, inputs


def space(split: Split) -> Tensor:
    """Where images are compared, float32 [n, d]: the model's own penultimate layer, else the encoder's embeddings.

    Raises:
        CannotAttribute: the run has neither.
    """
    values = split.embeddings if split.features is None else split.features
    if values is None:
        raise CannotAttribute("There are neither penultimate features nor embeddings to compare images in.")
    return tensor(values)


def checkpoints_of(inputs: Inputs, train: Split) -> tuple[list[Checkpoint], float]:
    """The training side of TRAK at each checkpoint, without targets, and the ridge in force.

    Raises:
        CannotAttribute: the model gives no gradients.
    """
    count = checkpoints(train)
    if not count:
        raise CannotAttribute(why_none(train.model))
    params: Params = inputs.params
    kept, found = kept_spectra(inputs), []
    for c in range(count):
        codes = rows(train, c)
        doubts = torch.from_numpy(array(train, "doubt", c))
        spectrum = kept.spectrum(c) if kept else Spectrum.of(codes.blocks())
        found.append(Checkpoint(codes, spectrum, torch.zeros(0, codes.codes.shape[1]), doubts))
    return found, kept.ridge if kept else params.ridge or DEFAULT_RIDGE


def checkpoints(train: Split) -> int:
    """Checkpoints that gradients were taken at."""
    return sum(name.startswith("gradients.codes-") for name in train.model)


def rows(split: Split, checkpoint: int) -> QuantisedRows:
    """The sketched gradients of a split at a checkpoint."""
    codes, scales = (array(split, name, checkpoint) for name in ("codes", "scales"))
    return QuantisedRows(torch.from_numpy(codes), torch.from_numpy(scales))


def whitened_of(split: Split) -> QuantisedRows:
    """The EK-FAC features of a split: inner products of rows are influences, up to the slope of the loss.

    Raises:
        CannotAttribute: there are none.
    """
    if "ekfac.codes" not in split.model:
        raise CannotAttribute(why_none(split.model, "ekfac"))
    codes, scales = (np.require(split.model[f"ekfac.{name}"], requirements="W") for name in ("codes", "scales"))
    return QuantisedRows(torch.from_numpy(codes), torch.from_numpy(scales))


def curvature_of(split: Split) -> CurvatureSummary | None:
    """What the EK-FAC features of a split say of themselves."""
    if "ekfac.codes" not in split.model:
        return None
    share, diagonal, count = (float(split.model[f"ekfac.{name}"][0]) for name in ("share", "diagonal", "rows"))
    return CurvatureSummary(rows=int(count), share=share, diagonal=diagonal)


def loss_slope(split: Split, name: str) -> Tensor:
    """1 − p_y, float32 [n], under this name: ∇loss = −(1 − p_y) ∇margin; 0 for rows without a label.

    They teach nothing.
    """
    doubts = torch.from_numpy(np.require(split.model[name], requirements="W"))
    return torch.where(known(split), doubts, 0.0)


def array(split: Split, name: str, checkpoint: int) -> NDArray[np.generic]:
    """One array of the stage `gradients`; it stays on disk where it is mapped so that torch may have it."""
    return np.require(split.model[f"gradients.{name}-{checkpoint}"], requirements="W")


def tensor(values: NDArray[np.float32]) -> Tensor:
    """A float32 tensor of a memory-mapped array."""
    return torch.from_numpy(np.array(values, dtype=np.float32))


def targets_of(split: Split) -> Tensor:
    """Labels int64 [n]; the predicted class where a row has none."""
    labels = torch.from_numpy(split.manifest["label"].to_numpy().astype(np.int64))
    if split.logits is None:
        return labels
    predicted = torch.from_numpy(np.array(split.logits).argmax(axis=1))
    return torch.where(labels >= 0, labels, predicted)


def known(split: Split) -> Tensor:
    """Whether a row has a label, bool [n]."""
    return torch.from_numpy(split.manifest["label"].to_numpy() >= 0)
