"""Look at an uploaded model and say what it is and what must still be asked; called in the sandboxed child."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.loaders.models.sniff import sniff
from app.loaders.models.spec import Inspection, Preprocessing, Question

_SMALL = 64
_GRAPHS = ("torchscript", "export", "onnx")


def inspect_file(payload: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return an `Inspection` as JSON.

    `payload`: `file` (absolute path), and optionally `architecture` (a name that the person gave, for suggestions).

    Raises:
        UserError: a pickle, an empty or damaged file, or none of the formats.
    """
    path = Path(payload["file"])
    kind = sniff(path)
    progress({"stage": f"reading {kind}"})
    table = kind in ("csv", "parquet")
    inspection = _of_table(path) if table else _of_network(path, kind, payload.get("architecture"))
    return inspection.model_dump(mode="json")


def _of_table(path: Path) -> Inspection:
    from app.loaders.models.table import read_columns  # noqa: PLC0415 - pyarrow, for tables only

    columns = read_columns(path)
    classes = columns.classes
    return Inspection(
        format="predictions",
        classes=classes,
        n_outputs=len(classes) or None,
        penultimate=False,
        questions=() if classes else (_classes_question(None),),
    )


def _of_network(path: Path, kind: str, named: str | None) -> Inspection:
    from app.loaders.models.defaults import usual_preprocessing  # noqa: PLC0415 - imports torch
    from app.loaders.models.facts import READERS  # noqa: PLC0415

    facts = READERS[kind](path)
    stored = facts.get("metadata", {})
    architectures = facts.get("architectures", ())
    architecture = named or stored.get("architecture") or (architectures[0] if architectures else None)
    usual = usual_preprocessing(architecture) if isinstance(architecture, str) else {}
    settled = _settled(stored, facts.get("sizes", ()), facts.get("channels"))
    count, classes = facts.get("n_outputs"), stored.get("classes", ())
    return Inspection.model_validate(
        {
            "format": kind,
            "architecture": architecture if kind == "safetensors" else None,
            "architectures": architectures,
            "preprocessing": settled,
            "classes": classes,
            "n_outputs": count,
            "n_parameters": facts.get("n_parameters"),
            "penultimate": facts.get("penultimate", True),
            "fixed_batch": facts.get("fixed_batch"),
            "warnings": _warnings(kind, facts, classes, count),
            "questions": _questions(kind, architecture, settled, usual, facts.get("sizes", ()), count, classes),
        }
    )


def _settled(stored: dict[str, Any], sizes: tuple[tuple[int, int], ...], channels: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {name: stored[name] for name in ("size", "mean", "std", "interpolation") if name in stored}
    if len(sizes) == 1:
        fields["size"] = sizes[0]
    if channels is not None:
        fields["channels"] = channels
    return fields


def _warnings(kind: str, facts: Any, classes: tuple[str, ...], count: int | None) -> list[str]:
    warnings = []
    if kind in _GRAPHS and not facts.get("penultimate", True):
        warnings.append("No linear layer was found at the end: penultimate features cannot be read.")
    if kind in _GRAPHS and count is None:
        unknown = "The network runs at none of the usual input sizes: say which one it takes."
        warnings.append(facts.get("bad_output", unknown))
    if classes and count is not None and len(classes) != count:
        warnings.append(f"The file names {len(classes)} classes, but the network has {count} outputs.")
    if (batch := facts.get("fixed_batch")) is not None:
        warnings.append(f"The graph takes batches of {batch} only; the last one is filled up.")
    return warnings


def _questions(
    kind: str,
    architecture: str | None,
    settled: dict[str, Any],
    usual: dict[str, Any],
    sizes: tuple[tuple[int, int], ...],
    count: int | None,
    classes: tuple[str, ...],
) -> list[Question]:
    asked = []
    if kind == "safetensors" and architecture is None:
        asked.append(Question(field="architecture", text="Which architecture do these weights belong to?"))
    if not classes:
        asked.append(_classes_question(count))
    suggested = _suggestions(settled, usual, sizes)
    for name, text in _TEXTS.items():
        if name not in settled and not (name == "resize_to" and suggested["resize"] != "shorter"):
            asked.append(Question(field=f"preprocessing.{name}", text=text, suggestion=suggested[name]))
    return asked


def _suggestions(settled: dict[str, Any], usual: dict[str, Any], sizes: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """What to put into the form: the architecture's own, else what small, grey and other networks mostly take."""
    fields = {name: Preprocessing.model_fields[name].get_default() for name in _TEXTS}
    fields["size"] = settled.get("size") or usual.get("size") or (sizes[0] if sizes else fields["size"])
    if max(fields["size"]) <= _SMALL:
        fields |= {"resize": "stretch", "crop": "none"}
    if settled.get("channels") == 1:
        fields |= {"mean": (0.0,), "std": (1.0,)}
        usual = {name: value for name, value in usual.items() if name not in ("mean", "std")}
    return fields | usual


_TEXTS = {
    "size": "How large are the images that the network takes (height, width)?",
    "resize": "How are images resized before that?",
    "crop": "Which part is taken after resizing?",
    "resize_to": "To how many pixels is the shorter side resized before the crop?",
    "mean": "Which mean was subtracted in training, per channel?",
    "std": "By which standard deviation was divided in training, per channel?",
}


def _classes_question(count: int | None) -> Question:
    how_many = f"all {count} classes" if count else "the classes"
    return Question(field="classes", text=f"Name {how_many}, in the order of the network's outputs.")
