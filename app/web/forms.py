"""What was typed into a form, and what is wrong with it; a page shown again after an error loses neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import FormData

from app.errors import FaultlineError, FieldError

_LOOK_BELOW = "Something below needs another look; all that you typed is still there."


class Form(BaseModel):
    """The state of a page's form."""

    values: dict[str, list[str]] = Field(default_factory=dict, description="What was typed, by field.")
    errors: dict[str, str] = Field(default_factory=dict, description="What is wrong, by field.")
    message: str = Field("", description="What is wrong with the form as a whole.")
    begun: bool = Field(False, description="Values were put in by an address, not typed: other fields keep defaults.")
    files: dict[str, list[tuple[str, str]]] = Field(
        default_factory=dict, description="Uploads that arrived already, by field: token and file name."
    )

    @classmethod
    def typed(cls, sent: FormData, error: FaultlineError | None = None, secret: Iterable[str] = ("password",)) -> Self:
        """Return the form as it was sent, with what is wrong with it; passwords are not sent back."""
        hidden = {"csrf", *secret}
        values: dict[str, list[str]] = {}
        for name, value in sent.multi_items():
            if isinstance(value, str) and name not in hidden:
                values.setdefault(name, []).append(value)
        form = cls(values=values)
        if error is not None:
            form._mark(error, set(sent))
        return form

    def _mark(self, error: FaultlineError, known: set[str]) -> None:
        """Put the error beside its field, or above the form where the form has no such field."""
        name = error.field if isinstance(error, FieldError) else ""
        beside = next((field for field in (name, name.rpartition(".")[2]) if field in known), "")
        if beside:
            self.errors[beside] = error.message
        self.message = _LOOK_BELOW if beside else error.message

    def value(self, name: str, default: object = "") -> str:
        """Return what was typed into a field, or its default."""
        typed = self.values.get(name)
        return typed[-1] if typed else ("" if default is None else str(default))

    def checked(self, name: str, value: str, default: bool = False) -> bool:
        """Whether a box is ticked; the default holds only while nothing was sent."""
        unsent = not self.values or (self.begun and name not in self.values)
        return default if unsent else value in self.values.get(name, [])

    def error(self, name: str) -> str:
        """Return what is wrong with a field."""
        return self.errors.get(name, "")

    def uploads(self, name: str) -> list[tuple[str, str]]:
        """Return the files that need not be chosen again: token and name."""
        return self.files.get(name, [])


def text(sent: FormData, name: str, default: str = "") -> str:
    """Return a field's text, stripped."""
    value = sent.get(name, default)
    return value.strip() if isinstance(value, str) else default


def texts(sent: FormData, name: str) -> list[str]:
    """Return all texts sent under a name, empty ones left out."""
    return [value for value in sent.getlist(name) if isinstance(value, str) and value]


def read_as(model: type[BaseModel], raw: Mapping[str, Any], prefix: str = "") -> BaseModel:
    """Validate `raw` as `model`.

    Raises:
        FieldError: on the first wrong field, named as in the form, in the model's words.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FieldError(prefix + place, first["msg"].removeprefix("Value error, ") + ".") from error
