"""Approving and retiring a model version."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from app.errors import UserError
from app.services import approve_version as service
from app.web.deps import ProjectAccess, SentForm
from app.web.forms import Form, text
from app.web.pages.versions import version_page
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Models")
BASE = "/models/{model_id}/versions/{number}"


class Decision(BaseModel):
    """What is decided about a version."""

    decision: str = Field(description="approved or retired.")
    note: str = Field("", description="Why; a retirement needs it.")


@pages.html.post(f"{BASE}/decide")
def decide_form(request: Request, access: ProjectAccess, model_id: int, number: int, sent: SentForm) -> Response:
    """Approve or retire a version; only owners of the project do."""
    version = access.version(model_id, number, "owner")
    try:
        model, chosen = access.model(model_id), text(sent, "decision")
        service.decide(access.session, model, version, access.user, chosen, text(sent, "note"))
    except UserError as error:
        access.session.rollback()
        page = version_page(access, model_id, number, Form.typed(sent, error))
        return render(request, "models/version.html", page, error.status)
    return RedirectResponse(url(f"/models/{model_id}/versions/{number}"), 303)


@pages.api.post(f"{BASE}/decisions", status_code=201)
def decide(access: ProjectAccess, model_id: int, number: int, body: Decision) -> Decision:
    """Approve or retire a version."""
    version = access.version(model_id, number, "owner")
    made = service.decide(access.session, access.model(model_id), version, access.user, body.decision, body.note)
    return Decision(decision=made.decision, note=made.note)
