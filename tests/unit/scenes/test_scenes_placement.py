"""What stands where, and what the camera sees of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.scenes.camera import camera_position, shadow_matrix, sun_direction, view_matrix
from app.scenes.looks import BODY, MATERIALS, glow_of, light_of, palette_of
from app.scenes.placement import mesh_of, place
from app.scenes.spec import COLOURS, OBJECTS, Factors, Scene, draw_factors, draw_scene

pytest.importorskip("skimage", reason="the extra `scenes` is not installed")
PLAIN = Factors("cat", "white", "large", "grass", "day", "three-quarter", "none", "clear")


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Clip-space positions (n, 3) of world points (n, 3)."""
    clip = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return clip[:, :3] / clip[:, 3:]


def world_points(placed) -> np.ndarray:
    points = mesh_of(placed.model, placed.variant).vertices[:, :3]
    return points @ placed.matrix[:3, :3].T + placed.matrix[:3, 3]


def drawn(count: int, **fixed: str) -> list[Scene]:
    rng = np.random.default_rng(7)
    return [replace(draw_scene(draw_factors(rng, **fixed), rng), variant=i % 2) for i in range(count)]


@pytest.mark.parametrize("model", OBJECTS)
def test_objects_stand_on_the_ground_at_a_size_that_fits(model):
    points = mesh_of(model, 0).vertices[:, :3]
    assert -0.06 < points[:, 1].min() < 0.04
    assert 0.8 < points[:, 1].max() < 2.0
    assert np.abs(points[:, [0, 2]]).max() < 1.35


@pytest.mark.parametrize("model", OBJECTS)
def test_most_of_an_object_has_the_object_s_colour(model):
    mesh = mesh_of(model, 1)
    corners = mesh.vertices[mesh.triangles, :3].astype(float)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    body = np.isin(mesh.vertices[mesh.triangles[:, 0], 7], [MATERIALS.index("body"), MATERIALS.index("second")])
    assert area[body].sum() / area.sum() > 0.45


def test_variants_differ_and_each_is_always_the_same():
    first, second = mesh_of("dog", 0), mesh_of("dog", 1)
    assert first.vertices.shape != second.vertices.shape or not np.allclose(first.vertices, second.vertices)
    mesh_of.cache_clear()
    np.testing.assert_array_equal(mesh_of("dog", 0).vertices, first.vertices)


def test_the_camera_looks_at_the_object_from_its_distance():
    scene = Scene(PLAIN, camera_azimuth=10.0, camera_elevation=20.0, camera_distance=5.0)
    eye = camera_position(scene)
    target = np.array([0.0, 0.66, 0.0])
    assert np.linalg.norm(eye - target) == pytest.approx(5.0)
    np.testing.assert_allclose(project(view_matrix(scene), target[None])[0, :2], 0, atol=1e-9)


def test_zoom_and_field_of_view_change_the_apparent_size():
    points = np.array([[0.0, 0.2, 0.0], [0.0, 1.1, 0.0]])
    heights = []
    for scene in (Scene(PLAIN), Scene(PLAIN, camera_distance=9.2), Scene(PLAIN, field_of_view=60.0)):
        low, high = project(view_matrix(scene), points)[:, 1]
        heights.append(high - low)
    assert heights[1] < 0.6 * heights[0]
    assert heights[2] < 0.6 * heights[0]


def test_objects_are_in_the_picture():
    for scene in drawn(40):
        seen = project(view_matrix(scene), world_points(place(scene, np.random.default_rng(0))[0]))
        assert (np.abs(seen[:, :2]) < 1).all(axis=1).mean() > 0.9, scene


def test_a_front_view_shows_the_face_and_a_side_view_the_flank():
    for viewpoint, axis in (("front", 2), ("side", 0)):
        for scene in drawn(10, viewpoint=viewpoint):
            matrix = place(scene, np.random.default_rng(0))[0].matrix[:3, :3] / scene.scale
            to_eye = camera_position(scene) * [1, 0, 1]
            assert abs(matrix[:, axis] @ to_eye) / np.linalg.norm(to_eye) > 0.75


@pytest.mark.parametrize("kind", ["post", "bush"])
def test_an_occluder_stands_before_the_object_and_hides_a_part_of_it(kind):
    for scene in drawn(12, occlusion=kind, weather="clear"):
        thing, hider = place(scene, np.random.default_rng(0))[:2]
        assert hider.model == kind
        eye = camera_position(scene)
        assert np.linalg.norm(hider.matrix[:3, 3] - eye) < np.linalg.norm(thing.matrix[:3, 3] - eye)
        view = view_matrix(scene)
        a, b = project(view, world_points(thing))[:, :2], project(view, world_points(hider))[:, :2]
        hidden = (np.abs(a[:, None] - b[None, ::7]).max(axis=2) < 0.03).any(axis=1).mean()
        assert 0.02 < hidden < 0.85


def test_orientation_controls_turn_the_object():
    upright = place(Scene(PLAIN, yaw=0.0), np.random.default_rng(0))[0].matrix
    rolled = place(Scene(PLAIN, yaw=0.0, roll=90.0), np.random.default_rng(0))[0].matrix
    np.testing.assert_allclose(upright[:3, 1], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(rolled[:3, 1], [-1, 0, 0], atol=1e-6)


def test_the_sun_is_where_its_angles_say_and_sees_the_object():
    scene = Scene(PLAIN, sun_azimuth=90.0, sun_elevation=30.0)
    np.testing.assert_allclose(sun_direction(scene), [np.cos(np.pi / 6), 0.5, 0.0], atol=1e-9)
    for scene in drawn(10):
        seen = project(shadow_matrix(sun_direction(scene)), world_points(place(scene, np.random.default_rng(0))[0]))
        assert (np.abs(seen) <= 1).all()


def test_a_lamp_burns_at_night_only():
    for scene in drawn(30):
        night = scene.factors.light == "night"
        models = {item.model for item in place(scene, np.random.default_rng(0))}
        assert "lamp_post" in models or not night
        assert (glow_of(scene).max() > 2) == night
        if scene.factors.setting != "indoors":
            assert (max(light_of(scene).lamp) > 0) == night


@pytest.mark.parametrize("colour", COLOURS)
def test_the_body_has_about_its_named_colour(colour):
    scene = Scene(replace(PLAIN, colour=colour))
    body = palette_of(scene, np.random.default_rng(0))[MATERIALS.index("body")]
    nearest = min(BODY, key=lambda name: float(np.abs(np.array(BODY[name]) - body).sum()))
    assert nearest == colour
