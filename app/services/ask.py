"""Questions of a run that a worker answers. Each is kept: it spends confirm rows, so its p-value is adjusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app import audits
from app.audits.base import Action
from app.errors import Conflict, FieldError, NotFound
from app.services import queue
from app.services.membership import Rows
from app.store.models import AuditRun, Finding, Query, User
from app.store.repositories import findings, queries

REMEASURE, NEIGHBOURS = "remeasure", "neighbours"
BY_HAND = {"lasso", "split", "extend"}
PICKED_BY_HAND = (
    "Somebody picked these images who could see which are wrong, so their error rate proves nothing. "
    "Say in a sentence what they share, or let images like them be tested."
)


def ask(session: Session, run: AuditRun, kind: str, action: str, payload: Mapping[str, Any], user: User) -> Query:
    """Store a question and hand it to a worker, before all other work.

    Raises:
        NotFound: the run has no such kind, or the kind answers no such question.
        FieldError: the payload is not what the question needs.
        Conflict: the run has not finished.
    """
    checked = _checked(_action(run, kind, action), payload)
    return _submit(session, run, kind, action, checked, user)


def neighbours(session: Session, run: AuditRun, kind: str, position: int, user: User) -> Query:
    """Have the images nearest to one sought among all; who asks again gets the question that was asked before."""
    earlier = queries.latest_about(session, run.id, kind, NEIGHBOURS, position)
    if earlier is not None and earlier.status not in {"failed", "cancelled"}:
        return earlier
    return ask(session, run, kind, NEIGHBOURS, {"position": position}, user)


def remeasure(session: Session, run: AuditRun, finding: Finding, rows: Rows, user: User) -> Query:
    """Have a slice that people made measured on confirm rows; `rows` are data set rows."""
    positions = (rows - split_start(session, run)).tolist()
    wanted = {"rows": positions, "class_index": finding.class_index}
    checked = _checked(_action(run, finding.kind, REMEASURE), wanted)
    return _submit(session, run, finding.kind, REMEASURE, {**checked, "finding_id": finding.id}, user)


def settle(session: Session, query_id: int) -> None:
    """Once a slice that people made has been measured, write its numbers onto it.

    It is confirmed only at the run's own bar: enough errors, and the p-value adjusted for every question before it.
    Images that somebody picked by hand confirm nothing: who picks sees which of them are wrong, so that their own error
    rate is a choice and no evidence.
    """
    query = queries.get(session, query_id)
    finding = findings.get(session, query.payload.get("finding_id", 0)) if query else None
    if query is None or finding is None or query.action != REMEASURE or not query.result:
        return
    adjusted = 1.0 if query.adjusted_p_value is None else query.adjusted_p_value
    bar = session.get_one(AuditRun, query.run_id).summary.get(query.kind, {})
    enough = query.result["errors"]["k"] >= bar.get("min_errors", 0) and adjusted <= bar.get("fdr", 0.0)
    picked = _by_hand(session, finding)
    finding.metrics = {**query.result, "q_value": adjusted} | ({"missing": PICKED_BY_HAND} if picked else {})
    finding.evidence = "confirmed" if enough and not picked else "insufficient"
    session.flush()


def _by_hand(session: Session, finding: Finding) -> bool:
    """Whether people chose its rows, or those of a slice that it was made from."""
    parents = (findings.get(session, parent) for parent in finding.parents)
    return finding.origin in BY_HAND or any(_by_hand(session, parent) for parent in parents if parent)


def split_start(session: Session, run: AuditRun) -> int:
    """Return the data set row of the audited split's first row."""
    return queries.split_of(session, run).start


def _submit(session: Session, run: AuditRun, kind: str, action: str, payload: dict[str, Any], user: User) -> Query:
    asked = Query(run_id=run.id, kind=kind, action=action, payload=payload, status="queued", created_by=user.id)
    queries.add(session, asked)
    queue.enqueue(session, "answer_query", asked.id)
    return asked


def _action(run: AuditRun, kind: str, name: str) -> Action:
    if run.status != "succeeded":
        raise Conflict("Questions can be asked once the run has finished; this one is " + run.status + ".")
    if kind not in run.kinds:
        raise NotFound(f"This run has no audit of the kind “{kind}”.")
    found = next((action for action in audits.kind(kind).actions if action.name == name), None)
    if found is None:
        raise NotFound(f"The kind “{kind}” answers no question called “{name}”.")
    return found


def _checked(action: Action, payload: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return action.payload.model_validate(payload).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise FieldError(field, first["msg"].removeprefix("Value error, ") + ".") from error
