"""Makes a slice of rows that people chose; a worker then measures it on confirm rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy.orm import Session

from app.errors import UserError
from app.services import ask
from app.services.membership import Rows, scores_of, store_rows
from app.store.models import AuditRun, Finding, User
from app.store.repositories import findings


def new_slice(
    session: Session,
    run: AuditRun,
    rows: Rows,
    user: User,
    title: str,
    origin: str,
    parents: Sequence[Finding],
    kind: str = "",
) -> Finding:
    """Store a slice of data set rows and have it measured; its class is the one that all its images share.

    Raises:
        UserError: no row, too many, or one that the run did not audit.
    """
    labels = _labels(run, np.unique(rows))
    key, digest, unique = store_rows(rows.tolist())
    number = findings.count(session, run.id, retired=True, origin=origin) + 1
    made = Finding(
        run_id=run.id,
        kind=kind or parents[0].kind,
        subject="slice",
        key=f"{origin}-{number}",
        method="people",
        class_index=labels.pop() if len(labels) == 1 else None,
        rank=min((parent.rank for parent in parents), default=0),
        title=title,
        evidence="insufficient",
        origin=origin,
        parents=[parent.id for parent in parents],
        metrics={},
        rows_key=key,
        rows_hash=digest,
        created_by=user.id,
    )
    findings.add(session, made)
    ask.remeasure(session, run, made, unique, user)
    return made


def _labels(run: AuditRun, rows: Rows) -> set[int]:
    """The labels of the rows; a row that the run did not audit is refused."""
    tallied = scores_of(run).tally("label", "row IN (SELECT unnest(?))", [rows.tolist()], limit=100_000)
    if sum(n for _, n, _ in tallied) != len(rows):
        raise UserError("Some of these images are not in the audited split; pick images of this run.")
    return {int(label) for label, _, _ in tallied}
