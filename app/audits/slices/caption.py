"""Captions of directions: which words point into a slice, and what their best matching confirm rows say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.audits.slices.grounding import LEAD, Encode, general_nouns, grounded, sample_rows
from app.audits.slices.measure import rate
from app.audits.slices.rows import Ints, Rows
from app.audits.slices.schema import CaptionScore, Params
from app.audits.slices.vocabulary import DEFAULT_NOUN, words
from app.numerics.caption_choice import composed_moves, group_direction, preferred_order
from app.numerics.captions import CaptionText, caption_bank, caption_scores, displacements, fill, top_matches

TOP_K = (20, 50, 100)
MOST_PER_WORD = 3
LEAST_Z = 2.0
"""A caption that meaningless ones reach this easily does not become a title."""
MOST_FIT = 5_000
_PLAIN_NAME = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)*")


@dataclass(frozen=True)
class Bank:
    """The captions about one general noun, as moves in the standardised image space."""

    captions: Sequence[CaptionText]
    moves: Tensor
    """float32 [m, d]."""
    null_moves: Tensor


class Captioner:
    """Captions for the classes of one run; each bank is encoded once, when a class first needs it."""

    def __init__(
        self, rows: Rows, params: Params, encode: Encode, known: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Caption with the words that are `known` to the encoder, where it says so."""
        self._rows, self._params, self._encode = rows, params, encode
        sample = sample_rows(rows)
        self.words, self.ungrounded = grounded(rows, sample, encode, words(params, rows.classes, known))
        self._nouns = general_nouns(rows, sample, encode, self.words.nouns)
        self._banks: dict[str, Bank] = {}

    @property
    def size(self) -> int:
        """Captions in the banks that were made."""
        return sum(len(bank.captions) for bank in self._banks.values())

    def describe(self, members: Ints, class_index: int, most: int, *, varied: bool = True) -> list[CaptionScore]:
        """Return the captions that say best how rows differ from the rest of their class, with confirm evidence.

        Args:
            members: positions in the class; fit rows among them choose the captions.
            class_index: class whose confirm rows speak.
            most: how many captions.
            varied: whether a word comes in at most three of them.
        """
        bank = self._bank(self._nouns[class_index])
        positions = self._rows.of_class(class_index)
        fit = positions[self._rows.fit[positions]][:MOST_FIT]
        if not bank.captions or not len(fit):
            return []
        direction = group_direction(self._rows.features(fit).cpu(), torch.from_numpy(np.isin(fit, members)))
        z = caption_scores(direction[None], bank.moves, bank.null_moves)[0]
        order = preferred_order(z, [len(caption.words) or 1 for caption in bank.captions])
        chosen = _distinct(bank.captions, order, most) if varied else order[:most]
        return self._evidence(bank, z, chosen, class_index)

    def title(self, captions: Sequence[CaptionScore], class_index: int) -> str:
        """Return the best caption as a title, with the class's own name where that is a plain word.

        Empty when no caption points clearly along the direction.
        """
        if not captions or captions[0].z < LEAST_Z:
            return ""
        text = captions[0].text.removeprefix(LEAD)
        name = self._rows.classes[class_index].replace("_", " ")
        if _PLAIN_NAME.fullmatch(name) and captions[0].facet:
            text = fill(text.replace(self._nouns[class_index], name, 1), "")
        return text[:1].upper() + text[1:]

    def move(self, sentence: str, class_index: int | None) -> Tensor:
        """Return where a sentence moves, compared with a plain picture: float32 [d]."""
        noun = self._nouns[class_index] if class_index is not None else DEFAULT_NOUN
        text = torch.from_numpy(self._encode([sentence, self._reference(noun)]))
        return displacements(text[:1], text[1], self._rows.std)[0]

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
            self._banks[noun] = self._encoded(noun, made)
        return self._banks[noun]

    def _encoded(self, noun: str, made: list[CaptionText]) -> Bank:
        """Encode single words, own sentences and the null bank; captions of several words are composed."""
        single = [caption for caption in made if len(caption.words) == 1]
        own = [CaptionText(sentence, ()) for sentence in self.words.sentences]
        null = [LEAD + word for word in self.words.null]
        sentences = [*null, *(caption.text for caption in [*own, *single])]
        text = torch.from_numpy(self._encode([self._reference(noun), *sentences]))
        moves = displacements(text[1:], text[0], self._rows.std)
        null_moves, own_moves, word_moves = torch.split(moves, [len(null), len(own), len(single)])
        composed = _composed(made, dict(zip(single, word_moves, strict=True))) if single else word_moves
        return Bank([*own, *made], torch.cat([own_moves, composed]), null_moves)

    def _reference(self, noun: str) -> str:
        templates = self._params.caption_templates
        return fill(templates[0] if templates else LEAD + "a {noun}", noun)


def _composed(captions: Sequence[CaptionText], moves: dict[CaptionText, Tensor]) -> Tensor:
    """float32 [m, d]: captions of one word (of each template) give the words' moves, of which the others are made."""
    of_word: dict[str, list[Tensor]] = {}
    for caption, move in moves.items():
        of_word.setdefault(caption.words[0], []).append(move)
    place = {word: i for i, word in enumerate(of_word)}
    word_moves = [normalize(torch.stack(found).mean(0), dim=0) for found in of_word.values()]
    return composed_moves(torch.stack(word_moves), [[place[word] for word in c.words] for c in captions])


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
