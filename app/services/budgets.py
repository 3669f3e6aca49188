"""One budget for every kind that has budgets, and one parameter after another as a terminal takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from app.audits import kind as kind_named
from app.audits import kinds
from app.errors import FieldError

Params = dict[str, dict[str, Any]]
FIELD = "budget"


def budgets() -> list[str]:
    """Return the budgets that kinds know, the cheapest first."""
    found = [_choices(kind.params.model_fields[FIELD].annotation) for kind in kinds().values() if has_budget(kind.name)]
    return list(dict.fromkeys(name for names in found for name in names))


def has_budget(name: str) -> bool:
    """Whether the kind of that name has budgets."""
    return FIELD in kind_named(name).params.model_fields


def with_budget(params: Mapping[str, Mapping[str, Any]], chosen: Sequence[str], budget: str) -> Params:
    """Return parameters by kind in which every chosen kind that has budgets has this one; empty changes nothing."""
    found = {name: dict(own) for name, own in params.items()}
    for name in chosen if budget else ():
        if has_budget(name):
            found.setdefault(name, {})[FIELD] = budget
    return found


def with_settings(params: Mapping[str, Mapping[str, Any]], settings: Sequence[str]) -> Params:
    """Return parameters by kind with settings such as `attacks.budget=quick` in them; a list is separated by commas.

    Raises:
        FieldError: a setting has another form, or names no kind.
    """
    found = {name: dict(own) for name, own in params.items()}
    for setting in settings:
        place, equals, text = setting.partition("=")
        kind, dot, field = place.strip().partition(".")
        if not (equals and dot and field):
            raise FieldError("set", f"“{setting}” is no setting. Write it like attacks.budget=quick.")
        found.setdefault(kind, {})[field] = _value(kind, field, text.strip())
    return found


def _value(kind: str, field: str, text: str) -> Any:
    info = kind_named(kind).params.model_fields.get(field)
    if info is not None and get_origin(info.annotation) in (list, tuple, set) and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _choices(annotation: Any) -> tuple[str, ...]:
    return tuple(str(option) for option in get_args(annotation))
