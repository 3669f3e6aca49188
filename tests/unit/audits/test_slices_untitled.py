"""Names of slices that have no words of their own."""

from __future__ import annotations

from app.audits.slices.measure import rate
from app.audits.slices.schema import MistakenFor, SliceMetrics
from app.audits.slices.untitled import Untitled


def metrics(mistaken_for: str = "") -> SliceMetrics:
    one = rate(1, 2)
    named = [MistakenFor(class_index=1, name=mistaken_for, n=1)] if mistaken_for else []
    return SliceMetrics(
        errors=one, rest=one, class_errors=one, p_value=1, q_value=1, prevalence=0.5, size=2, mistaken_for=named
    )


def test_a_name_says_the_class_and_what_it_is_taken_for() -> None:
    names = Untitled(["cat", "dog", "4×4"])
    said = [names.name(index, metrics(other)) for index, other in ((0, "dog"), (1, "cat"), (0, "dog"), (2, ""))]
    assert said == [
        "Cat mistaken for dog, group 1",
        "Dog mistaken for cat, group 1",
        "Cat mistaken for dog, group 2",
        "4×4, group 1",
    ]
