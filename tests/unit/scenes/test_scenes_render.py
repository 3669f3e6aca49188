"""Pictures: the only tests here that draw; they need EGL (Mesa's software renderer is enough)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.scenes.spec import LIGHTS, SETTINGS, Factors, Scene

moderngl = pytest.importorskip("moderngl", reason="SKIPPED RENDERING: the extra `scenes` (moderngl) is not installed")
PLAIN = Scene(Factors("car", "red", "large", "grass", "day", "three-quarter", "none", "clear"), texture_seed=5)


@pytest.fixture(scope="module")
def renderer():
    from app.scenes.render import Renderer

    try:
        made = Renderer(64)
    except Exception as error:  # the driver's errors have no common class
        pytest.skip(f"SKIPPED RENDERING: this machine has no EGL device ({error}); Debian: libegl1 libgl1-mesa-dri")
    with made:
        yield made


def change(**factors: str) -> Scene:
    return replace(PLAIN, factors=replace(PLAIN.factors, **factors))


def middle(picture: np.ndarray) -> np.ndarray:
    """The mean colour of the middle of the picture, where the object is."""
    return picture[28:40, 26:38].reshape(-1, 3).mean(axis=0)


def test_a_picture_has_its_size_and_more_than_one_colour(renderer):
    picture = renderer.render(PLAIN)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 20


def test_the_same_scene_gives_the_same_picture_whatever_was_drawn_before(renderer):
    first = renderer.render(PLAIN)
    renderer.render(change(light="night", setting="indoors", weather="fog"))
    np.testing.assert_array_equal(renderer.render(PLAIN), first)


def test_night_is_darker_than_dusk_and_dusk_than_day(renderer):
    for setting in SETTINGS:
        brightness = [renderer.render(change(light=light, setting=setting)).mean() for light in LIGHTS]
        assert brightness[0] > brightness[1] > brightness[2], setting


def test_the_object_has_the_colour_that_was_asked_for(renderer):
    strongest = {"red": 0, "blue": 2}
    for colour, channel in strongest.items():
        for light in LIGHTS:
            assert middle(renderer.render(change(colour=colour, light=light))).argmax() == channel, (colour, light)
    white, black = (middle(renderer.render(change(colour=c, object="rabbit"))) for c in ("white", "black"))
    assert white.min() > black.max() + 60
    yellow = middle(renderer.render(change(colour="yellow", object="rabbit")))
    assert min(yellow[0], yellow[1]) > yellow[2] + 60


def test_settings_look_different(renderer):
    ground = {s: renderer.render(change(setting=s))[54:].reshape(-1, 3).mean(axis=0) for s in SETTINGS}
    assert ground["grass"].argmax() == 1
    assert ground["snow"].min() > 150
    assert ground["sand"][0] > ground["sand"][2] + 30
    for one in SETTINGS:
        for other in SETTINGS:
            assert one == other or np.abs(ground[one] - ground[other]).max() > 15, (one, other)


def test_fog_takes_contrast(renderer):
    assert renderer.render(change(weather="fog")).std() < 0.9 * renderer.render(PLAIN).std()


@pytest.mark.parametrize(
    "control",
    [
        {"yaw": 130.0},
        {"pitch": 30.0},
        {"roll": 30.0},
        {"scale": 0.7},
        {"position": (0.25, 0.2)},
        {"camera_azimuth": 20.0},
        {"camera_elevation": 40.0},
        {"camera_distance": 6.0},
        {"field_of_view": 45.0},
        {"sun_azimuth": -60.0},
        {"sun_elevation": 15.0},
        {"variant": 3},
        {"texture_seed": 6},
    ],
    ids=lambda control: next(iter(control)),
)
def test_every_control_changes_the_picture(renderer, control):
    changed = renderer.render(replace(PLAIN, **control)).astype(int)
    assert (np.abs(changed - renderer.render(PLAIN)).max(axis=2) > 12).mean() > 0.02


@pytest.mark.parametrize("occlusion", ["post", "bush"])
def test_an_occluder_covers_pixels_of_the_object(renderer, occlusion):
    bare, hidden = renderer.render(PLAIN).astype(int), renderer.render(change(occlusion=occlusion)).astype(int)
    red = bare[:, :, 0] - bare[:, :, 1] > 60
    still = hidden[:, :, 0] - hidden[:, :, 1] > 60
    assert 0.3 < (red & still).sum() / red.sum() < 0.97


def test_nearer_and_larger_objects_cover_more(renderer):
    def red_pixels(scene: Scene) -> int:
        picture = renderer.render(scene).astype(int)
        return int((picture[:, :, 0] - picture[:, :, 1] > 60).sum())

    plain = red_pixels(PLAIN)
    assert red_pixels(replace(PLAIN, camera_distance=6.5)) < 0.7 * plain
    assert red_pixels(replace(PLAIN, scale=0.6)) < 0.6 * plain
