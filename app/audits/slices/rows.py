"""The audited rows as the slices kind sees them: outcomes, fit and confirm halves, and features by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import Inputs, Split
from app.numerics.embedding import CONSTANT, Standardiser
from app.numerics.split import fit_rows

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
BLOCK = 65_536
_SAVED = ("labels", "predictions", "confidence", "p_true", "audited", "fit", "mean", "std")


@dataclass(frozen=True)
class Rows:
    """One entry per row of the audited split; positions index all arrays alike."""

    labels: Ints
    predictions: Ints
    confidence: Floats
    """Largest probability."""
    p_true: Floats
    """Probability of the true class."""
    audited: Bools
    """Labelled, with finite outputs and a finite embedding; other rows take no part."""
    fit: Bools
    embeddings: np.ndarray
    mean: Tensor
    """float32 [d], of the training split where there is one, else of the fit rows."""
    std: Tensor
    classes: tuple[str, ...]
    device: str
    metadata: Mapping[str, pa.ChunkedArray]
    """The user's own columns."""

    @property
    def correct(self) -> Bools:
        """Whether the prediction was right."""
        return np.asarray(self.predictions == self.labels)

    @property
    def confirm(self) -> Bools:
        """The half that no search sees."""
        return self.audited & ~self.fit

    def of_class(self, index: int) -> Ints:
        """Return the audited positions of a class, ascending."""
        return np.flatnonzero(self.audited & (self.labels == index))

    def by_class(self) -> Iterator[tuple[int, Ints]]:
        """Yield (class, audited positions) for every class, in O(n log n) for all together."""
        positions = np.flatnonzero(self.audited)
        order = positions[np.argsort(self.labels[positions], kind="stable")]
        ends = np.searchsorted(self.labels[order], np.arange(len(self.classes) + 1))
        for index in range(len(self.classes)):
            yield index, order[ends[index] : ends[index + 1]]

    def features(self, positions: Ints) -> Tensor:
        """Return the standardised, row-normalised embeddings of some rows: float32 [m, d] on the device."""
        block = torch.from_numpy(np.array(self.embeddings[positions], dtype=np.float32)).to(self.device)
        return Standardiser(self.mean.to(self.device), self.std.to(self.device)).unit_rows(block)

    def details(self) -> dict[str, np.ndarray]:
        """Return what `load` reads back."""
        return {name: np.asarray(getattr(self, name)) for name in _SAVED}


def prepare(inputs: Inputs) -> Rows:
    """Judge every row, and halve the audited ones into fit and confirm.

    Raises:
        ValueError: the inputs hold no embeddings or no outputs.
    """
    split = inputs.audited
    if split.embeddings is None or split.logits is None:
        raise ValueError("the slices kind needs embeddings and outputs")
    labels = split.manifest.column("label").to_numpy().astype(np.int64)
    predictions, confidence, p_true, finite = judge(split.logits, labels)
    audited = finite & (labels >= 0) & _finite_rows(split.embeddings)
    fit = np.zeros(len(labels), dtype=bool)
    kept = np.flatnonzero(audited)
    generator = np.random.default_rng([inputs.seed, 1])
    groups = split.manifest.column("group").to_numpy()[kept] if "group" in split.manifest.column_names else None
    fit[kept] = fit_rows(labels[kept], predictions[kept] == labels[kept], generator, groups)
    mean, std = _reference(inputs.train, split.embeddings, fit)
    return Rows(
        labels, predictions, confidence, p_true, audited, fit, split.embeddings, mean, std,
        tuple(inputs.classes), inputs.device, meta_columns(split.manifest),
    )  # fmt: skip


def load(inputs: Inputs, folder: Path) -> Rows:
    """Read back what the stage `slices` prepared in `folder`; arrays stay memory-mapped.

    Raises:
        ValueError: the run has no embeddings.
        FileNotFoundError: the stage did not prepare anything.
    """
    if inputs.audited.embeddings is None:
        raise ValueError("the slices kind needs embeddings")
    saved = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _SAVED}
    mean, std = (torch.from_numpy(np.array(saved.pop(name))) for name in ("mean", "std"))
    return Rows(
        **saved,
        embeddings=inputs.audited.embeddings,
        mean=mean,
        std=std,
        classes=tuple(inputs.classes),
        device=inputs.device,
        metadata=meta_columns(inputs.audited.manifest),
    )


def judge(logits: np.ndarray, labels: Ints) -> tuple[Ints, Floats, Floats, Bools]:
    """Return (prediction, largest probability, probability of the true class, all finite), block by block.

    Args:
        logits: float [n, C].
        labels: int64 [n]; −1 where unknown (probability 0).
    """
    n = len(labels)
    predictions, confidence = np.zeros(n, np.int64), np.zeros(n, np.float32)
    p_true, finite = np.zeros(n, np.float32), np.zeros(n, bool)
    for start in range(0, n, BLOCK):
        part = slice(start, min(start + BLOCK, n))
        block = torch.from_numpy(np.array(logits[part], dtype=np.float32))
        finite[part] = torch.isfinite(block).all(dim=1).numpy()
        p = torch.softmax(torch.nan_to_num(block), dim=1)
        top, index = p.max(dim=1)
        predictions[part], confidence[part] = index.numpy(), top.numpy()
        own = torch.from_numpy(labels[part]).clamp(min=0)
        p_true[part] = np.where(labels[part] >= 0, p.gather(1, own[:, None])[:, 0].numpy(), 0)
    return predictions, confidence, p_true, finite


def meta_columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the user's own columns of a manifest by name, without their prefix."""
    return {name.removeprefix("meta."): table.column(name) for name in table.column_names if name.startswith("meta.")}


def _finite_rows(embeddings: np.ndarray) -> Bools:
    parts = [np.isfinite(embeddings[start : start + BLOCK]).all(axis=1) for start in range(0, len(embeddings), BLOCK)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def _reference(train: Split | None, embeddings: np.ndarray, fit: Bools) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each dimension, as `Standardiser.of`, but reading block by block."""
    source, kept = (train.embeddings, None) if train and train.embeddings is not None else (embeddings, fit)
    count, total, square, largest = 0, *np.zeros((3, embeddings.shape[1]))
    for start in range(0, len(source), BLOCK):
        block = np.asarray(source[start : start + BLOCK], dtype=np.float64)
        block = block[kept[start : start + BLOCK]] if kept is not None else block[np.isfinite(block).all(axis=1)]
        count += len(block)
        total += block.sum(axis=0)
        square += np.einsum("ij,ij->j", block, block)
        largest = np.maximum(largest, np.abs(block).max(axis=0, initial=0))
    mean = total / max(count, 1)
    std = np.sqrt(np.maximum(square / max(count, 1) - mean**2, 0))
    std = np.where(std > CONSTANT * largest, std, 1)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(std.astype(np.float32))
