"""Captions of slices: which words tell its failures, and what their best matching confirm rows say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from app.audits.slices.caption_bank import make_bank
from app.audits.slices.grounding import LEAD, Encode, grounded, sample_rows
from app.audits.slices.measure import rate
from app.audits.slices.rows import Bools, Ints, Rows
from app.audits.slices.schema import CaptionScore, Params, Rate
from app.audits.slices.vocabulary import plain_noun, words
from app.numerics.caption_choice import caption_evidence, group_direction
from app.numerics.captions import CaptionText, caption_scores, fill, top_matches

TOP_K = (20, 50, 100)
MOST_PER_WORD = 3
LEAST_Z = 2.0
"""A caption that meaningless ones reach this easily does not become a title."""
FEWEST_FAILURES = 5
"""Fewer wrong rows than this say nothing of a slice; then all of its rows speak."""
MOST_FIT = 5_000


class Captioner:
    """Captions for the classes of one run.

    Words are encoded about a neutral noun and read with the class's own name, which every picture of the class bears:
    it tells none of them apart, and so gives nothing away.
    """

    def __init__(
        self, rows: Rows, params: Params, encode: Encode, known: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Caption with the words that are `known` to the encoder, where it says so."""
        self._rows, self._params, self._encode = rows, params, encode
        self.words, self.ungrounded = grounded(rows, sample_rows(rows), encode, words(params, rows.classes, known))
        self._bank = make_bank(self.words, params.caption_templates, encode, rows.std)

    @property
    def size(self) -> int:
        """Captions in the bank."""
        return len(self._bank.captions)

    def describe(
        self, members: Ints, class_index: int, most: int, *, failing: bool = True, varied: bool = True
    ) -> list[CaptionScore]:
        """Return the captions that say best how rows differ from the rest of their class, with confirm evidence.

        Args:
            members: positions in the class; fit rows among them choose the captions.
            class_index: class whose confirm rows speak.
            most: how many captions.
            failing: whether to say what the wrong ones among the rows are, against the right rows of the class, and
                not what all of them are against all others.
            varied: whether a word comes in at most three of them.
        """
        fit, group = self._groups(members, class_index, failing)
        if not self._bank.captions or not len(fit):
            return []
        features = self._rows.features(fit).cpu()
        evidence = caption_evidence(features @ self._bank.word_moves.T, group, self._bank.parts)
        z = caption_scores(group_direction(features, group)[None], self._bank.moves, self._bank.null_moves)[0]
        order = sorted(torch.nonzero(evidence.isfinite())[:, 0].tolist(), key=lambda i: (-evidence[i], -z[i]))
        chosen = _distinct(self._bank.captions, order, most) if varied else order[:most]
        return self._scored(chosen, z, evidence, class_index)

    def title(self, captions: Sequence[CaptionScore]) -> str:
        """Return the best caption as a title; empty when no caption says more than chance."""
        if not captions or captions[0].z < LEAST_Z or captions[0].evidence <= 0:
            return ""
        text = captions[0].text.removeprefix(LEAD)
        return text[:1].upper() + text[1:]

    def _groups(self, members: Ints, class_index: int, failing: bool) -> tuple[Ints, Tensor]:
        """Fit rows of the class, and which of them the words have to tell: bool [n]."""
        positions = self._rows.of_class(class_index)
        fit: Ints = positions[self._rows.fit[positions]][:MOST_FIT]
        inside: Bools = np.isin(fit, members)
        right = self._rows.correct[fit]
        if failing and (inside & ~right).sum() >= FEWEST_FAILURES and right.any():
            kept = right | inside
            fit, inside = fit[kept], (inside & ~right)[kept]
        return fit, torch.from_numpy(inside)

    def _scored(self, chosen: Sequence[int], z: Tensor, evidence: Tensor, class_index: int) -> list[CaptionScore]:
        positions = self._rows.of_class(class_index)
        confirm: Ints = positions[~self._rows.fit[positions]]
        features = self._rows.features(confirm) if len(confirm) else torch.zeros((0, self._bank.moves.shape[1]))
        wrong = ~self._rows.correct[confirm]
        noun = plain_noun(self._rows.classes[class_index])
        return [
            CaptionScore(
                text=fill(self._bank.captions[i].text, noun),
                z=float(z[i]),
                evidence=float(evidence[i]),
                facet=", ".join(self._bank.captions[i].facets),
                top=_top_rates(features, wrong, self._bank.moves[i]),
            )
            for i in chosen
        ]


def _top_rates(features: Tensor, wrong: Bools, move: Tensor) -> dict[int, Rate]:
    """Error rates of the K rows that match a caption best, for each K that is at most half of the rows."""
    ranked = top_matches(features, move, max(TOP_K)).cpu().numpy()
    hits = np.cumsum(wrong[ranked])
    return {k: rate(int(hits[k - 1]), k) for k in TOP_K if k <= len(ranked) and 2 * k <= len(wrong)}


def _distinct(captions: Sequence[CaptionText], order: Sequence[int], most: int) -> list[int]:
    """The first captions in order, each word in at most three of them, so that the list says several things."""
    used: dict[str, int] = {}
    chosen: list[int] = []
    for i in order:
        pieces = captions[i].words
        if all(used.get(piece, 0) < MOST_PER_WORD for piece in pieces):
            chosen.append(i)
            used |= {piece: used.get(piece, 0) + 1 for piece in pieces}
        if len(chosen) == most:
            break
    return chosen
