"""Captions of directions: which words point into a slice, and what their best matching confirm rows say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.audits.slices.measure import rate
from app.audits.slices.rows import Ints, Rows
from app.audits.slices.schema import CaptionScore, Params
from app.audits.slices.vocabulary import DEFAULT_NOUN, Words, words
from app.numerics.caption_choice import match_contrast, preferred_order
from app.numerics.captions import CaptionText, caption_bank, caption_scores, displacements, fill, top_matches

TOP_K = (20, 50, 100)
MOST_PER_WORD = 3
SHORTLIST = 300
LEAST_Z = 2.0
"""A caption that meaningless ones reach this easily does not become a title."""
MOST_FIT = 5_000
LEAD = "a photo of "
Encode = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Bank:
    """The captions about one general noun, as moves in the standardised image space."""

    captions: Sequence[CaptionText]
    moves: Tensor
    """float32 [m, d]."""
    null_moves: Tensor


class Captioner:
    """Captions for the classes of one run; each bank is encoded once, when a class first needs it."""

    def __init__(self, rows: Rows, params: Params, encode: Encode) -> None:
        self._rows, self._params, self._encode = rows, params, encode
        self.words: Words = words(params, rows.classes)
        self._nouns = self._choose_nouns()
        self._banks: dict[str, Bank] = {}

    @property
    def size(self) -> int:
        """Captions in the banks that were made."""
        return sum(len(bank.captions) for bank in self._banks.values())

    def describe(self, direction: np.ndarray, class_index: int, members: Ints, most: int) -> list[CaptionScore]:
        """Return the captions that say best what a direction points to, with the evidence of confirm rows.

        Captions that point along the direction are ordered by how far the fit rows among `members` match them better
        than the other fit rows of the class.

        Args:
            direction: float [d] in the standardised image space.
            class_index: class whose confirm rows speak.
            members: positions of the rows that the direction points to; only fit rows among them are used.
            most: how many captions.
        """
        bank = self._bank(self._nouns[class_index])
        if not bank.captions:
            return []
        z = caption_scores(torch.from_numpy(direction.astype(np.float32))[None], bank.moves, bank.null_moves)[0]
        likely = _shortlist(z)
        contrast = self._contrast(bank.moves[likely], class_index, members)
        spoken = [bank.captions[i] for i in likely]
        order = preferred_order(contrast, [len(caption.words) or 1 for caption in spoken])
        chosen = [likely[i] for i in _distinct(spoken, order, most)]
        return self._evidence(bank, z, chosen, class_index)

    def move(self, sentence: str, class_index: int | None) -> Tensor:
        """Return where a sentence moves, compared with a plain picture: float32 [d]."""
        noun = self._nouns[class_index] if class_index is not None else DEFAULT_NOUN
        text = torch.from_numpy(self._encode([sentence, self._reference(noun)]))
        return displacements(text[:1], text[1], self._rows.std)[0]

    def _contrast(self, moves: Tensor, class_index: int, members: Ints) -> Tensor:
        positions = self._rows.of_class(class_index)
        fit = positions[self._rows.fit[positions]][:MOST_FIT]
        inside = torch.from_numpy(np.isin(fit, members))
        return match_contrast((self._rows.features(fit) @ moves.T.to(self._rows.device)).cpu(), inside)

    def _evidence(self, bank: Bank, z: Tensor, chosen: Sequence[int], class_index: int) -> list[CaptionScore]:
        positions = self._rows.of_class(class_index)
        confirm: Ints = positions[~self._rows.fit[positions]]
        features = self._rows.features(confirm) if len(confirm) else torch.zeros((0, bank.moves.shape[1]))
        wrong = ~self._rows.correct[confirm]
        scores = []
        for i in chosen:
            ranked = top_matches(features, bank.moves[i], max(TOP_K)).cpu().numpy()
            hits = np.cumsum(wrong[ranked])
            top = {k: rate(int(hits[k - 1]), k) for k in TOP_K if k <= len(ranked) and 2 * k <= len(confirm)}
            caption = bank.captions[i]
            scores.append(CaptionScore(text=caption.text, z=float(z[i]), facet=", ".join(caption.facets), top=top))
        return scores

    def _bank(self, noun: str) -> Bank:
        if noun not in self._banks:
            templates = self._params.caption_templates
            made = caption_bank(templates, [noun], self.words.adjectives, self.words.settings)[noun]
            captions = [*made, *(CaptionText(sentence, ()) for sentence in self.words.sentences)]
            self._banks[noun] = self._encoded(noun, captions)
        return self._banks[noun]

    def _encoded(self, noun: str, captions: list[CaptionText]) -> Bank:
        sentences = [caption.text for caption in captions]
        null = [LEAD + word for word in self.words.null]
        text = torch.from_numpy(self._encode([self._reference(noun), *null, *sentences]))
        moves = displacements(text[1:], text[0], self._rows.std)
        return Bank(captions, moves[len(null) :], moves[: len(null)])

    def _reference(self, noun: str) -> str:
        templates = self._params.caption_templates
        return fill(templates[0] if templates else LEAD + "a {noun}", noun)

    def _choose_nouns(self) -> list[str]:
        """For each class the general noun that its name lies closest to; its name itself would give the label away."""
        nouns, classes = self.words.nouns, self._rows.classes
        text = torch.from_numpy(self._encode([f"{LEAD}a {name}" for name in [*nouns, *classes]]))
        unit = normalize(text - text[: len(nouns)].mean(0), dim=1)
        closest = (unit[len(nouns) :] @ unit[: len(nouns)].T).argmax(1)
        return [nouns[i] for i in closest.tolist()]


def title_of(captions: Sequence[CaptionScore]) -> str:
    """Return the best caption as a title, without its lead; empty when none points clearly along the direction."""
    if not captions or captions[0].z < LEAST_Z:
        return ""
    text = captions[0].text.removeprefix(LEAD)
    return text[:1].upper() + text[1:]


def _shortlist(z: Tensor) -> list[int]:
    """The captions that point most clearly along the direction, best first."""
    order: list[int] = z.argsort(descending=True, stable=True)[:SHORTLIST].tolist()
    return [i for i in order if z[i] >= LEAST_Z] or order[:1]


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
