"""Decisions about model versions: approved for use, or retired. Each is kept with who, when and why."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.errors import Conflict, FieldError
from app.store.models import Model, ModelVersion, User, VersionDecision
from app.store.repositories import accounts, decisions

DECISIONS = ("approved", "retired")
LONGEST_NOTE = 2_000


def decide(
    session: Session, model: Model, version: ModelVersion, user: User, decision: str, note: str
) -> VersionDecision:
    """Approve or retire a version.

    Raises:
        FieldError: the decision is neither, the note is too long, or a retirement gives no reason.
        Conflict: the version has not passed its check, or the decision stands already.
    """
    if decision not in DECISIONS:
        raise FieldError("decision", f"A version is {' or '.join(DECISIONS)}, not “{decision}”.")
    checked = _checked_note(decision, note)
    if decision == "approved" and version.status != "succeeded":
        raise Conflict("Only a version that passed its check can be approved.")
    standing = decisions.standing(session, [version.id]).get(version.id)
    if standing and standing.decision == decision:
        raise Conflict(f"This version is {decision} already.")
    made = VersionDecision(version_id=version.id, decision=decision, note=checked, user_id=user.id)
    subject = ("model_version", version.id)
    accounts.log(session, user.id, f"version_{decision}", project_id=model.project_id, subject=subject)
    return decisions.add(session, made)


def retired_note(session: Session, version: ModelVersion) -> str:
    """Return what a person should know before they audit a retired version; empty for any other."""
    standing = decisions.standing(session, [version.id]).get(version.id)
    if standing is None or standing.decision != "retired":
        return ""
    return f"This version was retired on {standing.created_at:%Y-%m-%d}: {standing.note} You can audit it all the same."


def _checked_note(decision: str, note: str) -> str:
    text = note.strip()
    if decision == "retired" and not text:
        raise FieldError("note", "Say why it is retired, such as “replaced by version 3”.")
    if len(text) > LONGEST_NOTE:
        raise FieldError("note", f"A note has at most {LONGEST_NOTE:,} characters; this one has {len(text):,}.")
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
