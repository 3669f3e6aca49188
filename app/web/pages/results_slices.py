"""The slices of a run: cards on one scale, filtered, judged with the keyboard."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel, Field

from app.audits.pieces import SliceCard, whisker_scale
from app.services import annotate
from app.store.repositories import findings as repository
from app.store.repositories import marks
from app.web.deps import Access, ProjectAccess
from app.web.pages.results_cards import judged_cards
from app.web.pages.results_grid import Choice
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.reader import LiveReader
from app.web.twins import Pages

pages = Pages("Slices")
PAGE = 24


class SliceFilter(BaseModel):
    """Which slices of a run."""

    q: str = Field("", max_length=200, description="Words of the name.")
    label: str = Field("", pattern=r"^\d{0,9}$", description="Index of the class.")
    evidence: Literal["", "confirmed", "insufficient"] = ""
    method: str = Field("", max_length=40)
    assigned: str = Field("", pattern=r"^(me|\d{1,18})?$", description="me, or the id of who is to look at it.")
    tag: str = Field("", max_length=40)
    page: int = Field(1, ge=1, le=1_000_000)

    def query(self, **changed: Any) -> str:
        """Return the filter as a query string, empty fields left out."""
        values = {**self.model_dump(), **changed}
        return urlencode({name: value for name, value in values.items() if value not in {"", 1}})

    def columns(self) -> dict[str, Any]:
        """Return what is compared as a column."""
        label = int(self.label) if self.label else None
        return {"class_index": label, "evidence": self.evidence or None, "method": self.method or None}


class Agreed(BaseModel):
    """How far two reviewers agree beyond chance."""

    sentence: str
    kappa: float | None
    low: float
    high: float
    n: int


class SlicesPage(BaseModel):
    """Everything on the list of slices."""

    run: RunHead
    cards: list[SliceCard]
    scale: tuple[float, float] = Field(description="From and to of all whiskers.")
    total: int
    first: int
    filter: SliceFilter
    classes: list[Choice]
    methods: list[Choice]
    people: list[Choice] = Field(description="Who was given slices of this run.")
    tags: list[Choice]
    previous: str
    next: str
    agreement: Agreed | None = Field(description="Of the two people who judged the most slices together.")


@pages.page("/runs/{run_id}/slices", "results/slices.html")
def slices(access: ProjectAccess, run_id: int, chosen: Annotated[SliceFilter, Query()]) -> SlicesPage:
    """The slices of a run, confirmed ones first."""
    reader = open_run(access, run_id)
    wanted = {"subject": "slice", "text": chosen.q, "id": _marked(access, run_id, chosen), **chosen.columns()}
    offset = (chosen.page - 1) * PAGE
    found = repository.of_run(access.session, run_id, limit=PAGE, offset=offset, **wanted)
    total = repository.count(access.session, run_id, **wanted)
    cards = judged_cards(reader, found, access.user.id)

    def page(number: int) -> str:
        return f"{home(reader.run)}/slices?{chosen.query(page=number)}"

    return SlicesPage(
        run=run_head(access, reader),
        cards=cards,
        scale=whisker_scale(cards),
        total=total,
        first=offset + 1 if cards else 0,
        filter=chosen,
        previous=page(chosen.page - 1) if chosen.page > 1 else "",
        next=page(chosen.page + 1) if offset + len(found) < total else "",
        agreement=_agreement(access.session, run_id),
        **_menus(reader),
    )


def _marked(access: Access, run_id: int, chosen: SliceFilter) -> list[int] | None:
    """The findings that the filter's person and tag name; None where it names neither."""
    named: list[set[int]] = []
    if chosen.assigned:
        person = access.user.id if chosen.assigned == "me" else int(chosen.assigned)
        named.append(set(marks.assigned_ids(access.session, run_id, person)))
    if chosen.tag:
        named.append(set(marks.tagged(access.session, repository.SUBJECT, run_id, chosen.tag)))
    return sorted(set.intersection(*named)) if named else None


def _menus(reader: LiveReader) -> dict[str, list[Choice]]:
    labels, methods = repository.facets(reader.session, reader.run_id)
    return {
        "classes": [Choice(value=str(i), text=reader.class_name(i)) for i in labels],
        "methods": [Choice(value=name, text=name) for name in methods],
        "people": [
            Choice(value=str(person.user_id), text=person.user)
            for person in marks.assignees(reader.session, reader.run_id)
        ],
        "tags": [
            Choice(value=name, text=name) for name in marks.names(reader.session, repository.SUBJECT, reader.run_id)
        ],
    }


def _agreement(session: Any, run_id: int) -> Agreed | None:
    found = annotate.agreement(session, run_id)
    if found is None:
        return None
    both = f"{found.first} and {found.second} both judged {found.n:,} slices and agree on {found.agreed:,}."
    if found.kappa is None:
        said = f"{both} Cohen's kappa needs at least two different verdicts."
    else:
        said = f"{both} Cohen's kappa {found.kappa:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f}."
    return Agreed(sentence=said, kappa=found.kappa, low=found.low, high=found.high, n=found.n)
