"""Scores captions against the direction of a slice: text displacements in the image space, held against a null bank.

Source of the idea: Jain, Lawrence, Moitra, Madry, "Distilling Model Failures as Directions in Latent Space", 2023,
section 3. The arithmetic differs on purpose: the published code pushes `text - reference` through the image
standardisation, mean and intercept included, so that its zero means nothing and long displacements win.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_ARTICLE = re.compile(r"\b([Aa])n? (?=(\w))")
_GAPS = re.compile(r"\s+")
_SHORTEST_STEM = 3
_TINY = 1e-12


class CaptionText(NamedTuple):
    """A caption of the bank."""

    text: str
    facets: tuple[str, ...]
    """Facets of the vocabulary that it speaks of; empty for an analyst's own sentence."""
    words: tuple[str, ...] = ()
    """The words of the vocabulary in it, one per facet."""


def displacements(text: Tensor, reference: Tensor, std: Tensor) -> Tensor:
    """Move from the reference to each caption, in the standardised image space.

    `normalise((t / |t| - r / |r|) / std)`: unit-norm texts, no mean, no intercept, so that 0 means "says nothing more
    than the reference" and a long sentence has no advantage.

    Args:
        text: float [m, d], embeddings of captions.
        reference: float [d] or [m, d], of the sentence that each is compared with.
        std: float [d] > 0, standard deviation of the image embeddings.

    Returns:
        float32 [m, d], rows of unit length; a caption equal to its reference is 0.
    """
    moved = normalize(text.float(), dim=-1) - normalize(reference.float(), dim=-1)
    return normalize(moved / std.float(), dim=-1)


def caption_scores(directions: Tensor, moves: Tensor, null_moves: Tensor) -> Tensor:
    """Score captions for every slice against captions that mean nothing for it.

    `z = (w . v - mean(w . v0)) / std(w . v0)` over the null bank v0: how far the caption points into the slice, in
    standard deviations of what meaningless captions reach.

    Args:
        directions: float [k, d], pointing into the slices.
        moves: float [m, d], see `displacements`.
        null_moves: float [m0, d], displacements of the null bank, m0 >= 2.

    Returns:
        float32 [k, m], large = describes the slice; 0 for a direction of length 0.

    Raises:
        ValueError: fewer than 2 null captions.
    """
    if len(null_moves) < 2:
        raise ValueError("the null bank needs at least 2 captions")
    unit = normalize(directions.float(), dim=1)
    null = unit @ null_moves.float().T
    spread, mean = torch.std_mean(null, dim=1, keepdim=True)
    scores = (unit @ moves.float().T - mean) / spread.clamp(min=_TINY)
    return torch.where(unit.any(dim=1, keepdim=True), scores, 0.0)


def top_matches(features: Tensor, move: Tensor, k: int) -> Tensor:
    """Return the k rows that match a caption best: int64 [min(k, n)], best first.

    Args:
        features: float [n, d], standardised unit rows.
        move: float [d], one caption's displacement.
        k: how many.
    """
    scores = features.float() @ move.float().to(features.device)
    return scores.topk(min(k, len(scores))).indices


def caption_bank(
    templates: Sequence[str], nouns: Sequence[str], adjectives: Sequence[CaptionText], settings: Sequence[CaptionText]
) -> dict[str, list[CaptionText]]:
    """Fill templates with words.

    Args:
        templates: sentences with any of {noun}, {adjective}, {setting}.
        nouns: one bank is made for each.
        adjectives, settings: words with their facets; the empty word is always tried too.

    Returns:
        noun → distinct captions, the one without any word (the reference) left out.
    """
    empty = CaptionText("", ())
    pairs = [pair for pair in product([empty, *adjectives], [empty, *settings]) if any(word.text for word in pair)]
    banks: dict[str, list[CaptionText]] = {}
    for noun in nouns:
        made = {
            fill(template, noun, adjective.text, setting.text): (adjective, setting)
            for template in templates
            for adjective, setting in pairs
            if ("{adjective}" in template or not adjective.text) and ("{setting}" in template or not setting.text)
        }
        banks[noun] = [_caption(text, *used) for text, used in made.items()]
    return banks


def _caption(text: str, *used: CaptionText) -> CaptionText:
    facets = tuple(facet for word in used for facet in word.facets)
    return CaptionText(text, facets, tuple(word.text for word in used if word.text))


def fill(template: str, noun: str, adjective: str = "", setting: str = "") -> str:
    """Fill one template; gaps close, and “a” becomes “an” where a vowel follows."""
    text = template.replace("{noun}", noun).replace("{adjective}", adjective).replace("{setting}", setting)
    text = _GAPS.sub(" ", text).strip()
    return _ARTICLE.sub(lambda m: m[1] + ("n " if m[2].lower() in "aeiou" else " "), text)


def names_label(caption: str, labels: Iterable[str]) -> bool:
    """Whether a caption names one of the task's labels, by any of its words.

    Words are compared without case and accents and in the singular, so “Katzen” is not, but “cats” is, the label “cat”.
    A label of several words is named when all its words occur.
    """
    words = set(_stems(caption))
    return any(stems and stems <= words for stems in (set(_stems(label)) for label in labels))


def _stems(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return [_singular(word) for word in _WORD.findall(plain)]


def _singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if (
            word.endswith(ending)
            and not word.endswith("ss")
            and len(word) - len(ending) + len(instead) >= _SHORTEST_STEM
        ):
            return word.removesuffix(ending) + instead
    return word
