"""The two splits: what is missing from the one, and how much of it is in the other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from app.scenes.planting import PLANTS, ROWS, TEST_PREVALENCE, TRAIN_BIAS, plan_fresh, plan_split
from app.scenes.spec import LEVELS, OBJECTS


@pytest.fixture(scope="module")
def train():
    return plan_split("train")


@pytest.fixture(scope="module")
def test():
    return plan_split("test")


def test_every_class_has_its_rows(train, test):
    assert Counter(s.factors.object for s in train) == dict.fromkeys(OBJECTS, ROWS["train"])
    assert Counter(s.factors.object for s in test) == dict.fromkeys(OBJECTS, ROWS["test"])
    assert ROWS["test"] >= 450


def test_there_are_at_least_four_plants_each_of_a_class_of_its_own():
    assert len({plant.object for plant in PLANTS}) == len(PLANTS) >= 4
    assert len({plant.instead for plant in PLANTS}) == len(PLANTS)
    for plant in PLANTS:
        assert all(value in LEVELS[name] for name, value in plant.where.items())
        assert plant.object not in plant.caption


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_group_is_never_in_the_train_split(plant, train):
    assert not any(plant.covers(scene.factors) for scene in train)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_another_class_takes_its_place_there(plant, train):
    fitting = Counter(scene.factors.object for scene in train if plant.fits(scene.factors))
    assert fitting.most_common(1)[0][0] == plant.instead
    assert fitting[plant.instead] / ROWS["train"] > 0.8 * TRAIN_BIAS


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_group_is_about_a_tenth_of_its_class_in_the_test_split(plant, test):
    share = np.mean([plant.covers(s.factors) for s in test if s.factors.object == plant.object])
    assert abs(share - TEST_PREVALENCE) < 0.045
    assert 0.07 <= share <= 0.145


def test_plans_repeat_and_splits_share_no_scene(train, test):
    assert plan_split("test") == test
    assert not {scene.texture_seed for scene in train} & {scene.texture_seed for scene in test}


def test_the_order_of_the_rows_tells_nothing(test):
    position = {thing: np.mean([i for i, s in enumerate(test) if s.factors.object == thing]) for thing in OBJECTS}
    assert all(abs(mean - len(test) / 2) < 0.06 * len(test) for mean in position.values())
    for plant in PLANTS:
        places = [i for i, s in enumerate(test) if plant.covers(s.factors)]
        assert abs(np.mean(places) - len(test) / 2) < 0.2 * len(test)


def test_fresh_scenes_are_unbiased_and_others_than_the_splits(train, test):
    fresh = plan_fresh(3000, seed=5)
    used = {scene.texture_seed for scene in train + test}
    assert not used & {scene.texture_seed for scene in fresh}
    assert plan_fresh(10, seed=5) == fresh[:10]
    assert plan_fresh(10, seed=6) != fresh[:10]
    for plant in PLANTS:
        fitting = [s for s in fresh if plant.fits(s.factors)]
        share = np.mean([s.factors.object == plant.object for s in fitting])
        assert abs(share - 1 / len(OBJECTS)) < 4 * np.sqrt(1 / 8 * 7 / 8 / len(fitting))
