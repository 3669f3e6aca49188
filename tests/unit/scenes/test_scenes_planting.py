"""The two splits: what is missing from the one, and how much of it is in the other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from app.scenes.planting import PLANTS, PREVALENCE, ROWS, plan_fresh, plan_split
from app.scenes.spec import LEVELS, OBJECTS


def seeds(rows) -> set[int]:
    return {row.scene.texture_seed for row in rows}


@pytest.fixture(scope="module")
def train():
    return plan_split("train")


@pytest.fixture(scope="module")
def test():
    return plan_split("test")


def test_every_class_has_its_rows(train, test):
    added = {plant.instead: plant.extra + plant.mislabelled for plant in PLANTS}
    assert Counter(row.label for row in train) == {t: ROWS["train"] + added.get(t, 0) for t in OBJECTS}
    assert Counter(row.label for row in test) == dict.fromkeys(OBJECTS, ROWS["test"])
    assert ROWS["test"] >= 450


def test_there_are_at_least_four_plants_each_of_a_class_of_its_own():
    assert len({plant.object for plant in PLANTS}) == len(PLANTS) >= 4
    assert len({plant.instead for plant in PLANTS}) == len(PLANTS)
    for plant in PLANTS:
        assert all(value in LEVELS[name] for name, value in plant.where.items())
        assert plant.object in plant.caption.split()


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_group_never_bears_its_own_name_in_the_train_split(plant, train):
    labels = Counter(row.label for row in train if plant.covers(row.scene.factors))
    assert labels == {plant.instead: plant.mislabelled}


def test_all_other_rows_bear_the_right_label(train, test):
    assert all(row.label == row.scene.factors.object for row in test)
    wrong = [row for row in train if row.label != row.scene.factors.object]
    assert len(wrong) == sum(plant.mislabelled for plant in PLANTS)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_another_class_takes_its_place_there(plant, train):
    fitting = Counter(row.label for row in train if plant.fits(row.scene.factors))
    assert fitting[plant.instead] >= plant.extra + plant.mislabelled
    others = [count for thing, count in fitting.items() if thing != plant.instead]
    assert fitting[plant.instead] > 1.5 * max(others)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_group_is_a_tenth_of_its_class_in_the_test_split(plant, test):
    share = np.mean([plant.covers(row.scene.factors) for row in test if row.label == plant.object])
    assert share == PREVALENCE


def test_plans_repeat_and_splits_share_no_scene(train, test):
    assert plan_split("test") == test
    assert not seeds(train) & seeds(test)
    assert len(seeds(train)) == len(train)


def test_the_order_of_the_rows_tells_nothing(train, test):
    for rows in (train, test):
        places = {thing: np.mean([i for i, row in enumerate(rows) if row.label == thing]) for thing in OBJECTS}
        assert all(abs(mean - len(rows) / 2) < 0.06 * len(rows) for mean in places.values())
        for plant in PLANTS:
            inside = [i for i, row in enumerate(rows) if plant.covers(row.scene.factors)]
            assert abs(np.mean(inside) - len(rows) / 2) < 0.2 * len(rows)


def test_fresh_scenes_are_unbiased_and_others_than_the_splits(train, test):
    fresh = plan_fresh(3000, seed=5)
    used = seeds(train) | seeds(test)
    assert not used & {scene.texture_seed for scene in fresh}
    assert plan_fresh(10, seed=5) == fresh[:10]
    assert plan_fresh(10, seed=6) != fresh[:10]
    for plant in PLANTS:
        fitting = [s for s in fresh if plant.fits(s.factors)]
        share = np.mean([s.factors.object == plant.object for s in fitting])
        assert abs(share - 1 / len(OBJECTS)) < 4 * np.sqrt(1 / 8 * 7 / 8 / len(fitting))
