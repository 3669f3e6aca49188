"""Splits that a worker proposed of a slice: made from embeddings of fit images alone, kept until somebody takes one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.errors import Conflict, UserError
from app.services import ask
from app.services.membership import member_rows
from app.store.models import AuditRun, Finding, Query, User
from app.store.places import get_artifacts

PARTS = "parts"


def propose(session: Session, run: AuditRun, finding: Finding, user: User) -> Query:
    """Have a worker look for parts of a slice; it spends no confirm images.

    Raises:
        NotFound: its kind proposes no parts.
        Conflict: the slice is out of force.
    """
    if finding.retired:
        raise Conflict("This slice is out of force. Open its newest version first.")
    positions = (member_rows(run, finding) - ask.split_start(session, run)).tolist()
    return ask.ask(session, run, finding.kind, PARTS, {"rows": positions, "finding_id": finding.id}, user)


def proposed_parts(finding: Finding, query: Query | None, parts: int) -> NDArray[np.int64]:
    """Return the part of each of the slice's rows, in the order of the rows: int64 [m] in 0 … parts − 1.

    Raises:
        UserError: the proposal is not of this slice, or holds no split into so many parts.
    """
    if query is None or not _is_of(query, finding):
        raise UserError("This proposal belongs to another slice. Have parts of this one proposed.")
    if parts not in query.result.get("counts", []):
        raise UserError(f"The proposal holds no split into {parts} parts.")
    labels = np.load(get_artifacts().local(query.result["arrays_key"]) / f"labels_{parts}.npy")
    return np.asarray(labels, np.int64)


def _is_of(query: Query, finding: Finding) -> bool:
    same_run = query.run_id == finding.run_id and query.action == PARTS
    return same_run and query.payload.get("finding_id") == finding.id
