"""Which encoders there are, without loading one: what a request can be refused for before any work begins."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from app.errors import UserError
from app.settings import get_settings

BUNDLED = "scenes"
OPEN_CLIP = "open_clip:"
LOCAL = "local-dir:"
OF_THE_RUN = ("penultimate", "given")
"""Embeddings that come with the model or the data set."""
USUAL = f"{OPEN_CLIP}ViT-B-32/laion2b_s34b_b79k"
FORMS = f"{BUNDLED}, penultimate, given, {OPEN_CLIP}<model>/<pretrained> (as {USUAL}) or {LOCAL}<folder>"
LOCAL_FILES = ("open_clip_config.json", "open_clip_model.safetensors")
_TABLE = "_PRETRAINED"


def require_known(spec: str) -> None:
    """Look whether the encoder that `spec` names exists here.

    Raises:
        UserError: no such name, a folder outside the allowed roots, or one that holds no encoder.
    """
    if spec.startswith(LOCAL):
        allowed_folder(spec.removeprefix(LOCAL))
    elif spec.startswith(OPEN_CLIP):
        _require_pair(spec.removeprefix(OPEN_CLIP))
    elif spec not in {BUNDLED, *OF_THE_RUN}:
        raise UserError(f"There is no encoder “{spec}”. Use {FORMS}.")


def allowed_folder(text: str) -> Path:
    """Return the folder of a local open_clip model.

    Raises:
        UserError: it lies outside the import roots, or is no folder of an encoder in safetensors.
    """
    folder = Path(text).resolve()
    roots = [Path(root).resolve() for root in get_settings().import_roots if "://" not in root]
    if not any(folder.is_relative_to(root) for root in roots):
        allowed = ", ".join(map(str, roots)) or "none (FAULTLINE_IMPORT_ROOTS)"
        raise UserError(
            f"The folder “{text}” lies outside the import roots that the administrator configured: {allowed}."
        )
    missing = [name for name in LOCAL_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"The folder “{text}” is no encoder: it holds no {missing[0]}. It takes a folder that open_clip saved, "
            "with its configuration and safetensors; pickled weights are never loaded."
        )
    return folder


@lru_cache(maxsize=1)
def open_clip_pairs() -> frozenset[tuple[str, str]]:
    """All (model, pretrained) that the installed open_clip lists, read from its source: importing it brings torch.

    Empty where a release keeps its list in another form; then only loading the encoder tells.
    """
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        return frozenset()
    try:
        tree = ast.parse(Path(package.origin).with_name("pretrained.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return frozenset()
    assigned = [(node.targets[0], node.value) for node in tree.body if isinstance(node, ast.Assign)]
    values = {target.id: value for target, value in assigned if isinstance(target, ast.Name)}
    models = _entries(values.get(_TABLE), values)
    return frozenset(pair for name, tags in models.items() for pair in _pairs(name, _entries(tags, values)))


def _require_pair(text: str) -> None:
    name, _, pretrained = text.rpartition("/")
    pairs = open_clip_pairs()
    if not name or not pretrained or (pairs and (name, pretrained) not in pairs):
        names = [f"{OPEN_CLIP}{model}/{tag}" for model, tag in sorted(pairs)]
        near = dict.fromkeys([*difflib.get_close_matches(OPEN_CLIP + text, names, 2, 0.5), USUAL])
        raise UserError(f"open_clip lists no “{text}”. Write <model>/<pretrained>, such as {' or '.join(near)}.")


def _pairs(name: str, tags: Mapping[str, ast.expr]) -> list[tuple[str, str]]:
    """The pairs of one model; open_clip lists those with the quick activation a second time, under a longer name."""
    quick = [(f"{name}-quickgelu", tag) for tag, value in tags.items() if _is_quick(value)]
    return [*((name, tag) for tag in tags), *quick]


def _is_quick(value: ast.expr) -> bool:
    keywords = value.keywords if isinstance(value, ast.Call) else []
    return any(k.arg == "quick_gelu" and isinstance(k.value, ast.Constant) and k.value.value is True for k in keywords)


def _entries(value: ast.expr | None, values: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
    """Keys and values of `{…}`, `dict(…)` or a name that stands for one."""
    if isinstance(value, ast.Name):
        return _entries(values.get(value.id), values)
    if isinstance(value, ast.Call):
        return {keyword.arg: keyword.value for keyword in value.keywords if keyword.arg}
    if not isinstance(value, ast.Dict):
        return {}
    pairs = zip(value.keys, value.values, strict=True)
    return {str(key.value): entry for key, entry in pairs if isinstance(key, ast.Constant)}
