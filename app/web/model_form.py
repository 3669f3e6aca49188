"""Reads the form of a new model version."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import FormData

from app.errors import FieldError, UserError
from app.loaders.models.recipe import Recipe, read_recipe
from app.services.register_model import Claim, ModelRequest
from app.web.forms import read_as, text

_NUMBERS = {"mean", "std"}
_CHOICES = ("resize", "crop", "interpolation", "colour_order")


def model_request(sent: FormData, model_id: int | None) -> ModelRequest:
    """Return what a form asks for; fields left empty are left to the file.

    Raises:
        FieldError: a field is not what it should be.
    """
    raw = {
        "model_id": model_id,
        "name": text(sent, "name"),
        "description": text(sent, "description"),
        "format": text(sent, "format") or "auto",
        "architecture": text(sent, "architecture"),
        "preprocessing": _preprocessing(sent),
        "classes": [line.strip() for line in text(sent, "classes").splitlines() if line.strip()],
        "outputs": text(sent, "outputs"),
        "claim": _claim(sent),
    }
    request = read_as(ModelRequest, raw)
    assert isinstance(request, ModelRequest)
    return request


def _preprocessing(sent: FormData) -> dict[str, Any]:
    stated: dict[str, Any] = {name: text(sent, name) for name in _CHOICES if text(sent, name)}
    height, width = (_whole(sent, name) for name in ("height", "width"))
    if height or width:
        stated["size"] = [height or width, width or height]
    for name in ("channels", "scale", "resize_to"):
        if (value := _whole(sent, name)) is not None:
            stated[name] = value
    for name in _NUMBERS:
        if text(sent, name):
            stated[name] = _numbers(text(sent, name), name)
    return stated


def _claim(sent: FormData) -> Claim:
    accuracy = text(sent, "accuracy").removesuffix("%").strip().replace(",", ".")
    dataset, _, split = text(sent, "claimed_on").partition("/")
    train_dataset, _, train_split = text(sent, "trained_on").partition("/")
    return Claim(
        accuracy=_share(accuracy) if accuracy else None,
        dataset_id=int(dataset) if dataset.isdigit() else None,
        split=split,
        train_dataset_id=int(train_dataset) if train_dataset.isdigit() else None,
        train_split=train_split,
        recipe=_recipe(text(sent, "recipe")),
    )


def _recipe(written: str) -> Recipe | None:
    if not written:
        return None
    try:
        return read_recipe(written)
    except UserError as error:
        raise FieldError("recipe", error.message) from error


def _share(accuracy: str) -> float:
    try:
        value = float(accuracy)
    except ValueError:
        raise FieldError("accuracy", f"“{accuracy}” is not a number; write 93.5 for 93.5 %.") from None
    value = value if value <= 1 else value / 100
    if not 0 <= value <= 1:
        raise FieldError("accuracy", "An accuracy lies between 0 and 100 %.")
    return value


def _whole(sent: FormData, name: str) -> int | None:
    value = text(sent, name)
    if not value:
        return None
    if not value.isdigit():
        raise FieldError(name, f"“{value}” is not a whole number.")
    return int(value)


def _numbers(value: str, name: str) -> list[float]:
    try:
        return [float(part) for part in value.replace(",", " ").split()]
    except ValueError:
        raise FieldError(name, f"“{value}” is not a list of numbers; write 0.485, 0.456, 0.406.") from None
