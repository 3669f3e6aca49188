"""A form for any pydantic model: how a kind's parameters are asked for without the page knowing the kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo
from starlette.datastructures import FormData

from app.audits.splits import CHOICE
from app.errors import FieldError
from app.web.forms import text, texts

Control = Literal["number", "text", "check", "choice", "choices", "lines", "json", "split"]
"""split: one of the project's data sets and splits."""


class FormField(BaseModel):
    """One field of a generic form."""

    name: str = Field(description="Name in the form: <prefix>.<field>.")
    label: str
    help: str
    control: Control
    default: str = Field(description="The default as the control shows it.")
    defaults: list[str] = Field(default_factory=list, description="What is ticked by default, of `choices`.")
    options: list[str] = Field(default_factory=list)
    step: str = Field("", description="Step of a number: 1, or any.")


def form_fields(model: type[BaseModel], prefix: str) -> list[FormField]:
    """Return the fields of `model` as controls."""
    return [_field(f"{prefix}.{name}", name, info) for name, info in model.model_fields.items()]


def read_fields(model: type[BaseModel], prefix: str, sent: FormData) -> dict[str, Any]:
    """Return what was sent for `model`, ready to be validated; fields left empty keep their defaults.

    Raises:
        FieldError: a field that takes JSON holds none.
    """
    found = {}
    for name, info in model.model_fields.items():
        value = _read(f"{prefix}.{name}", info, sent)
        if value is not None:
            found[name] = value
    return found


def _field(full: str, name: str, info: FieldInfo) -> FormField:
    control, options = _control(info.annotation)
    if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.items() >= CHOICE.items():
        control = "split"
    default = info.get_default(call_default_factory=True, validated_data={})
    listed = [str(entry) for entry in default] if isinstance(default, list) else []
    return FormField(
        name=full,
        label=info.title or name.replace("_", " ").capitalize(),
        help=info.description or "",
        control=control,
        default=_shown(control, default),
        defaults=listed if control == "choices" else ["on"] if default is True else [],
        options=options,
        step="1" if info.annotation is int else "any",
    )


def _control(annotation: Any) -> tuple[Control, list[str]]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _control(next(part for part in inner if part is not type(None)))
    if origin is Literal:
        return "choice", [str(option) for option in inner]
    if origin in (list, tuple, set):
        kind, options = _control(inner[0])
        return ("choices", options) if kind == "choice" else ("lines", [])
    simple: dict[Any, Control] = {bool: "check", int: "number", float: "number", str: "text"}
    return simple.get(annotation, "json"), []


def _shown(control: Control, default: Any) -> str:
    if default is None:
        return ""
    if control == "lines":
        return "\n".join(str(entry) for entry in default)
    if control == "json":
        return json.dumps(default, ensure_ascii=False, indent=2) if default else ""
    return str(default)


def _read(full: str, info: FieldInfo, sent: FormData) -> Any:
    control, _ = _control(info.annotation)
    if control == "check":
        return bool(texts(sent, full))
    if control == "choices":
        return texts(sent, full)
    value = text(sent, full)
    if control == "lines":
        return [line.strip() for line in value.splitlines() if line.strip()]
    if not value:
        return None
    return _json(full, value) if control == "json" else value


def _json(full: str, value: str) -> Mapping[str, Any]:
    try:
        return dict(json.loads(value))
    except (ValueError, TypeError) as error:
        raise FieldError(full, f"This is not a JSON object: {error}.") from error
