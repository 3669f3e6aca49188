"""Questions of a run: the hypothesis box, the loop of marks, and the log of all that was asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from app import audits
from app.audits.pieces import Thumb
from app.errors import NotFound, UserError
from app.services import ask as service
from app.services.behind import BEHIND
from app.services.compare import COMPARE
from app.services.parts import PARTS
from app.store.models import Query
from app.store.repositories import findings, queries
from app.store.repositories.queries import Asked
from app.web.card import AskBox, answering, ask_box
from app.web.deps import Access, ProjectAccess, SentForm
from app.web.forms import Form, text, texts
from app.web.pages.results_grid import Filter, conditions
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.panels import ShownPanel, shown
from app.web.reader import LiveReader
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Questions")
LOG_ROWS = 30
MARKABLE = 60
ACTIVE = ("queued", "running")
_OF_SLICES = {service.REMEASURE: "Measure", PARTS: "Parts of", BEHIND: "Training images behind"}
UNLOGGED = (service.NEIGHBOURS, BEHIND, COMPARE)
"""Questions that claim nothing and test nothing: they would bury the others."""


class LogRow(BaseModel):
    """One question that somebody asked."""

    id: int
    href: str
    words: str = Field(description="What was asked, in words.")
    user: str
    at: datetime
    status: str
    p_value: float | None
    adjusted: float | None = Field(description="Adjusted for every question asked before it.")
    holds: bool | None = Field(description="Whether the adjusted p-value is within the run's false-discovery rate.")


class AskPage(BaseModel):
    """The hypothesis box and the log."""

    run: RunHead
    can_ask: bool = Field(description="Whether a kind of this run answers questions, and the person may ask.")
    box: AskBox
    log: list[LogRow]
    total: int
    next: str
    fdr: float | None = Field(description="The run's false-discovery rate.")


class QuestionPage(BaseModel):
    """One question and its answer."""

    run: RunHead
    question: LogRow
    action: str
    waiting: bool
    error: str
    sentence: str = Field(description="What the adjusted p-value says; empty before the answer.")
    panel: ShownPanel | None = Field(description="The answer, as the kind shows it.")
    inside: list[int] = Field(description="Positions marked in, in a loop of marks.")
    outside: list[int] = Field(description="Positions marked out.")
    label: str = Field(description="Index of the class that was asked about.")
    rows: str = Field(description="Data set rows that the answer names, with commas between them.")


class MarkedThumb(BaseModel):
    """A picture with a place to mark it in or out."""

    position: int = Field(description="Place in the audited split, from 0.")
    item: Thumb


class ClimbPage(BaseModel):
    """Images to mark, before the first ranking."""

    run: RunHead
    marked: list[MarkedThumb]
    inside: list[int] = Field(description="Positions marked in before.")
    outside: list[int] = Field(description="Positions marked out before.")
    label: str
    outcome: str
    classes: list[tuple[str, str]]


class AskedNow(BaseModel):
    """A question that waits for its answer."""

    id: int
    href: str


@pages.page("/runs/{run_id}/ask", "results/ask.html")
def ask_page(access: ProjectAccess, run_id: int, before: int | None = None, label: str = "") -> AskPage:
    """The hypothesis box, and every question of the run with who asked it and what came out."""
    return _ask_page(access, run_id, Form(values={"label": [label]}), before)


@pages.html.post("/runs/{run_id}/ask")
def ask_form(request: Request, access: ProjectAccess, run_id: int, sent: SentForm) -> Response:
    """Ask whether a sentence, or picked images, fail more often than the rest."""
    reader = open_run(access, run_id, "analyst")
    try:
        payload = _hypothesis(reader, sent)
        asked = service.ask(access.session, reader.run, _kind(reader, "hypothesis"), "hypothesis", payload, access.user)
    except UserError as error:
        access.session.rollback()
        page = _ask_page(access, run_id, Form.typed(sent, error), None)
        return render(request, "results/ask.html", page, error.status)
    return RedirectResponse(url(_path(run_id, asked)), 303)


@pages.page("/runs/{run_id}/climb", "results/climb.html")
def climb_page(access: ProjectAccess, run_id: int, chosen: Filter) -> ClimbPage:
    """Images to mark in or out; a worker then ranks the others by the marks."""
    reader = open_run(access, run_id, "analyst")
    where, params = conditions(reader, chosen)
    rows = reader.scores(where, params, order=chosen.sort, limit=MARKABLE)
    positions = [row["row"] - reader.split_start for row in rows]
    return ClimbPage(
        run=run_head(access, reader),
        marked=[MarkedThumb(position=p, item=reader.thumb(row)) for p, row in zip(positions, rows, strict=True)],
        inside=[],
        outside=[],
        label=chosen.label,
        outcome=chosen.outcome,
        classes=[(str(index), name) for index, name in enumerate(reader.classes)],
    )


@pages.html.post("/runs/{run_id}/climb")
def climb_form(access: ProjectAccess, run_id: int, sent: SentForm) -> Response:
    """Ask for images like those marked in, and unlike those marked out."""
    reader = open_run(access, run_id, "analyst")
    marks = {name: value for name, value in sent.multi_items() if isinstance(value, str) and name.startswith("mark-")}
    payload = {
        "class_index": int(text(sent, "label")) if text(sent, "label").isdigit() else None,
        "inside": [int(name[5:]) for name, value in marks.items() if value == "in" and name[5:].isdigit()],
        "outside": [int(name[5:]) for name, value in marks.items() if value == "out" and name[5:].isdigit()],
    }
    if not payload["inside"]:
        raise UserError("Mark at least one image as in.")
    asked = service.ask(access.session, reader.run, _kind(reader, "climb"), "climb", payload, access.user)
    return RedirectResponse(url(_path(run_id, asked)), 303)


@pages.api.post("/runs/{run_id}/ask/{action}", status_code=201)
def ask_script(access: ProjectAccess, run_id: int, action: str, payload: dict[str, Any]) -> AskedNow:
    """Ask a question; its payload is that of the kind's action of that name."""
    reader = open_run(access, run_id, "analyst")
    asked = service.ask(access.session, reader.run, _kind(reader, action), action, payload, access.user)
    return AskedNow(id=asked.id, href=_path(run_id, asked))


