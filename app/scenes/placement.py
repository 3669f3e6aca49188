"""What stands where: the object, what hides it, and the props of its setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.scenes import animals, things
from app.scenes.geometry import Mesh, Part, build_mesh
from app.scenes.looks import MATERIALS
from app.scenes.spec import VARIANTS, Scene

_MODELS: Final[dict[str, Callable[[np.random.Generator], list[Part]]]] = {
    "bird": animals.bird,
    "cat": animals.cat,
    "dog": animals.dog,
    "rabbit": animals.rabbit,
    "boat": things.boat,
    "car": things.car,
    "chair": things.chair,
    "truck": things.truck,
    "post": things.post,
    "bush": things.bush,
    "lamp_post": things.lamp_post,
    "round_tree": things.round_tree,
    "pine": things.pine,
    "cactus": things.cactus,
    "rock": things.rock,
}
_FIT: Final = {"truck": 0.84, "car": 0.92, "boat": 0.9, "chair": 0.95, "rabbit": 0.95}
_SCENERY: Final = {
    "grass": ("round_tree", "round_tree", "bush"),
    "snow": ("pine", "pine", "pine", "rock"),
    "sand": ("cactus", "rock", "rock"),
    "indoors": (),
    "street": ("round_tree",),
}


@dataclass(frozen=True)
class Placed:
    """One model in the world: which mesh, and its 4 × 4 matrix from its own space."""

    model: str
    variant: int
    matrix: NDArray[np.float32]
    casts_shadow: bool = True


@lru_cache(maxsize=256)
def mesh_of(model: str, variant: int) -> Mesh:
    """The mesh of one variant of a model; the same at every call and in every process."""
    if model == "meadow":
        return _meadow(variant)
    seed = [sorted(_MODELS).index(model), variant]
    return build_mesh(_MODELS[model](np.random.default_rng(seed)), MATERIALS)


def lamp_side(scene: Scene) -> float:
    """-1 where the light comes from the left, 1 where from the right."""
    return -1.0 if scene.sun_azimuth < 0 else 1.0


def place(scene: Scene, rng: np.random.Generator) -> list[Placed]:
    """Every model of the scene, the object first."""
    x, z = scene.position
    matrix = _matrix(
        (x, 0.0, z),
        scene.scale * _FIT.get(scene.factors.object, 1.0),
        scene.yaw + scene.camera_azimuth,
        scene.pitch,
        scene.roll,
    )
    return [
        Placed(scene.factors.object, scene.variant % VARIANTS, matrix),
        *_occluder(scene, rng),
        *_lamp(scene, rng),
        *_scenery(scene, rng),
    ]


def _occluder(scene: Scene, rng: np.random.Generator) -> list[Placed]:
    if scene.factors.occlusion == "none":
        return []
    way = np.radians(scene.camera_azimuth)
    ahead, aside = 0.95 * scene.scale + 0.12, scene.occluder_offset
    x = scene.position[0] + ahead * np.sin(way) + aside * np.cos(way)
    z = scene.position[1] + ahead * np.cos(way) - aside * np.sin(way)
    size = scene.scale * (0.78 if scene.factors.occlusion == "bush" else 0.88)
    turn = float(rng.uniform(0, 360)) if scene.factors.occlusion == "bush" else 0.0
    return [Placed(scene.factors.occlusion, _variant(rng), _matrix((float(x), 0.0, float(z)), size, turn))]


def _lamp(scene: Scene, rng: np.random.Generator) -> list[Placed]:
    lonely = scene.factors.setting not in {"street", "indoors"}
    wanted = scene.factors.light == "night" or (not lonely and rng.random() < 0.5)
    if not wanted:
        return []
    spot = (lamp_side(scene) * float(rng.uniform(1.0, 1.3)), 0.0, float(rng.uniform(-1.3, -0.7)))
    return [Placed("lamp_post", _variant(rng), _matrix(spot, 0.9, 0.0))]


def _scenery(scene: Scene, rng: np.random.Generator) -> list[Placed]:
    placed = []
    for model in _SCENERY[scene.factors.setting]:
        side = float(rng.choice([-1.0, 1.0]))
        depth = float(rng.uniform(-7.5, -2.6))
        spot = (side * float(rng.uniform(0.9, 1.2)) * (1.0 - 0.28 * depth), 0.0, depth)
        size = float(rng.uniform(0.5, 0.8)) if model in {"rock", "bush"} else float(rng.uniform(0.9, 1.3))
        placed.append(Placed(model, _variant(rng), _matrix(spot, size, float(rng.uniform(0, 360))), casts_shadow=False))
    if scene.factors.setting == "grass":
        placed.append(Placed("meadow", _variant(rng), _matrix((0.0, 0.0, 0.0), 1.0, 0.0), casts_shadow=False))
    return placed


def _variant(rng: np.random.Generator) -> int:
    return int(rng.integers(VARIANTS))


def _matrix(
    spot: tuple[float, float, float], size: float, yaw: float, pitch: float = 0.0, roll: float = 0.0
) -> NDArray[np.float32]:
    a, b, c = np.radians([yaw, pitch, roll])
    turn_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = size * turn_y @ turn_x @ turn_z
    matrix[:3, 3] = spot
    return matrix.astype(np.float32)


def _meadow(variant: int) -> Mesh:
    """Blades of grass, each one triangle that leans, dark at the root and bright at the tip."""
    rng = np.random.default_rng([99, variant])
    n = 2600
    root = np.column_stack([rng.uniform(-2.6, 2.6, n), np.zeros(n), rng.uniform(-3.5, 2.2, n)])
    way, tall = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.05, 0.13, n)
    across = np.column_stack([np.cos(way), np.zeros(n), np.sin(way)]) * 0.013
    lean = np.column_stack([rng.normal(0, 0.03, n), tall, rng.normal(0, 0.03, n)])
    points = np.stack([root - across, root + across, root + lean], axis=1).reshape(-1, 3)
    normals = np.tile(np.array([0.0, 1.0, 0.0]), (3 * n, 1)) + rng.normal(0, 0.25, (n, 1, 3)).repeat(3, 1).reshape(
        -1, 3
    )
    light = np.stack([np.full(n, 0.25), np.full(n, 0.25), rng.uniform(0.7, 1.0, n)], axis=1).reshape(-1)
    kind = np.full(3 * n, MATERIALS.index("blade"))
    vertices = np.column_stack([points, normals, light, kind]).astype(np.float32)
    return Mesh(vertices, np.arange(3 * n, dtype=np.int32).reshape(-1, 3))
