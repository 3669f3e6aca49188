"""What exporters write beside the weights: classes, normalisation, input size."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_MAX_TEXT = 4 * 2**20
_CLASS_KEYS = ("classes", "class_names", "labels", "names", "id2label", "idx_to_class", "class_to_idx", "label2id")
_SIZE_KEYS = ("input_size", "image_size", "imgsz", "size", "crop_size")
_ARCHITECTURE_KEYS = ("architecture", "arch", "model_name")


def read_metadata(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return what of `architecture`, `classes`, `size`, `mean`, `std`, `interpolation` the pairs settle.

    Values may be JSON, or text with commas or lines. What cannot be read is passed over: a person is asked for it.
    """
    values = {key.rpartition("/")[2].rpartition(".")[0] or key: _value(text) for key, text in pairs.items()}
    for nested in [value for value in values.values() if isinstance(value, dict)]:
        values = {**nested, **values}
    found = {
        "architecture": _first(values, _ARCHITECTURE_KEYS, _text),
        "classes": _first(values, _CLASS_KEYS, _names),
        "size": _first(values, _SIZE_KEYS, _size),
        "mean": _first(values, ("mean", "image_mean"), _numbers),
        "std": _first(values, ("std", "image_std"), _numbers),
        "interpolation": _first(values, ("interpolation",), _interpolation),
    }
    return {name: value for name, value in found.items() if value is not None}


def extra_files(path: Path) -> dict[str, str]:
    """The small text files that `torch.jit.save(…, _extra_files=…)` put in the archive, by name."""
    found: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            folder, _, name = info.filename.partition("/extra/")
            if name and "/" not in folder and info.file_size <= _MAX_TEXT:
                found[name] = archive.read(info).decode(errors="replace")
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _first(values: Mapping[str, Any], keys: tuple[str, ...], read: Callable[[Any], Any]) -> Any:
    return next((found for key in keys if key in values and (found := read(values[key])) is not None), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, dict):
        value = _ordered(value)
    if isinstance(value, str):
        value = value.splitlines() if "\n" in value else value.split(",")
    if not isinstance(value, list):
        return None
    names = tuple(str(name).strip() for name in value)
    return names if len(names) > 1 and all(names) and len(set(names)) == len(names) else None


def _ordered(table: dict[str, Any]) -> list[Any] | None:
    """Class names in order, from {"0": "cat"} or {"cat": 0}; None unless the indices are 0 … C − 1."""
    try:
        if all(isinstance(index, int) for index in table.values()):
            pairs = [(index, name) for name, index in table.items()]
        else:
            pairs = [(int(index), name) for index, name in table.items()]
    except ValueError:
        return None
    pairs.sort(key=lambda pair: pair[0])
    return [name for _, name in pairs] if [index for index, _ in pairs] == list(range(len(pairs))) else None


def _size(value: Any) -> tuple[int, int] | None:
    numbers = _numbers(value) or ()
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) not in (2, 3) or not all(number.is_integer() and 1 <= number <= 4096 for number in numbers[-2:]):
        return None
    return int(numbers[-2]), int(numbers[-1])


def _numbers(value: Any) -> tuple[float, ...] | None:
    if isinstance(value, str):
        value = value.strip("[]() ").replace(",", " ").split()
    items = value if isinstance(value, list) else [value]
    try:
        numbers = tuple(float(item) for item in items)
    except (TypeError, ValueError):
        return None
    return numbers if numbers and all(math.isfinite(number) for number in numbers) else None


def _interpolation(value: Any) -> str | None:
    name = str(value).lower().rpartition(".")[2]
    return name if name in ("nearest", "bilinear", "bicubic", "box", "lanczos") else None
