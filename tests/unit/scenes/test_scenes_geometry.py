"""Distance fields against distances worked out another way, and meshes against volumes known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from app.scenes.geometry import (
    Part,
    ball,
    below,
    blend,
    block,
    build_mesh,
    chain,
    cut,
    disc,
    ellipsoid,
    limb,
    mirrored,
    turned,
)

pytest.importorskip("skimage", reason="the extra `scenes` is not installed")
POINTS = np.vstack([np.random.default_rng(0).uniform(-1.5, 1.5, (200, 3)), [0.0, 0.6, 0.0]])


def brute_distance(points: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The distance to the nearest of many points of a solid."""
    return np.sqrt(((points[:, None] - inside[None]) ** 2).sum(-1)).min(axis=1)


def volume(mesh) -> float:
    """By the divergence theorem over the triangles."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k], :3].astype(float) for k in range(3))
    return float(abs(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) / 6)


def test_ball_is_the_distance_to_its_centre_less_the_radius():
    expected = np.linalg.norm(POINTS - [0.1, 0.5, -0.2], axis=1) - 0.3
    np.testing.assert_allclose(ball((0.1, 0.5, -0.2), 0.3)(POINTS), expected, atol=1e-9)


def test_ellipsoid_is_zero_on_its_surface_and_negative_inside():
    way = np.random.default_rng(1).normal(size=(100, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    radii = np.array([0.2, 0.5, 0.9])
    field = ellipsoid((0, 0.5, 0), (0.2, 0.5, 0.9))
    np.testing.assert_allclose(field(way * radii + [0, 0.5, 0]), 0, atol=1e-9)
    assert (field(0.8 * way * radii + [0, 0.5, 0]) < 0).all()
    assert (field(1.2 * way * radii + [0, 0.5, 0]) > 0).all()


def test_limb_of_one_radius_is_a_capsule():
    axis = np.linspace([0.0, 0.2, -0.5], [0.3, 1.0, 0.4], 4000)
    expected = brute_distance(POINTS, axis) - 0.15
    np.testing.assert_allclose(limb((0, 0.2, -0.5), (0.3, 1.0, 0.4), 0.15)(POINTS), expected, atol=1e-4)


def test_limb_tapers_to_its_second_radius():
    field = limb((0, 0, 0), (0, 1, 0), 0.3, 0.1)
    np.testing.assert_allclose(field(np.array([[0.3, 0, 0], [0.2, 0.5, 0], [0.1, 1, 0]])), 0, atol=1e-9)


def test_block_is_the_distance_to_a_rounded_box():
    half = np.array([0.4, 0.3, 0.6])
    centre = np.array([0.0, 0.5, 0.1])
    nearest = centre + np.clip(POINTS - centre, -(half - 0.1), half - 0.1)
    outside = np.linalg.norm(POINTS - nearest, axis=1) > 0
    expected = np.linalg.norm(POINTS - nearest, axis=1) - 0.1
    found = block((0.0, 0.5, 0.1), (0.4, 0.3, 0.6), 0.1)(POINTS)
    np.testing.assert_allclose(found[outside], expected[outside], atol=1e-9)
    assert (found[~outside] < 0).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_disc_ends_at_its_radius_and_its_width(axis):
    field = disc((0, 0, 0), 0.5, 0.2, axis)
    along, across = np.eye(3)[axis], np.eye(3)[(axis + 1) % 3]
    found = field(np.stack([0.2 * along, 0.5 * across, 0.3 * along, 0.7 * across]))
    np.testing.assert_allclose(found, [0, 0, 0.1, 0.2], atol=1e-9)


def test_blend_without_softness_is_the_union_and_with_it_only_adds():
    one, two = ball((0, 0.5, 0), 0.4), ball((0.5, 0.5, 0), 0.3)
    union = np.minimum(one(POINTS), two(POINTS))
    np.testing.assert_allclose(blend(0.0, one, two)(POINTS), union)
    soft = blend(0.2, one, two)(POINTS)
    assert (soft <= union + 1e-12).all()
    assert (union - soft).max() <= 0.2 / 4 + 1e-12


def test_cut_removes_and_chain_joins():
    half = cut(ball((0, 0, 0), 1.0), below(0.0))
    np.testing.assert_array_equal(half(POINTS) < 0, (np.linalg.norm(POINTS, axis=1) < 1) & (POINTS[:, 1] > 0))
    tail = chain([(0, 0, 0), (0, 1, 0), (0, 1, 1)], [0.1, 0.1, 0.1])
    assert (tail(np.array([[0, 0.5, 0], [0, 1, 0.5]])) < 0).all()
    assert tail(np.array([[0, 0.5, 0.5]]))[0] > 0


def test_mirrored_is_symmetric():
    field = mirrored(ball((0.4, 0.5, 0), 0.2))
    np.testing.assert_allclose(field(POINTS), field(POINTS * [-1, 1, 1]))


@pytest.mark.parametrize(
    ("axis", "start", "end"), [(0, (0, 1, 0), (0, 0, 1)), (1, (0, 0, 1), (1, 0, 0)), (2, (1, 0, 0), (0, 1, 0))]
)
def test_turned_is_a_quarter_turn_by_the_right_hand_rule(axis, start, end):
    field = turned(ball(start, 0.1), axis, 90.0)
    assert field(np.array([end], dtype=float))[0] == pytest.approx(-0.1)


def test_mesh_of_a_ball_has_its_volume_and_unit_normals_that_point_out():
    mesh = build_mesh([Part(ball((0, 0.8, 0), 0.5), "clay", 40)], ["clay"])
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.01)
    normals = mesh.vertices[:, 3:6]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(normals, (mesh.vertices[:, :3] - [0, 0.8, 0]) / 0.5, atol=0.03)


def test_small_parts_are_found_too():
    mesh = build_mesh([Part(ball((0.33, 1.07, 0.21), 0.02), "ink", 12)], ["ink"])
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.02**3, rel=0.15)


def test_crevices_are_darker_than_free_faces():
    parts = [Part(ball((0, 0.5, 0), 0.4), "a", 40), Part(ball((0, 1.05, 0), 0.25), "b", 30)]
    light = build_mesh(parts, ["a", "b"]).vertices
    joint = light[np.abs(light[:, 1] - 0.87) < 0.04, 6]
    top = light[light[:, 1] > 1.25, 6]
    assert joint.mean() < 0.7 * top.mean()
    assert ((light[:, 6] >= 0) & (light[:, 6] <= 1)).all()


def test_parts_keep_their_materials_and_unknown_ones_are_refused():
    parts = [Part(ball((0, 0.5, 0), 0.2), "a"), Part(ball((0, 1.5, 0), 0.2), "b")]
    mesh = build_mesh(parts, ["a", "b"])
    np.testing.assert_array_equal(mesh.vertices[:, 7] == 1, mesh.vertices[:, 1] > 1.0)
    with pytest.raises(ValueError, match="not in list"):
        build_mesh(parts, ["a"])
