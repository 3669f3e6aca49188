"""Names of slices that have no words of their own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from app.audits.slices.compute import find
from app.audits.slices.describe import describe
from app.audits.slices.measure import rate
from app.audits.slices.schema import MistakenFor, Params, SliceMetrics
from app.audits.slices.untitled import Untitled
from tests.unit.audits.planted_inputs import after, planted_inputs


def metrics(mistaken_for: str = "") -> SliceMetrics:
    one = rate(1, 2)
    named = [MistakenFor(class_index=1, name=mistaken_for, n=1)] if mistaken_for else []
    return SliceMetrics(
        errors=one, rest=one, class_errors=one, p_value=1, q_value=1, prevalence=0.5, size=2, mistaken_for=named
    )


def test_slices_without_captions_are_named_by_class_and_mistake(tmp_path: Path) -> None:
    """No name is given twice, and none is a bare number."""
    bare = replace(planted_inputs(params=Params(permutations=2, methods=["direction"])), encode_text=None)
    described = describe(after(bare, "slices", find(bare), tmp_path))
    titles = [draft.title for draft in described.findings if draft.subject == "slice"]
    assert titles
    assert len(set(titles)) == len(titles)
    assert all(re.fullmatch(r"(Cat|Car|Boat)( mistaken for (cat|car|boat))?, group [1-9]\d*", t) for t in titles)


def test_a_name_says_the_class_and_what_it_is_taken_for() -> None:
    names = Untitled(["cat", "dog", "4×4"])
    said = [names.name(index, metrics(other)) for index, other in ((0, "dog"), (1, "cat"), (0, "dog"), (2, ""))]
    assert said == [
        "Cat mistaken for dog, group 1",
        "Dog mistaken for cat, group 1",
        "Cat mistaken for dog, group 2",
        "4×4, group 1",
    ]
