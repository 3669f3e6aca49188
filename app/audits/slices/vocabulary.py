"""The words of the caption bank: built in, the analyst's own, and without those that give a label away."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from app.audits.slices.schema import Params
from app.numerics.captions import CaptionText, names_label

_PREPOSITIONS = frozenset(
    ("on", "in", "at", "by", "under", "over", "behind", "before", "next", "near", "with", "without", "from", "against")
)
_PARTICIPLES = frozenset(("seen", "held", "inside", "running", "partly"))
"""First words of phrases that stand behind the noun, as prepositions do."""
DEFAULT_NOUN = "object"
_PLAIN_NAME = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)*")


class Words(NamedTuple):
    """What captions are made of."""

    adjectives: tuple[CaptionText, ...]
    settings: tuple[CaptionText, ...]
    sentences: tuple[str, ...]
    null: tuple[str, ...]
    dropped: tuple[str, ...]
    """Words and sentences that name a label."""


def words(params: Params, labels: Sequence[str], known: Mapping[str, Sequence[str]] | None = None) -> Words:
    """Return the words for a task with these labels; those that name one are dropped.

    The analyst's vocabulary comes first, then the words `known` to the encoder, then the built-in ones.
    """
    built_in = _built_in()
    facets: Mapping[str, Sequence[str]] = params.caption_facets or known or built_in["facets"]
    everything = [word for facet in facets.values() for word in facet]
    leaks = {word for word in [*everything, *params.sentences] if names_label(word, labels)}
    adjectives: list[CaptionText] = []
    settings: list[CaptionText] = []
    for facet, own in facets.items():
        for word in own:
            if word.strip() and word not in leaks:
                slot = adjectives if is_adjective(facet, word) else settings
                slot.append(CaptionText(word.strip(), (facet,)))
    sentences = tuple(s.strip() for s in params.sentences if s.strip() and s not in leaks)
    return Words(tuple(adjectives), tuple(settings), sentences, tuple(built_in["null"]), tuple(sorted(leaks)))


def is_adjective(facet: str, word: str) -> bool:
    """Whether a word stands before its noun, and not behind it."""
    if facet in _built_in()["facets"]:
        return facet in _built_in()["adjective_facets"]
    return word.split(maxsplit=1)[0].lower() not in _PREPOSITIONS | _PARTICIPLES


def built_in_facets() -> Mapping[str, Sequence[str]]:
    """The built-in words by facet."""
    found: Mapping[str, Sequence[str]] = _built_in()["facets"]
    return found


def plain_noun(name: str) -> str:
    """A class's name as a noun of a sentence, where it is words; else a noun that is true of anything."""
    spaced = name.replace("_", " ").strip()
    return spaced if _PLAIN_NAME.fullmatch(spaced) else DEFAULT_NOUN


@lru_cache
def _built_in() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "vocabulary.json").read_text())
    return found
