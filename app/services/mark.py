"""Marks that people leave on subjects: tags to find them again, and who is to look at a slice."""

from __future__ import annotations

import re

from sqlalchemy.orm import Session

from app.errors import FieldError
from app.store.models import AuditRun, Finding, Tag, User
from app.store.repositories import accounts, marks, projects
from app.store.repositories.findings import SUBJECT

LONGEST_TAG = 40
_TAG = re.compile(r"[\w][\w .+/:#-]*")


def tag_slice(session: Session, run: AuditRun, finding: Finding, user: User, name: str) -> str:
    """Put a tag on a slice and return it as it is kept.

    Raises:
        FieldError: it is no tag.
    """
    checked = checked_tag(name)
    marks.add_tag(session, _tag(run, SUBJECT, run.id, finding.id, checked, user))
    return checked


def untag_slice(session: Session, run: AuditRun, finding: Finding, name: str) -> None:
    """Take a tag off a slice."""
    marks.remove_tag(session, SUBJECT, run.id, finding.id, _kept(name))


def tag_image(session: Session, run: AuditRun, row: int, user: User, name: str) -> str:
    """Put a tag on an image of the run's data set, for all runs on it, and return it as it is kept.

    Raises:
        FieldError: it is no tag.
    """
    checked = checked_tag(name)
    marks.add_tag(session, _tag(run, marks.IMAGE, run.dataset_id, row, checked, user))
    return checked


def untag_image(session: Session, run: AuditRun, row: int, name: str) -> None:
    """Take a tag off an image."""
    marks.remove_tag(session, marks.IMAGE, run.dataset_id, row, _kept(name))


def assign(session: Session, run: AuditRun, finding: Finding, email: str, by: User) -> User | None:
    """Give a slice to a member of the project, or to nobody where no address is given.

    Raises:
        FieldError: nobody in the project has this address, or that person may only read.
    """
    user = _assignee(session, run.project_id, email) if email.strip() else None
    marks.assign(session, SUBJECT, finding.id, user.id if user else None, by.id)
    detail = {"to": user.id if user else None}
    accounts.log(session, by.id, "slice_assigned", project_id=run.project_id, subject=(SUBJECT, finding.id), **detail)
    return user


def checked_tag(name: str) -> str:
    """Return a tag as it is kept: small letters, single spaces.

    Raises:
        FieldError: it is empty, too long, or holds other signs than words do.
    """
    kept = _kept(name)
    if not kept:
        raise FieldError("tag", "Write a tag, such as “night” or “to relabel”.")
    if len(kept) > LONGEST_TAG:
        raise FieldError("tag", f"A tag has at most {LONGEST_TAG} characters; this one has {len(kept)}.")
    if not _TAG.fullmatch(kept):
        raise FieldError(
            "tag", "A tag begins with a letter or digit and holds letters, digits, spaces and . + / : # -."
        )
    return kept


def _kept(name: str) -> str:
    return " ".join(name.split()).lower()


def _tag(run: AuditRun, subject_type: str, scope_id: int, subject_id: int, name: str, user: User) -> Tag:
    return Tag(
        project_id=run.project_id,
        subject_type=subject_type,
        scope_id=scope_id,
        subject_id=subject_id,
        name=name,
        user_id=user.id,
    )


def _assignee(session: Session, project_id: int, email: str) -> User:
    wanted = email.strip().casefold()
    found = next((m for m in projects.members(session, project_id) if m.user.email.casefold() == wanted), None)
    if found is None:
        raise FieldError("assignee", "Nobody in this project has this address. An owner can invite them.")
    if found.role == "viewer":
        raise FieldError("assignee", f"{found.user.name} may only read here. An owner can make them an analyst.")
    return found.user
