"""Inputs with planted slices: concept vectors stand for attributes, and a text encoder that knows them by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from app.audits.base import Inputs, Result, Second, Split
from app.audits.slices.schema import Params
from workers.stages import results

DIMENSION = 96
ROWS = 500
CONCEPTS = {name: i for i, name in enumerate(("white", "grass", "night", "snow", "red", "small"))}
EMPTY = {"a", "an", "the", "of", "photo", "in", "on", "at", "something"}
PLANTED = {0: ("white", "grass"), 1: ("night",)}
"""Class → concepts that together make it fail."""
CLASSES = ("cat", "car", "boat")


@cache
def concept(name: str) -> np.ndarray:
    """A fixed unit vector for a word."""
    generator = np.random.default_rng(sum(ord(c) * 131**i for i, c in enumerate(name)) % 2**32)
    vector = generator.normal(size=DIMENSION)
    return vector / np.linalg.norm(vector)


def encode_text(sentences: Sequence[str]) -> np.ndarray:
    """Sum of the concept vectors of a sentence's words of meaning, with a common part."""
    common = 3 * concept("__common__")
    return np.stack([common + sum(concept(w) for w in s.lower().split() if w not in EMPTY) for s in sentences]).astype(
        np.float32
    )


def planted_inputs(seed: int = 0, *, planted: bool = True, rows: int = ROWS, params: Params | None = None) -> Inputs:
    """Three classes; in the first two, rows with the planted concepts are wrong 70 % of the time, others 8 %."""
    generator = np.random.default_rng(seed)
    n = rows * len(CLASSES)
    labels = np.repeat(np.arange(len(CLASSES)), rows)
    has = {name: generator.random(n) < 0.35 for name in CONCEPTS}
    embeddings = generator.normal(scale=0.25, size=(n, DIMENSION))
    embeddings += np.stack([2 * concept(CLASSES[i]) for i in labels])
    for name, present in has.items():
        embeddings[present] += 1.5 * concept(name)
    wrong = generator.random(n) < 0.08
    for index, names in PLANTED.items() if planted else ():
        members = (labels == index) & np.logical_and.reduce([has[name] for name in names])
        wrong[members] = generator.random(int(members.sum())) < 0.7
    return as_inputs(embeddings, labels, wrong, generator, params or Params(permutations=5))


def clustered_inputs(params: Params, rows: int = 400, modes: int = 10) -> Inputs:
    """Three classes of ten clusters each; errors, 10 %, have nothing to do with them."""
    generator = np.random.default_rng(5)
    labels = np.repeat(np.arange(len(CLASSES)), rows)
    centres = generator.normal(size=(len(CLASSES), modes, DIMENSION))
    embeddings = centres[labels, np.arange(len(labels)) % modes] + generator.normal(size=(len(labels), DIMENSION)) / 3
    return as_inputs(embeddings, labels, generator.random(len(labels)) < 0.1, generator, params)


def with_second(inputs: Inputs) -> Inputs:
    """The same inputs with a second data set of the same kind."""
    other = planted_inputs(seed=1, rows=120).audited
    second = Second(**{field.name: getattr(other, field.name) for field in fields(Split)}, dataset_id=2, dataset="b")
    return replace(inputs, second=second)


def as_inputs(
    embeddings: np.ndarray, labels: np.ndarray, wrong: np.ndarray, generator: np.random.Generator, params: Params
) -> Inputs:
    """Inputs of a model that is wrong where `wrong` says so."""
    n = len(labels)
    predictions = np.where(wrong, (labels + 1) % len(CLASSES), labels)
    logits = generator.normal(size=(n, len(CLASSES))).astype(np.float32)
    logits[np.arange(n), predictions] += 8
    manifest = pa.table({"row": np.arange(n), "label": labels.astype(np.int32), "group": np.arange(n)})
    split = Split("test", manifest, embeddings.astype(np.float32), logits, embeddings.astype(np.float32)[:, :16])
    return Inputs(split, None, CLASSES, params, 0, "cpu", encode_text, {}, lambda _share, _message: None)


def after(inputs: Inputs, stage: str, result: Result, folder: Path) -> Inputs:
    """The inputs of a later stage, once a stage's result was saved as workers save it."""
    target = folder / stage
    target.mkdir()
    results.save(result, target)
    return replace(inputs, earlier={**inputs.earlier, stage: target})