@pages.page("/runs/{run_id}/questions/{query_id}", "results/question.html")
def question(access: ProjectAccess, run_id: int, query_id: int) -> QuestionPage:
    """One question: who asked it, and what the confirm images say."""
    return _question(access, run_id, query_id)


@pages.html.get("/runs/{run_id}/questions/{query_id}/answer")
def answer_fragment(request: Request, access: ProjectAccess, run_id: int, query_id: int) -> Response:
    """The answer alone, for the page that polls it; once it is there the page loads itself anew."""
    page = _question(access, run_id, query_id)
    if not page.waiting:
        return HTMLResponse("", headers={"HX-Refresh": "true"})
    return render(request, "results/_waiting.html", page)


def _ask_page(access: Access, run_id: int, form: Form, before: int | None) -> AskPage:
    reader = open_run(access, run_id)
    asked = queries.of_run(access.session, run_id, leaving_out=UNLOGGED, before=before, limit=LOG_ROWS)
    head = run_head(access, reader)
    return AskPage(
        run=head,
        can_ask=head.may_judge and bool(answering(reader, "hypothesis")),
        box=ask_box(reader, form),
        log=[_log_row(reader, entry) for entry in asked],
        total=queries.count(access.session, run_id, leaving_out=UNLOGGED),
        next=f"{home(reader.run)}/ask?before={asked[-1].query.id}" if len(asked) == LOG_ROWS else "",
        fdr=_fdr(reader, next(iter(answering(reader, "hypothesis")), "")),
    )


