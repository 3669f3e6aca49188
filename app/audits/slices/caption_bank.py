"""The captions of a run: every pair of words about one noun, and where each moves in the image space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.audits.slices.grounding import LEAD, Encode
from app.audits.slices.rows import Rows
from app.audits.slices.schema import Params
from app.audits.slices.vocabulary import DEFAULT_NOUN, Words, plain_noun
from app.numerics.caption_choice import composed_moves
from app.numerics.captions import CaptionText, caption_bank, displacements, fill, names_label

SLOT = "{noun}"


@dataclass(frozen=True)
class Bank:
    """Captions, each with `SLOT` for the class, as moves in the standardised image space."""

    captions: Sequence[CaptionText]
    parts: Sequence[Sequence[int]]
    """The words of each caption, as rows of `word_moves`."""
    word_moves: Tensor
    """float32 [w, d]; an analyst's own sentence counts as a word."""
    moves: Tensor
    """float32 [m, d]."""
    null_moves: Tensor


def make_bank(words: Words, templates: Sequence[str], encode: Encode, std: Tensor) -> Bank:
    """Encode single words, own sentences and the null bank; captions of several words are composed."""
    made = caption_bank(templates, [SLOT], words.adjectives, words.settings)[SLOT]
    single = [caption for caption in made if len(caption.words) == 1]
    own = [CaptionText(sentence, (), (sentence,)) for sentence in words.sentences]
    null = [LEAD + word for word in words.null]
    sentences = [*null, *(fill(caption.text, DEFAULT_NOUN) for caption in [*own, *single])]
    text = torch.from_numpy(encode([plain_caption(templates, DEFAULT_NOUN), *sentences]))
    moves = displacements(text[1:], text[0], std)
    rows, word_moves = _by_word([*own, *single], moves[len(null) :])
    captions = [*own, *made]
    parts = [[rows[word] for word in caption.words] for caption in captions]
    return Bank(captions, parts, word_moves, composed_moves(word_moves, parts), moves[: len(null)])


def plain_caption(templates: Sequence[str], noun: str) -> str:
    """The sentence that says no more than the noun, with which captions are compared."""
    return fill(templates[0] if templates else LEAD + "a {noun}", noun)


def sentence_move(rows: Rows, params: Params, encode: Encode, sentence: str, class_index: int | None) -> Tensor:
    """Return where an analyst's sentence moves, compared with a plain picture: float32 [d]; encodes these two alone."""
    name = "" if class_index is None else rows.classes[class_index]
    noun = plain_noun(name) if name and names_label(sentence, [name]) else DEFAULT_NOUN
    text = torch.from_numpy(encode([sentence, plain_caption(params.caption_templates, noun)]))
    return displacements(text[:1], text[1], rows.std)[0]


def _by_word(captions: Sequence[CaptionText], moves: Tensor) -> tuple[dict[str, int], Tensor]:
    """Captions of one word (of each template) give the words' moves: word → row, and float32 [w, d]."""
    of_word: dict[str, list[Tensor]] = {}
    for caption, move in zip(captions, moves, strict=True):
        of_word.setdefault(caption.words[0], []).append(move)
    found = [normalize(torch.stack(same).mean(0), dim=0) for same in of_word.values()]
    return {word: i for i, word in enumerate(of_word)}, torch.stack(found) if found else moves
