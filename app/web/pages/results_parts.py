"""Splitting a slice into parts that a worker proposes: asking for them, and taking one of the proposals."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from app.services import annotate, parts
from app.store.models import Finding
from app.store.repositories import queries
from app.web.deps import ProjectAccess, SentForm
from app.web.pages.results_triage import BASE, acted, numbers, slice_of
from app.web.templating import url
from app.web.twins import Pages

pages = Pages("Slices")


@pages.html.post(f"{BASE}/parts")
def propose_form(access: ProjectAccess, run_id: int, finding_id: int) -> Response:
    """Have a worker propose parts of a slice; they are shown on the question's page."""
    finding = slice_of(access, run_id, finding_id)
    asked = parts.propose(access.session, access.run(run_id), finding, access.user)
    return RedirectResponse(url(f"/runs/{run_id}/questions/{asked.id}"), 303)


@pages.html.post(f"{BASE}/parts/take")
def take_form(request: Request, access: ProjectAccess, run_id: int, finding_id: int, sent: SentForm) -> Response:
    """Split a slice as proposed; each part is measured on confirm images."""

    def act(finding: Finding) -> int:
        wanted = [next(iter(numbers(sent, name)), 0) for name in ("question", "parts")]
        query = queries.get(access.session, wanted[0])
        made = annotate.split_by_parts(access.session, access.run(run_id), finding, access.user, query, wanted[1])
        return made[0].id

    return acted(request, access, run_id, finding_id, sent, act)