def _question(access: Access, run_id: int, query_id: int) -> QuestionPage:
    reader = open_run(access, run_id)
    asked = queries.named(access.session, query_id)
    if asked is None or asked.query.run_id != run_id:
        raise NotFound("There is no such question in this run.")
    query = asked.query
    answered = query.status == "succeeded"
    panel = audits.kind(query.kind).answer(query.action, query.result, reader) if answered else None
    row = _log_row(reader, asked)
    return QuestionPage(
        run=run_head(access, reader),
        question=row,
        action=query.action,
        waiting=query.status in ACTIVE,
        error=query.error,
        sentence=_verdict(row, query, _fdr(reader, query.kind)) if answered else "",
        panel=shown(query.kind, panel) if panel else None,
        inside=query.payload.get("inside", []),
        outside=query.payload.get("outside", []),
        label="" if query.payload.get("class_index") is None else str(query.payload["class_index"]),
        rows=",".join(str(reader.split_start + row) for row in query.result.get("rows", [])),
    )


def _log_row(reader: LiveReader, asked: Asked) -> LogRow:
    query, fdr = asked.query, _fdr(reader, asked.query.kind)
    adjusted = query.adjusted_p_value
    return LogRow(
        id=query.id,
        href=_path(reader.run_id, query),
        words=_words(reader, query),
        user=asked.user,
        at=query.created_at,
        status=query.status,
        p_value=query.p_value,
        adjusted=adjusted,
        holds=None if adjusted is None or fdr is None else adjusted <= fdr,
    )


def _words(reader: LiveReader, query: Query) -> str:
    index = query.payload.get("class_index")
    within = f" within {reader.class_name(index)}" if index is not None else ""
    if query.payload.get("sentence"):
        return f"“{query.payload['sentence']}”{within}"
    if query.action == "climb":
        return f"More like {len(query.payload.get('inside', [])):,} marked images{within}"
    if query.action == service.NEIGHBOURS:
        return f"Images nearest to image {reader.split_start + query.payload['position']:,}{within}"
    if query.action == COMPARE:
        return f"What the model leans on, against run {query.payload['other_run_id']:,}"
    picked = len(query.payload.get("rows", []))
    if query.action in _OF_SLICES:
        finding = findings.get(reader.session, query.payload.get("finding_id", 0))
        named = f"“{finding.title}”, {picked:,} images" if finding else f"a slice of {picked:,} images"
        return f"{_OF_SLICES[query.action]} {named}"
    return f"Do they fail more often: {picked:,} images{within}"


def _verdict(row: LogRow, query: Query, fdr: float | None) -> str:
    if row.adjusted is None or fdr is None or query.position is None:
        return ""
    before = query.position - 1
    asked = "It was the first question" if not before else f"{before:,} question{'s' * (before > 1)} came before it"
    said = "The claim holds" if row.holds else "Not enough evidence: the difference could be chance"
    return f"{asked}; adjusted for that, p {_p(row.adjusted)}. {said} at a false-discovery rate of {100 * fdr:g} %."


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.2g}"


def _hypothesis(reader: LiveReader, sent: SentForm) -> dict[str, Any]:
    rows = [word for value in texts(sent, "rows") for word in value.split(",")]
    if not all(word.isascii() and word.isdigit() for word in rows):
        raise UserError("These are no image numbers; pick the images on the map.")
    if not rows and not text(sent, "sentence"):
        raise UserError("Write a sentence, such as “at night”, or pick images on the map.")
    label = text(sent, "label")
    return {
        "class_index": int(label) if label.isdigit() else None,
        "sentence": text(sent, "sentence"),
        "rows": [int(row) - reader.split_start for row in rows],
        "share": text(sent, "share", "0.1"),
    }


def _kind(reader: LiveReader, action: str) -> str:
    found = answering(reader, action)
    if not found:
        raise NotFound(f"No kind of this run answers the question “{action}”.")
    return found[0]


def _fdr(reader: LiveReader, kind: str) -> float | None:
    found = reader.summary(kind).get("fdr") if kind else None
    return None if found is None else float(found)


def _path(run_id: int, query: Query) -> str:
    return f"/runs/{run_id}/questions/{query.id}"
