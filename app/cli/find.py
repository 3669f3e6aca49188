"""What a person means by a name or an id on the command line; where both could be meant, they are asked."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.errors import NotFound, UserError
from app.store.models import Dataset, Model, ModelVersion
from app.store.repositories import datasets, registry

BY_ID = "id:"


def find_version(session: Session, project_id: int, text: str) -> ModelVersion:
    """Return the model version that a person means by a name, an id (7 or id:7), or either with @number.

    Raises:
        NotFound: there is none.
        UserError: a name and an id could both be meant.
    """
    name, _, number = (text, "", "") if registry.model_by_name(session, project_id, text) else _parted(text)
    versions = registry.versions(session, _find_model(session, project_id, name).id)
    version = next((v for v in versions if number in {"", str(v.number)}), None)
    if version is None:
        raise NotFound(f"The model “{name}” has no version {number}.")
    return version


def find_dataset(session: Session, project_id: int, text: str) -> Dataset:
    """Return the data set that a person means by a name or an id (7 or id:7).

    Raises:
        NotFound: there is none.
        UserError: several could be meant.
    """
    named = [] if text.startswith(BY_ID) else list(datasets.named(session, project_id, text))
    by_id = datasets.get(session, int(_digits(text))) if _digits(text) else None
    if by_id is not None and by_id.project_id == project_id and by_id.id not in {one.id for one in named}:
        named.append(by_id)
    if not named:
        raise NotFound(f"There is no data set “{text}”. `faultline datasets list` lists them.")
    if len(named) > 1 and any(one.status not in datasets.GONE for one in named):
        raise UserError(_both("data set", text, [one.id for one in named]))
    return named[0]


def _find_model(session: Session, project_id: int, name: str) -> Model:
    named = None if name.startswith(BY_ID) else registry.model_by_name(session, project_id, name)
    by_id = registry.get_model(session, int(_digits(name))) if _digits(name) else None
    found = {model.id: model for model in (named, by_id) if model and model.project_id == project_id}
    if not found:
        raise NotFound(f"There is no model “{name}”. `faultline models list` lists them.")
    if len(found) > 1:
        raise UserError(_both("model", name, list(found)))
    return next(iter(found.values()))


def _parted(text: str) -> tuple[str, str, str]:
    return text.rpartition("@") if "@" in text else (text, "", "")


def _digits(text: str) -> str:
    """The id in the text, if it can be one."""
    bare = text.removeprefix(BY_ID)
    return bare if bare.isascii() and bare.isdigit() and len(bare) < 18 else ""


def _both(noun: str, text: str, ids: Sequence[int]) -> str:
    meant = " or ".join(f"{BY_ID}{one}" for one in sorted(ids))
    return f"“{text}” could mean more than one {noun}. Say which: {meant}."
