"""Factors and the controls drawn for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.scenes.spec import LEVELS, VARIANTS, WEIGHTS, Factors, draw_factors, draw_scene


def scenes(count: int, seed: int = 0, **fixed: str):
    rng = np.random.default_rng(seed)
    return [draw_scene(draw_factors(rng, **fixed), rng) for _ in range(count)]


def test_the_same_seed_draws_the_same_scenes():
    assert scenes(20, 3) == scenes(20, 3)
    assert scenes(20, 3) != scenes(20, 4)


def test_every_value_of_every_factor_is_drawn_about_as_often_as_its_weight_says():
    drawn = [scene.factors.as_dict() for scene in scenes(4000)]
    for name, levels in LEVELS.items():
        expected = WEIGHTS.get(name, (1 / len(levels),) * len(levels))
        for level, share in zip(levels, expected, strict=True):
            seen = np.mean([factors[name] == level for factors in drawn])
            assert abs(seen - share) < 4 * np.sqrt(share * (1 - share) / 4000), (name, level)


def test_weights_are_probabilities_over_the_levels():
    for name, weights in WEIGHTS.items():
        assert len(weights) == len(LEVELS[name])
        assert sum(weights) == pytest.approx(1.0)


def test_fixed_factors_stay():
    assert {scene.factors.colour for scene in scenes(50, colour="red")} == {"red"}


def test_an_unknown_value_is_refused_with_the_known_ones():
    known = scenes(1)[0].factors
    with pytest.raises(ValueError, match=r"setting is 'moon'; it must be one of grass, snow"):
        replace(known, setting="moon")


def test_there_are_at_least_six_free_factors_beside_the_label():
    assert len([name for name, levels in LEVELS.items() if len(levels) > 1]) >= 7
    assert set(Factors.__dataclass_fields__) == set(LEVELS)


def test_sizes_do_not_overlap():
    small = [scene.scale for scene in scenes(300, size="small")]
    large = [scene.scale for scene in scenes(300, size="large")]
    assert max(small) < 0.8 * min(large)


@pytest.mark.parametrize(("viewpoint", "low", "high"), [("front", 0, 15), ("three-quarter", 30, 60), ("side", 75, 105)])
def test_the_yaw_is_what_the_viewpoint_says(viewpoint, low, high):
    yaws = np.abs([scene.yaw for scene in scenes(300, viewpoint=viewpoint)])
    assert low <= yaws.min()
    assert yaws.max() <= high


def test_objects_turn_both_ways_and_come_in_all_variants():
    drawn = scenes(300, viewpoint="side")
    assert {np.sign(scene.yaw) for scene in drawn} == {-1.0, 1.0}
    assert {scene.variant for scene in drawn} == set(range(VARIANTS))


def test_the_sun_stands_low_at_dusk():
    dusk = [scene.sun_elevation for scene in scenes(200, light="dusk")]
    day = [scene.sun_elevation for scene in scenes(200, light="day")]
    assert max(dusk) < min(day)
