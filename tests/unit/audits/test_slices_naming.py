"""Names of metadata groups, and one card for one thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.audits.slices.measure import rate
from app.audits.slices.naming import phrase
from app.audits.slices.ranking import Measured, mark_same
from app.audits.slices.schema import SliceMetrics
from app.numerics.metadata_slices import Predicate


@pytest.mark.parametrize(
    ("name", "where", "said"),
    [
        ("cat", {"object_colour": "white", "setting": "grass"}, "A white cat on grass"),
        ("dog", {"setting": "street", "object_colour": "black"}, "A black dog on a street"),
        ("car", {"light": "night"}, "A car at night"),
        ("owl", {"weather": "fog"}, "An owl in fog"),
        ("owl", {"color": "gray"}, "A grey owl"),
        ("fire_truck", {"size": "small", "light": "day"}, "A small fire truck by day"),
        ("cat", {"cat_colour": "black"}, "A black cat"),
        ("cat", {"background_colour": "white"}, "A cat with background colour white"),
        ("cat", {"occlusion": "none", "viewpoint": "front"}, "A cat seen from the front with occlusion none"),
        ("cat", {"camera": "A7", "brightness": "below 0.5"}, "A cat with camera A7 and brightness below 0.5"),
        ("dog", {"setting": "street", "weather": "clear"}, "A dog on a street in clear weather"),
        ("cat", {"setting": "moon"}, "A cat with setting moon"),
        ("n02123045", {"color": "white"}, "A white image of “n02123045”"),
        ("7", {"pen": "blue"}, "An image of “7” with pen blue"),
        ("кошка", {"место": "снег"}, "A кошка with место снег"),
    ],
)
def test_a_group_is_named_in_words_where_the_column_says_what_the_word_is_of(
    name: str, where: dict[str, str], said: str
) -> None:
    assert phrase([Predicate(column, value) for column, value in where.items()], name) == said


def measured(key: str, rows: range, method: str = "direction", errors: tuple[int, int] = (12, 20)) -> Measured:
    bad = rate(*errors)
    metrics = SliceMetrics(errors=bad, rest=bad, class_errors=bad, p_value=0, q_value=0, prevalence=0.1, size=20)
    return Measured(key, method, "", True, 0, metrics, np.arange(rows.start, rows.stop))


def repeated(names: dict[str, str], *found: Measured) -> list[str]:
    mark_same(found, ["direction", "metadata"], set(), names)
    return [m.metrics.same_as for m in found]


def test_two_of_one_name_are_one() -> None:
    words, column = measured("d", range(100)), measured("m", range(60, 140), "metadata", (20, 20))
    assert repeated({"d": "A white cat", "m": "a White cat"}, words, column) == ["", "d"]
    assert repeated({"d": "A white cat", "m": "A cat on grass"}, words, column) == ["", ""]
    assert repeated({"d": "", "m": ""}, words, column) == ["", ""]


def test_much_the_same_rows_are_one_whatever_they_are_called() -> None:
    words, column = measured("d", range(100)), measured("m", range(20, 110), "metadata", (20, 20))
    assert repeated({"d": "A white cat", "m": "A cat on grass"}, words, column) == ["", "d"]


def test_a_part_stands_alone_only_when_it_surely_fails_more_than_the_whole() -> None:
    whole = measured("d", range(100), errors=(45, 61))
    assert repeated({}, whole, measured("m", range(40), "metadata", (17, 22))) == ["", "d"]
    assert repeated({}, whole, measured("m", range(40), "metadata", (28, 29))) == ["", ""]
    assert repeated({}, whole, measured("m", range(75, 115), "metadata", (17, 22))) == ["", ""]


def test_slices_of_other_classes_do_not_repeat_one_another() -> None:
    first, second = measured("a", range(50)), replace(measured("b", range(50)), class_index=1)
    assert repeated({"a": "An image", "b": "An image"}, first, second) == ["", ""]
