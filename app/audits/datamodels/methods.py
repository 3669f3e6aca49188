"""Each method's scores for a block of targets, fitted without the networks that judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import Inputs, Split
from app.audits.datamodels.schema import METHODS, Fitted
from app.audits.datamodels.subsets import Networks
from app.audits.influence.scores import CannotAttribute, checkpoints_of, rows, space, targets_of
from app.numerics.attribution.datamodel import DatamodelFitter, Datamodels
from app.numerics.attribution.knn_shapley import signed_similarity
from app.numerics.attribution.quantised import QuantisedRows
from app.numerics.attribution.subset_influence import subset_influence
from app.numerics.attribution.trak import trak_scores

Places = NDArray[np.int64]
ByPlaces = Callable[[Places], Tensor]
"""Places of targets in the audited split → float32 [N, b]."""


class Block(NamedTuple):
    """Some targets: their columns among all targets, their `places` in the audited split."""

    columns: slice
    places: Places


class Scored(NamedTuple):
    """Scores float32 [N, b]; where a method predicts outputs: its intercepts, and how well it does inside [b]."""

    scores: Tensor
    intercepts: Tensor | None = None
    fit: Tensor | None = None


class Methods:
    """The methods that this run allows; `reasons` says why the others are not there."""

    def __init__(self, inputs: Inputs, train: Split, networks: Networks) -> None:
        self._networks, self.reasons = networks, dict[Fitted, str]()
        self._fitter = DatamodelFitter(networks.masks)
        self._trak = self._tried(("trak", "weighted"), lambda: _trak(inputs, train))
        self._similarity = self._tried(("similarity",), lambda: _similarity(inputs, train))

    @property
    def names(self) -> list[Fitted]:
        """In the order of `METHODS`."""
        return [name for name in METHODS if name not in self.reasons]

    def scores(self, block: Block) -> dict[Fitted, Scored]:
        """Every method's scores for a block."""
        margins = self._networks.margins[:, block.columns]
        found = {"plain": _scored(self._fitter.fit(margins))}
        found["subset"] = Scored(subset_influence(self._networks.masks, margins).nan_to_num_())
        if self._trak:
            prior = self._trak(block.places)
            found |= {"trak": Scored(prior), "weighted": _scored(self._fitter.fit(margins, prior))}
        if self._similarity:
            found["similarity"] = Scored(self._similarity(block.places))
        return {name: found[name] for name in self.names}

    def _tried(self, names: tuple[Fitted, ...], make: Callable[[], ByPlaces]) -> ByPlaces | None:
        try:
            return make()
        except CannotAttribute as error:
            self.reasons |= dict.fromkeys(names, str(error))
            return None


def _scored(found: Datamodels) -> Scored:
    return Scored(found.weights, found.intercepts, found.fit)


def _trak(inputs: Inputs, train: Split) -> ByPlaces:
    points, ridge = checkpoints_of(inputs, train)
    own = [rows(inputs.audited, c) for c in range(len(points))]

    def scores(places: Places) -> Tensor:
        asked = [QuantisedRows(some.codes[places], some.scales[places]).rows() for some in own]
        return trak_scores([p._replace(targets=a) for p, a in zip(points, asked, strict=True)], ridge)

    return scores


def _similarity(inputs: Inputs, train: Split) -> ByPlaces:
    keys, queries = space(train), space(inputs.audited)
    own, other = targets_of(train), targets_of(inputs.audited)
    return lambda places: signed_similarity(keys, own, queries[places], other[places])
