"""Solids as signed distance fields, and the meshes made of them.

A field maps points (n, 3) float64 to signed distances (n,), negative inside. Smooth unions give the soft joints
of modelled clay (the polynomial smooth minimum, Quilez 2008); marching cubes (Lorensen and Cline 1987) gives triangles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Field: TypeAlias = Callable[[Array], Array]
Vector: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One solid of one material; `material` names a colour of the palette."""

    field: Field
    material: str
    resolution: int = 30


@dataclass(frozen=True)
class Mesh:
    """Triangles of one model: `vertices` (n, 8) float32 holds position, normal, ambient light and material index."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]


def ellipsoid(centre: Vector, radii: Vector) -> Field:
    """A ball stretched along the axes (a first-order distance, exact on the surface)."""
    c, r = np.array(centre), np.array(radii)

    def field(p: Array) -> Array:
        q = (p - c) / r
        near = np.linalg.norm(q, axis=1)
        slope = np.linalg.norm(q / r, axis=1)
        distance: Array = near * (near - 1.0) / np.maximum(slope, 1e-9)
        return distance

    return field


def ball(centre: Vector, radius: float) -> Field:
    """A ball."""
    c = np.array(centre)

    def field(p: Array) -> Array:
        distance: Array = np.linalg.norm(p - c, axis=1) - radius
        return distance

    return field


def limb(start: Vector, end: Vector, start_radius: float, end_radius: float | None = None) -> Field:
    """A stick with round ends that tapers from one radius to the other."""
    a, b = np.array(start), np.array(end)
    last = start_radius if end_radius is None else end_radius

    def field(p: Array) -> Array:
        along = np.clip((p - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-9), 0.0, 1.0)
        gap = np.linalg.norm(p - a - along[:, None] * (b - a), axis=1)
        distance: Array = gap - (start_radius + along * (last - start_radius))
        return distance

    return field


def chain(points: Sequence[Vector], radii: Sequence[float]) -> Field:
    """Limbs joined end to end, as a tail is."""
    pairs = zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
    return blend(0.02, *(limb(a, b, ra, rb) for a, b, ra, rb in pairs))


def block(centre: Vector, half: Vector, rounding: float) -> Field:
    """A box with rounded edges; `half` counts the rounding in."""
    c, h = np.array(centre), np.array(half) - rounding

    def field(p: Array) -> Array:
        q = np.abs(p - c) - h
        distance: Array = np.linalg.norm(np.maximum(q, 0.0), axis=1) + np.minimum(q.max(axis=1), 0.0) - rounding
        return distance

    return field


def disc(centre: Vector, radius: float, half_width: float, axis: int, rounding: float = 0.03) -> Field:
    """A round slab across an axis (0 x, 1 y, 2 z): a wheel, a plate, a post."""
    c = np.array(centre)
    others = [i for i in range(3) if i != axis]

    def field(p: Array) -> Array:
        q = p - c
        across = np.linalg.norm(q[:, others], axis=1) - radius + rounding
        along = np.abs(q[:, axis]) - half_width + rounding
        outside = np.hypot(np.maximum(across, 0.0), np.maximum(along, 0.0))
        distance: Array = outside + np.minimum(np.maximum(across, along), 0.0) - rounding
        return distance

    return field


def blend(softness: float, *fields: Field) -> Field:
    """The union of solids, their joints rounded over a length of `softness` (0 keeps them sharp)."""

    def field(p: Array) -> Array:
        total = fields[0](p)
        for other in fields[1:]:
            distance = other(p)
            overlap = np.maximum(softness - np.abs(total - distance), 0.0) / max(softness, 1e-9)
            total = np.minimum(total, distance) - overlap * overlap * softness / 4.0
        return total

    return field


def cut(solid: Field, *away: Field) -> Field:
    """The solid without the others."""
    return lambda p: np.maximum(solid(p), -blend(0.0, *away)(p))


def below(height: float) -> Field:
    """All space under a height."""
    return lambda p: p[:, 1] - height


def mirrored(solid: Field) -> Field:
    """The half at x > 0, and its mirror image."""
    return lambda p: solid(np.column_stack([np.abs(p[:, 0]), p[:, 1:]]))


def turned(solid: Field, axis: int, degrees: float, centre: Vector = (0.0, 0.0, 0.0)) -> Field:
    """The solid turned about an axis through `centre`, anticlockwise seen from the axis' tip."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    c = np.array(centre)

    def field(p: Array) -> Array:
        q = p - c
        r = q.copy()
        r[:, i], r[:, j] = cos * q[:, i] + sin * q[:, j], cos * q[:, j] - sin * q[:, i]
        return solid(r + c)

    return field


def build_mesh(parts: Sequence[Part], materials: Sequence[str]) -> Mesh:
    """Triangles of all parts, with ambient occlusion from the whole model baked in.

    Raises ValueError where a part names no material of the list.
    """
    whole = blend(0.0, *(part.field for part in parts))
    vertices: list[NDArray[np.float32]] = []
    triangles: list[NDArray[np.int32]] = []
    start = 0
    for part in parts:
        points, faces = _surface(part.field, part.resolution)
        normals = _gradient(part.field, points)
        light = _ambient(whole, points, normals)
        index = np.full(len(points), materials.index(part.material))
        vertices.append(np.column_stack([points, normals, light, index]).astype(np.float32))
        triangles.append((faces + start).astype(np.int32))
        start += len(points)
    return Mesh(np.concatenate(vertices), np.concatenate(triangles))


def _grid(low: Array, high: Array, step: float) -> tuple[Array, tuple[int, int, int]]:
    axes = [np.arange(a, b + step, step) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return points.reshape(-1, 3), (len(axes[0]), len(axes[1]), len(axes[2]))


def _bounds(field: Field) -> tuple[Array, Array]:
    low, high = np.array([-1.6, -0.3, -1.6]), np.array([1.6, 3.0, 1.6])
    for cells in (32, 20, 20):
        step = float((high - low).max()) / cells
        points, _ = _grid(low, high, step)
        near = points[field(points) < step]
        low, high = near.min(axis=0) - step, near.max(axis=0) + step
    return low, high


def _surface(field: Field, resolution: int) -> tuple[Array, NDArray[np.int64]]:
    from skimage.measure import marching_cubes  # noqa: PLC0415  the extra `scenes` is needed to render, not to plan

    low, high = _bounds(field)
    step = float((high - low).max()) / resolution
    points, shape = _grid(low, high, step)
    corners, faces, _, _ = marching_cubes(field(points).reshape(shape), 0.0, spacing=(step, step, step))  # type: ignore[no-untyped-call]
    return corners.astype(np.float64) + low, faces.astype(np.int64)


def _gradient(field: Field, points: Array, reach: float = 2e-3) -> Array:
    sides = [field(points + reach * axis) - field(points - reach * axis) for axis in np.eye(3)]
    slope = np.stack(sides, axis=1)
    normals: Array = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
    return normals


def _ambient(whole: Field, points: Array, normals: Array) -> Array:
    """How open each point is to the sky, in [0, 1]: five taps of the field along the normal."""
    shade = np.zeros(len(points))
    for tap in range(1, 6):
        reach = 0.05 * tap
        probe = points + reach * normals
        free = np.minimum(whole(probe), probe[:, 1] + 0.02)
        shade += (reach - np.minimum(free, reach)) / reach * 0.6**tap
    return np.clip(1.0 - 0.9 * shade, 0.0, 1.0)
