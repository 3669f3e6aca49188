"""Pictures of scenes, drawn off screen with OpenGL (EGL; Mesa's software rasteriser is enough)."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import moderngl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.scenes.camera import camera_position, shadow_matrix, sun_direction, view_matrix
from app.scenes.looks import WALLS, gloss_of, glow_of, light_of, palette_of
from app.scenes.placement import Placed, lamp_side, mesh_of, place
from app.scenes.spec import LIGHTS, SETTINGS, Scene

_SHADERS: Final = Path(__file__).parent / "shaders"
_SHADOW_SIZE: Final = 320
_OVERSAMPLING: Final = 2


def _source(name: str, *, common: bool = False) -> str:
    head = (_SHADERS / "common.glsl").read_text() if common else ""
    return head + (_SHADERS / name).read_text()


class Renderer:
    """Draws scenes of one picture size (pixels a side). Use it as a context manager; it is not safe across threads.

    Raises moderngl's error where the machine offers no EGL device.
    """

    def __init__(self, size: int = 112) -> None:
        self.size = size
        self._gl = moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]  # their stub is wrong
        wide = size * _OVERSAMPLING
        self._canvas = self._gl.framebuffer(
            [self._gl.texture((wide, wide), 3)], self._gl.depth_renderbuffer((wide, wide))
        )
        self._shadow = self._gl.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self._shadow.compare_func = ""
        self._shadow_canvas = self._gl.framebuffer(depth_attachment=self._shadow)
        self._programs = {
            "backdrop": self._program("backdrop.vert", "backdrop.frag"),
            "model": self._program("model.vert", "model.frag"),
            "shadow": self._gl.program(_source("shadow.vert"), _source("shadow.frag")),
        }
        corners = np.array([[-1, -1], [3, -1], [-1, 3]], dtype=np.float32)
        self._backdrop = self._gl.vertex_array(self._programs["backdrop"], self._gl.buffer(corners), "corner")
        self._models: dict[tuple[str, int], tuple[moderngl.VertexArray, moderngl.VertexArray]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gl.release()

    def render(self, scene: Scene) -> NDArray[np.uint8]:
        """The picture of a scene, (size, size, 3) uint8 sRGB; the same scene gives the same picture."""
        rng = np.random.default_rng(scene.texture_seed)
        placed = place(scene, rng)
        uniforms = _uniforms(scene, placed, rng)
        for program in self._programs.values():
            _set(program, uniforms)
        self._draw_shadows(placed)
        self._draw_colours(placed)
        wide = self.size * _OVERSAMPLING
        pixels = np.frombuffer(self._canvas.read(components=3, alignment=1), dtype=np.uint8)
        picture = Image.fromarray(pixels.reshape(wide, wide, 3)[::-1])
        return np.asarray(picture.reduce(_OVERSAMPLING))

    def _program(self, vertex: str, fragment: str) -> moderngl.Program:
        return self._gl.program(_source(vertex), _source(fragment, common=True))

    def _draw_shadows(self, placed: list[Placed]) -> None:
        self._shadow_canvas.use()
        self._shadow_canvas.clear()
        self._gl.enable_only(moderngl.DEPTH_TEST)
        for item in placed:
            if item.casts_shadow:
                _set(self._programs["shadow"], {"model": item.matrix.T.tobytes()})
                self._arrays(item)[1].render()

    def _draw_colours(self, placed: list[Placed]) -> None:
        self._canvas.use()
        self._canvas.clear()
        self._shadow.use(0)
        self._gl.enable_only(moderngl.NOTHING)
        self._backdrop.render()
        self._gl.enable_only(moderngl.DEPTH_TEST)
        for item in placed:
            _set(self._programs["model"], {"model": item.matrix.T.tobytes()})
            self._arrays(item)[0].render()

    def _arrays(self, item: Placed) -> tuple[moderngl.VertexArray, moderngl.VertexArray]:
        key = (item.model, item.variant)
        if key not in self._models:
            mesh = mesh_of(*key)
            points, order = self._gl.buffer(mesh.vertices), self._gl.buffer(mesh.triangles)
            layout = [(points, "3f 3f 1f 1f", "position", "normal", "ambient", "material")]
            seen = self._gl.vertex_array(self._programs["model"], layout, index_buffer=order)
            cast = self._gl.vertex_array(self._programs["shadow"], [(points, "3f 20x", "position")], index_buffer=order)
            self._models[key] = (seen, cast)
        return self._models[key]


def _set(program: moderngl.Program, values: dict[str, Any]) -> None:
    for name, value in values.items():
        uniform = program.get(name, None)
        if isinstance(uniform, moderngl.Uniform):
            if isinstance(value, bytes):
                uniform.write(value)
            else:
                uniform.value = value


def _uniforms(scene: Scene, placed: list[Placed], rng: np.random.Generator) -> dict[str, Any]:
    light, factors = light_of(scene), scene.factors
    x, z = scene.position
    lamp = np.array([0.95 * lamp_side(scene) + x, 2.0, 1.1 + z])
    key = sun_direction(scene)
    if factors.light == "night":
        key = (lamp - [x, 0.5, z]) / np.linalg.norm(lamp - [x, 0.5, z])
    view = view_matrix(scene)
    foggy = factors.weather == "fog"
    body = mesh_of(placed[0].model, placed[0].variant).vertices
    return {
        "key_dir": tuple(key),
        "key_colour": light.key,
        "sky_light": light.sky,
        "ground_light": light.ground,
        "lamp_pos": tuple(lamp),
        "lamp_colour": light.lamp,
        "haze_colour": light.fog if foggy else light.horizon,
        "haze": (0.075 if foggy else 0.008) * (0.6 if factors.setting == "indoors" else 1.0),
        "eye": tuple(camera_position(scene)),
        "grain": float(rng.uniform(0, 1000)),
        "shadow_matrix": shadow_matrix(key).T.astype(np.float32).tobytes(),
        "shadow_map": 0,
        "view": view.T.astype(np.float32).tobytes(),
        "inverse_view": np.linalg.inv(view).T.astype(np.float32).tobytes(),
        "setting": SETTINGS.index(factors.setting),
        "hour": LIGHTS.index(factors.light),
        "zenith": light.zenith,
        "horizon": light.horizon,
        "paint": WALLS[int(rng.integers(len(WALLS)))],
        "footprint": (x, z, float(scene.scale * np.abs(body[:, :3]).max(axis=0)[[0, 2]].mean())),
        "palette": _padded(palette_of(scene, rng)),
        "gloss": _padded(gloss_of()),
        "glow": _padded(glow_of(scene)),
    }


def _padded(rows: NDArray[np.float32]) -> bytes:
    """The rows, filled with zeros to the 24 that the shader declares."""
    return np.concatenate([rows, np.zeros((24 - len(rows), *rows.shape[1:]), dtype=np.float32)]).tobytes()
