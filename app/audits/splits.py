"""The rows that stages of audit kinds read, and how a parameter names a second data set. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

CHOICE = {"choice": "split"}
"""`json_schema_extra` of a text parameter that is chosen from the project's data sets and splits."""


class NamedSplit(NamedTuple):
    """A split of a data set of the project."""

    dataset_id: int
    split: str

    def __str__(self) -> str:
        """Return it as parameters state it: "<data set id>/<split>"."""
        return f"{self.dataset_id}/{self.split}"


def named_split(text: str) -> NamedSplit | None:
    """Read "<data set id>/<split>"; None where the text names none."""
    number, _, split = text.partition("/")
    return NamedSplit(int(number), split) if number.isascii() and number.isdigit() and split else None


@dataclass(frozen=True)
class Split:
    """One split's rows and all that was computed for them; arrays are memory-mapped, row i of each belongs together."""

    name: str
    manifest: pa.Table
    """Columns of `manifest.parquet`, see docs/architecture.md."""
    embeddings: np.ndarray | None
    """float32 [n, d], as the encoder gave them (not normalised)."""
    logits: np.ndarray | None
    """float32 [n, C]; log-probabilities where the model gives probabilities."""
    features: np.ndarray | None
    """float32 [n, k], the model's penultimate layer."""
    model: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What the kind's `model_stages` computed, by "<stage>.<array>"; empty where the model's format forbids it."""
    audited: np.ndarray | None = None
    """bool [n], whether the row's arrays are its own; a row without a label may be audited. None: all are."""


@dataclass(frozen=True)
class Second(Split):
    """A split of another data set, or another split of the same one, that a kind compares the audited one with.

    Labels and logits are in the model's numbering, as those of the audited split.
    """

    dataset_id: int = 0
    dataset: str = ""
    """Its data set's name."""
    notes: tuple[str, ...] = ()
    """What is to be said of how its classes were matched."""


def meta_names(*manifests: pa.Table) -> list[str]:
    """Names of the users' own columns (without prefix) that all of these manifests have, in the first one's order."""
    shared: list[Any] = [set(table.column_names) for table in manifests]
    own = (name for name in manifests[0].column_names if name.startswith("meta."))
    return [name.removeprefix("meta.") for name in own if all(name in names for names in shared)]
