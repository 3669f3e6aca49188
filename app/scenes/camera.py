"""Where the camera and the light stand, as 4 × 4 matrices (column vectors, OpenGL's clip space)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.scenes.spec import Scene

_TARGET = np.array([0.0, 0.66, 0.0])


def camera_position(scene: Scene) -> NDArray[np.float64]:
    """The eye, (3,)."""
    return _TARGET + scene.camera_distance * _direction(scene.camera_azimuth, scene.camera_elevation)


def sun_direction(scene: Scene) -> NDArray[np.float64]:
    """The unit vector towards the sun, (3,)."""
    return _direction(scene.sun_azimuth, scene.sun_elevation)


def view_matrix(scene: Scene) -> NDArray[np.float64]:
    """From the world to clip space, in perspective; the picture is square."""
    near, far = 0.3, 80.0
    focal = 1.0 / np.tan(np.radians(scene.field_of_view) / 2.0)
    project = np.zeros((4, 4))
    project[0, 0] = project[1, 1] = focal
    project[2, 2], project[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
    project[3, 2] = -1.0
    return project @ _look(camera_position(scene), _TARGET)


def shadow_matrix(direction: NDArray[np.float64], reach: float = 2.3) -> NDArray[np.float64]:
    """From the world to clip space as the light sees it, (4, 4), in parallel projection."""
    flat = np.diag([1.0 / reach, 1.0 / reach, -1.0 / 6.0, 1.0])
    flat[2, 3] = -1.0
    return flat @ _look(_TARGET + 6.0 * direction, _TARGET)


def _direction(azimuth: float, elevation: float) -> NDArray[np.float64]:
    a, e = np.radians([azimuth, elevation])
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])


def _look(eye: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix
