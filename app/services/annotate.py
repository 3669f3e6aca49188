"""What people say of findings: verdicts, remarks, and slices that they rename, merge, split or save.

No set of images is ever changed: a new finding is made, and the old one stays readable under its link.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from app.errors import Conflict, FieldError, UserError
from app.numerics.agreement import cohens_kappa
from app.services.membership import member_rows
from app.services.new_slice import new_slice
from app.services.parts import proposed_parts
from app.store.models import AuditRun, Comment, Finding, Query, User
from app.store.repositories import findings, marks
from app.store.repositories.findings import SUBJECT, Judgement

VERDICTS = ("accept", "reject", "unsure")
LONGEST_TITLE = 200
LONGEST_REMARK = 5_000
_SAME = ("run_id", "kind", "subject", "key", "method", "class_index", "rank", "evidence", "origin", "metrics")
_COPIED = (*_SAME, "rows_key", "rows_hash")


class Agreement(NamedTuple):
    """How far two reviewers agree beyond chance on the findings that both judged."""

    first: str
    second: str
    n: int
    agreed: int
    kappa: float | None
    low: float
    high: float


def judge(session: Session, finding: Finding, user: User, verdict: str) -> None:
    """Record a person's verdict; their newest counts.

    Raises:
        FieldError: it is none of the three verdicts.
    """
    if verdict not in VERDICTS:
        raise FieldError("verdict", f"A verdict is {', '.join(VERDICTS[:-1])} or {VERDICTS[-1]}, not “{verdict}”.")
    findings.add_verdict(session, SUBJECT, finding.id, user.id, verdict)


def remark(session: Session, finding: Finding, user: User, text: str) -> Comment:
    """Add a comment.

    Raises:
        FieldError: it is empty or too long.
    """
    if not text.strip():
        raise FieldError("text", "Write something first.")
    if len(text) > LONGEST_REMARK:
        raise FieldError("text", f"A comment has at most {LONGEST_REMARK:,} characters; this one has {len(text):,}.")
    return findings.add_comment(session, SUBJECT, finding.id, user.id, text.strip())


def rename(session: Session, finding: Finding, user: User, title: str) -> Finding:
    """Give a slice a new name: a new version with the same images, numbers, verdicts and remarks.

    Raises:
        FieldError: the name is empty or too long.
        Conflict: the slice is out of force.
    """
    _require_in_force(finding)
    copied = {name: getattr(finding, name) for name in _COPIED}
    renamed = Finding(
        **copied,
        title=_title(title),
        version=finding.version + 1,
        parents=[finding.id],
        created_by=user.id,
    )
    findings.retire(session, [finding.id])
    findings.add(session, renamed)
    findings.carry(session, SUBJECT, finding.id, renamed.id)
    marks.hand_on(session, finding.id, renamed.id)
    return renamed


def merge(session: Session, run: AuditRun, parts: Sequence[Finding], user: User, title: str = "") -> Finding:
    """Make one slice of several; it is measured anew on confirm rows.

    Raises:
        UserError: fewer than two slices.
        Conflict: one of them is out of force.
    """
    if len({part.id for part in parts}) < 2:
        raise UserError("Choose another slice to merge with.")
    for part in parts:
        _require_in_force(part)
    rows = np.concatenate([member_rows(run, part) for part in parts])
    named = title.strip() or " + ".join(part.title for part in parts)[:LONGEST_TITLE]
    made = new_slice(session, run, rows, user, named, "merge", parts)
    findings.retire(session, [part.id for part in parts])
    return made


def split(session: Session, run: AuditRun, finding: Finding, user: User, picked: Iterable[int]) -> list[Finding]:
    """Part a slice into the picked images and the others; both parts are measured anew.

    Raises:
        UserError: the picked images are none, or all, of the slice's.
        Conflict: the slice is out of force.
    """
    _require_in_force(finding)
    whole = member_rows(run, finding)
    inside = np.intersect1d(whole, np.fromiter(picked, np.int64))
    outside = np.setdiff1d(whole, inside)
    if not len(inside) or not len(outside):
        raise UserError("Pick some of the slice's images, and leave some: the picked ones become a slice of their own.")
    names = (f"{finding.title}: picked"[:LONGEST_TITLE], f"{finding.title}: others"[:LONGEST_TITLE])
    parts = (inside, outside)
    made = [
        new_slice(session, run, rows, user, name, "split", [finding]) for rows, name in zip(parts, names, strict=True)
    ]
    findings.retire(session, [finding.id])
    return made


def extend(session: Session, run: AuditRun, finding: Finding, user: User, rows: Iterable[int]) -> Finding:
    """Add images to a slice: a new version, measured anew.

    Raises:
        UserError: all of them are in it already.
        Conflict: the slice is out of force.
    """
    _require_in_force(finding)
    before = member_rows(run, finding)
    after = np.union1d(before, np.fromiter(rows, np.int64))
    if len(after) == len(before):
        raise UserError("This image is in the slice already.")
    made = new_slice(session, run, after, user, finding.title, "extend", [finding])
    findings.retire(session, [finding.id])
    marks.hand_on(session, finding.id, made.id)
    return made


def save_slice(
    session: Session, run: AuditRun, kind: str, rows: Iterable[int], user: User, title: str, origin: str
) -> Finding:
    """Keep picked images as a slice, which is then measured on confirm rows.

    Raises:
        UserError: no image, too many, or one that the run did not audit.
        FieldError: no name.
    """
    return new_slice(session, run, np.fromiter(rows, np.int64), user, _title(title), origin, [], kind=kind)


def split_by_parts(
    session: Session, run: AuditRun, finding: Finding, user: User, query: Query | None, parts: int
) -> list[Finding]:
    """Part a slice as a worker proposed it from fit images; each part is measured anew.

    Raises:
        UserError: the proposal is not of this slice, or holds no split into so many parts.
        Conflict: the slice is out of force.
    """
    _require_in_force(finding)
    labels = proposed_parts(finding, query, parts)
    whole = member_rows(run, finding)
    made = [
        new_slice(session, run, whole[labels == part], user, _part_title(finding, part, parts), "parts", [finding])
        for part in range(parts)
    ]
    findings.retire(session, [finding.id])
    return made


def agreement(session: Session, run_id: int) -> Agreement | None:
    """Return the agreement of the two reviewers who judged the most findings of a run together; none before that."""
    judged = findings.judgements_of_run(session, run_id)
    pair = _busiest_pair(judged)
    if pair is None:
        return None
    names = {entry.user_id: entry.user for entry in judged}
    said = [{entry.subject_id: entry.verdict for entry in judged if entry.user_id == user} for user in pair]
    shared = sorted(said[0].keys() & said[1].keys())
    first, second = ([verdicts[subject] for subject in shared] for verdicts in said)
    result = cohens_kappa(np.array(first), np.array(second))
    agreed = sum(a == b for a, b in zip(first, second, strict=True))
    kappa = None if np.isnan(result.kappa) else result.kappa
    return Agreement(names[pair[0]], names[pair[1]], len(shared), agreed, kappa, result.low, result.high)


def _busiest_pair(judged: Sequence[Judgement]) -> tuple[int, int] | None:
    by_subject: dict[int, list[int]] = {}
    for entry in judged:
        by_subject.setdefault(entry.subject_id, []).append(entry.user_id)
    pairs = Counter(
        (min(a, b), max(a, b)) for users in by_subject.values() for i, a in enumerate(users) for b in users[i + 1 :]
    )
    return max(pairs, key=lambda pair: (pairs[pair], pair)) if pairs else None


def _part_title(finding: Finding, part: int, parts: int) -> str:
    tail = f", part {part + 1} of {parts}"
    return finding.title[: LONGEST_TITLE - len(tail)] + tail


def _title(title: str) -> str:
    if not title.strip():
        raise FieldError("title", "Give it a name in words, such as “white cats on grass”.")
    if len(title.strip()) > LONGEST_TITLE:
        raise FieldError("title", f"A name has at most {LONGEST_TITLE} characters; this one has {len(title.strip())}.")
    return title.strip()


def _require_in_force(finding: Finding) -> None:
    if finding.retired:
        raise Conflict("Somebody has renamed, merged or split this slice meanwhile. Open its newest version first.")
