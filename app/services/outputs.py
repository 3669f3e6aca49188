"""What the model said of single images, and which images lie near them; reads a few rows of memory-mapped arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.store.artifacts import ArtifactStore
from app.store.models import AuditRun
from app.store.places import get_artifacts

NEAR = 12
MOST_COMPARED = 2_000
"""Images of the class that a picture is compared with; a page must not read a million embeddings."""


class Said(NamedTuple):
    """One class and the probability that the model gave it."""

    class_index: int
    probability: float


class Near(NamedTuple):
    """An image near another one."""

    row: int
    similarity: float


def top_probabilities(run: AuditRun, position: int, label: int | None, most: int = 5) -> list[Said]:
    """Return the likeliest classes of a position in the audited split, and the true one where it is not among them."""
    logits = _array(run, "predict-all", "logits.npy")
    if logits is None:
        return []
    values = np.exp(np.asarray(logits[position], np.float64) - float(np.max(logits[position])))
    probabilities = values / values.sum()
    shown = np.argsort(-probabilities, kind="stable")[:most].tolist()
    if label is not None and label >= 0 and label not in shown:
        shown.append(label)
    return [Said(index, float(probabilities[index])) for index in shown]


def nearest(run: AuditRun, row: int, candidates: NDArray[np.int64], split_start: int) -> list[Near]:
    """Return the candidates (data set rows) whose embeddings have the highest cosine similarity with the row's."""
    embeddings = _array(run, "embed-all", "embeddings.npy", "features.npy")
    others = candidates[candidates != row]
    if embeddings is None or not len(others):
        return []
    chosen = np.sort(others[np.linspace(0, len(others) - 1, min(len(others), MOST_COMPARED)).astype(np.int64)])
    block = _unit(np.asarray(embeddings[chosen - split_start], np.float32))
    similarity = block @ _unit(np.asarray(embeddings[[row - split_start]], np.float32))[0]
    best = np.argsort(-similarity, kind="stable")[:NEAR]
    return [Near(int(chosen[i]), float(similarity[i])) for i in best]


def _array(run: AuditRun, detail: str, *names: str) -> Any:
    folder = _folder(get_artifacts(), run.details_keys.get(detail, ""))
    path = next((folder / name for name in names if folder and (folder / name).is_file()), None)
    return None if path is None else np.load(path, mmap_mode="r")


def _folder(store: ArtifactStore, key: str) -> Path | None:
    return store.local(key) if key and store.has(key) else None


def _unit(block: NDArray[np.float32]) -> NDArray[np.float32]:
    norm = np.linalg.norm(block, axis=1, keepdims=True)
    return np.asarray(block / np.where(norm > 0, norm, 1), np.float32)
