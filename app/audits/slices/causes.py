"""Why a confirmed slice fails: typed causes, each a number on confirm rows with a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from app.audits.base import Inputs, Split
from app.audits.slices.ranking import Measured
from app.audits.slices.rows import Bools, Ints, Rows
from app.audits.slices.schema import Cause
from app.numerics import causes as tests
from app.numerics.causes import CauseEvidence
from app.numerics.neighbours import Neighbours, nearest_neighbours

NEIGHBOURS = 20
MOST_REFERENCE = 50_000
MOST_ROWS = 4_000


class Explainer:
    """Causes of a run's slices; the reference rows are read when the first slice asks.

    Neighbours come from the training split where there is one, at most 50,000 rows of it, else from fit rows.
    """

    def __init__(self, inputs: Inputs, rows: Rows, folder: Path) -> None:
        self._inputs, self._rows = inputs, rows
        self._directions = np.load(folder / "slice_directions.npy", mmap_mode="r")
        self._cuts = np.load(folder / "slice_cuts.npy")
        self._train = _as_rows(inputs.train, rows)
        self._reference: tuple[Tensor, Ints] | None = None

    def causes(self, place: int, found: Measured) -> list[Cause]:
        """Return the causes that hold for the slice at this place of the candidates; one of type unknown if none."""
        positions = self._rows.of_class(found.class_index)
        confirm = positions[~self._rows.fit[positions]][:MOST_ROWS]
        member = np.isin(confirm, found.rows)
        near, labels = self._neighbours(confirm)
        evidence = [
            tests.label_noise(
                labels,
                self._rows.labels[confirm],
                self._rows.predictions[confirm],
                self._rows.confidence[confirm],
                member,
            ),
            tests.intrinsic_ambiguity(labels, member),
        ]
        if self._train is not None:
            evidence += self._against_training(place, found, (near, labels), member)
        held = [_cause(e, found) for e in evidence if e.holds]
        return held or [_unknown(found, self._train is not None)]

    def _against_training(
        self, place: int, found: Measured, neighbours: tuple[Neighbours, Ints], member: Bools
    ) -> list[CauseEvidence]:
        near, labels = neighbours
        evidence = [tests.shift_from_training(1 - near.similarity.mean(1).cpu().numpy(), member)]
        evidence.append(tests.rare_in_training(self._training_members(place, found.class_index), member))
        if found.metrics.mistaken_for:
            evidence.append(tests.spurious_correlation(labels, member, found.metrics.mistaken_for[0].class_index))
        return evidence

    def _training_members(self, place: int, class_index: int) -> Bools:
        assert self._train is not None
        direction = torch.from_numpy(np.array(self._directions[place]))
        positions = self._train.of_class(class_index)[:MOST_REFERENCE]
        projected = self._train.features(positions).cpu() @ direction
        return np.asarray((projected >= float(self._cuts[place])).numpy())

    def _neighbours(self, confirm: Ints) -> tuple[Neighbours, Ints]:
        if self._reference is None:
            source = self._train or self._rows
            kept = np.flatnonzero(source.audited if self._train else source.audited & source.fit)
            kept = np.sort(np.random.default_rng([self._inputs.seed, 6]).permutation(kept)[:MOST_REFERENCE])
            self._reference = source.features(kept), np.asarray(source.labels[kept])
        features, labels = self._reference
        near = nearest_neighbours(self._rows.features(confirm), features, min(NEIGHBOURS, len(features)))
        return near, labels[near.indices.cpu().numpy()]


def _as_rows(train: Split | None, rows: Rows) -> Rows | None:
    """The training split's labelled rows, in the audited split's standardised space."""
    if train is None or train.embeddings is None or not len(train.embeddings):
        return None
    labels = train.manifest.column("label").to_numpy().astype(np.int64)
    return replace(rows, labels=labels, embeddings=train.embeddings, audited=labels >= 0)


def _cause(found: CauseEvidence, measured: Measured) -> Cause:
    return Cause(type=found.kind, value=found.value, n=found.n, sentence=_SENTENCES[found.kind](found, measured))


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if value < 0.1 else f"{100 * value:.0f} %"


def _gap(found: CauseEvidence) -> str:
    return (
        f"{_percent(found.value)} of its confirm images against {_percent(found.reference)} of the rest of the class "
        f"(difference {100 * found.low:.0f} to {100 * found.high:.0f} points)"
    )


def _rare(found: CauseEvidence, _measured: Measured) -> str:
    return (
        f"Only {_percent(found.value)} of the {found.n:,} training images of the class look like it (95 % interval "
        f"{_percent(found.low)} to {_percent(found.high)}), against {_percent(found.reference)} of the audited ones."
    )


def _spurious(found: CauseEvidence, measured: Measured) -> str:
    name = measured.metrics.mistaken_for[0].name
    return f"Most of the nearest training images are of {name}, which it is taken for: so for {_gap(found)}."


def _shift(found: CauseEvidence, _measured: Measured) -> str:
    return (
        f"An image of it lies farther from the training images than one of the rest of the class in "
        f"{_percent(found.value)} of pairs (95 % interval {_percent(found.low)} to {_percent(found.high)}; 50 % would "
        "be no shift)."
    )


def _noise(found: CauseEvidence, _measured: Measured) -> str:
    return f"The nearest images and a confident prediction agree on another label than the given one: {_gap(found)}."


def _ambiguous(found: CauseEvidence, _measured: Measured) -> str:
    return (
        f"Images that look alike bear different labels: entropy {found.value:.2f} of the neighbours' labels against "
        f"{found.reference:.2f} in the rest of the class (difference {found.low:.2f} to {found.high:.2f})."
    )


_SENTENCES = {
    "rare in training": _rare,
    "spurious correlation": _spurious,
    "shift": _shift,
    "label noise": _noise,
    "ambiguous": _ambiguous,
}


def _unknown(measured: Measured, against_training: bool) -> Cause:
    sentence = "None of the causes that can be measured stands out on its confirm images."
    if not against_training:
        sentence += " Name the training split to compare with what the model has seen."
    return Cause(type="unknown", value=measured.metrics.errors.value, n=measured.metrics.errors.n, sentence=sentence)
