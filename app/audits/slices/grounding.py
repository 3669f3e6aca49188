"""Which words these pictures can bear out: the vocabulary that tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from app.audits.slices.rows import Ints, Rows
from app.audits.slices.vocabulary import DEFAULT_NOUN, Words
from app.numerics.caption_choice import told_apart
from app.numerics.captions import CaptionText, displacements, fill

LEAD = "a photo of "
PLAIN = LEAD + "a {adjective} {noun} {setting}"
ROWS_A_CLASS = 50
MOST_ROWS = 20_000
FEWEST_ROWS = 10
Encode = Callable[[Sequence[str]], np.ndarray]


def sample_rows(rows: Rows) -> Ints:
    """Up to fifty fit rows of each class, evenly spaced; at most 20,000 in all."""
    most = max(2, min(ROWS_A_CLASS, MOST_ROWS // max(1, len(rows.classes))))
    fit = (positions[rows.fit[positions]] for _, positions in rows.by_class())
    spaced = [p[np.unique(np.linspace(0, len(p) - 1, min(most, len(p))).astype(int))] for p in fit if len(p)]
    return np.sort(np.concatenate(spaced)) if spaced else np.zeros(0, np.int64)


def grounded(rows: Rows, sample: Ints, encode: Encode, words: Words) -> tuple[Words, list[str]]:
    """Return the words along which the sampled pictures differ, and those that fell away."""
    known = [*words.adjectives, *words.settings]
    if len(sample) < FEWEST_ROWS or not known:
        return words, []
    sentences = [fill(PLAIN, DEFAULT_NOUN, adjective=w.text) for w in words.adjectives]
    sentences += [fill(PLAIN, DEFAULT_NOUN, setting=w.text) for w in words.settings]
    text = torch.from_numpy(encode([fill(PLAIN, DEFAULT_NOUN), *(LEAD + w for w in words.null), *sentences]))
    moves = displacements(text[1:], text[0], rows.std)
    features = rows.features(sample).cpu()
    kept = told_apart(features, moves[len(words.null) :], moves[: len(words.null)]).tolist()
    fallen = [word.text for word, stays in zip(known, kept, strict=True) if not stays]
    split = len(words.adjectives)
    return words._replace(
        adjectives=_chosen(words.adjectives, kept[:split]), settings=_chosen(words.settings, kept[split:])
    ), fallen


def _chosen(words: Sequence[CaptionText], kept: Sequence[bool]) -> tuple[CaptionText, ...]:
    return tuple(word for word, stays in zip(words, kept, strict=True) if stays)
