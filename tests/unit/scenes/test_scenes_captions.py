"""Captions tell the truth, and only what they claim to tell."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from app.scenes.captions import ANYTHING, CHANCE, KINDS, WORDS, Caption, describe
from app.scenes.spec import COLOURS, LEVELS, OBJECTS, draw_factors


def phrases_in(text: str) -> dict[str, set[str]]:
    """What a reader would take from a sentence: the factor values whose words occur in it, the longest words first."""
    table = [(word, name, value) for name, values in WORDS.items() for value, words in values.items() for word in words]
    table += [(colour, "colour", colour) for colour in COLOURS] + [(thing, "object", thing) for thing in OBJECTS]
    padded, found = f" {text.replace(',', '')} ", {}
    for word, name, value in sorted(table, key=lambda row: -len(row[0])):
        if f" {word} " in padded:
            padded = padded.replace(f" {word} ", " | ")
            found.setdefault(name, set()).add(value)
    return found


def test_what_a_caption_says_is_true_and_is_what_it_claims():
    rng = np.random.default_rng(0)
    for _ in range(1500):
        factors = draw_factors(rng)
        caption = describe(factors, rng)
        assert caption.is_true_of(factors)
        read = phrases_in(caption.text)
        known = factors.as_dict()
        assert all(values == {known[name]} for name, values in read.items()), (caption.text, read)
        named = {name for name, values in caption.claims.items() if len(values) == 1}
        assert set(read) == named, caption.text


def test_a_caption_is_false_of_a_scene_that_differs_in_what_it_names():
    rng = np.random.default_rng(1)
    for _ in range(200):
        factors = draw_factors(rng)
        caption = describe(factors, rng, naming=list(LEVELS))
        for name, levels in LEVELS.items():
            other = next(level for level in levels if level != factors.as_dict()[name])
            assert not caption.is_true_of(replace(factors, **{name: other}))


def test_general_nouns_are_true_of_all_their_kind_and_of_no_other():
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(300):
        factors = draw_factors(rng)
        caption = describe(factors, rng, naming=["colour"])
        noun = caption.text.split()[-1]
        seen.add(noun)
        members = KINDS.get(noun, OBJECTS)
        for thing in OBJECTS:
            assert caption.is_true_of(replace(factors, object=thing)) == (thing in members)
    assert seen == {*KINDS, *ANYTHING}


@pytest.mark.parametrize("naming", [[], ["object"], ["colour", "setting"], ["size", "light", "weather"]])
def test_the_caller_chooses_what_is_named(naming):
    rng = np.random.default_rng(3)
    for _ in range(50):
        caption = describe(draw_factors(rng), rng, naming=naming)
        assert set(phrases_in(caption.text)) == set(naming)


def test_random_captions_name_each_factor_as_often_as_intended():
    rng = np.random.default_rng(4)
    named = [{k for k, v in describe(draw_factors(rng), rng).claims.items() if len(v) == 1} for _ in range(3000)]
    for name, chance in CHANCE.items():
        assert np.mean([name in names for names in named]) == pytest.approx(chance, abs=0.04)


def test_articles_agree_with_their_nouns():
    rng = np.random.default_rng(5)
    for _ in range(600):
        words = describe(draw_factors(rng), rng).text.split()
        for article, following in itertools.pairwise(words):
            if article in {"a", "an"}:
                assert (article == "an") == (following[0] in "aeiou"), words


def test_a_caption_without_claims_is_true_of_everything():
    rng = np.random.default_rng(6)
    assert all(Caption("a photo of a thing").is_true_of(draw_factors(rng)) for _ in range(20))


def test_the_same_seed_gives_the_same_caption():
    factors = draw_factors(np.random.default_rng(7))
    assert describe(factors, np.random.default_rng(8)) == describe(factors, np.random.default_rng(8))
