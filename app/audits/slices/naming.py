"""Names of groups that the user's own columns hold: a phrase about the class, in the words of the vocabulary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.audits.slices.vocabulary import DEFAULT_NOUN, built_in_facets, is_adjective, plain_noun
from app.numerics.captions import fill
from app.numerics.metadata_slices import Predicate

_PIECES = re.compile(r"[^\W_]+")
_LITTLE = frozenset(("a", "an", "the", "of", "on", "in", "at", "by", "to", "with", "from", "behind", "seen"))
"""Words that a phrase of the vocabulary has and a column's value has not."""
_SUBJECT = frozenset(("object", "subject", "image", "photo", "picture", "item", "scene", "main"))
"""First words of a column's name that say no more than “of what is seen”."""
_SPELT = {"color": "colour", "gray": "grey"}


def phrase(predicates: Sequence[Predicate], class_name: str) -> str:
    """A conjunction as a phrase about the class.

    `object_colour = white, setting = grass` of the class “cat” is “A white cat on grass”. A value that the vocabulary
    has no word for, in a facet of the column's name, is named with its column: “A cat with camera A7”.

    Args:
        predicates: the columns and values.
        class_name: as the model calls it; a name that is no plain word stands in quotation marks.
    """
    facets = built_in_facets()
    found = [(p, _word_for(p, class_name, facets)) for p in predicates]
    adjectives = [word for _, (facet, word) in found if word and is_adjective(facet, word)]
    settings = [word for _, (facet, word) in found if word and not is_adjective(facet, word)]
    others = [f"{p.column.replace('_', ' ')} {p.value}" for p, (_, word) in found if not word]
    tail = [*settings, *([f"with {' and '.join(others)}"] if others else [])]
    noun = plain_noun(class_name)
    if noun == DEFAULT_NOUN != class_name:
        noun = f"image of “{class_name}”"
    text = fill("a {adjective} {noun} {setting}", noun, " ".join(adjectives), " ".join(tail))
    return text[:1].upper() + text[1:]


def _word_for(predicate: Predicate, class_name: str, facets: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The facet that a column names and the first word of it that says the value, or two empty texts."""
    column = [piece for piece in _pieces(predicate.column) if piece not in _SUBJECT | {*_pieces(class_name)}]
    for facet, words in facets.items():
        if column == _pieces(facet):
            said = (word for word in words if _meaning(word, column) == _meaning(predicate.value, column))
            return facet, next(said, "")
    return "", ""


def _pieces(text: str) -> list[str]:
    return [_SPELT.get(piece, piece) for piece in _PIECES.findall(text.casefold())]


def _meaning(text: str, facet: Sequence[str]) -> list[str]:
    pieces = _pieces(text)
    return [piece for piece in pieces if piece not in _LITTLE and piece not in facet] or pieces
