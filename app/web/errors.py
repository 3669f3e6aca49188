"""Errors as people and scripts meet them: a page, a fragment or JSON, each with one clear sentence."""

from __future__ import annotations

import logging
import secrets
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from markupsafe import escape
from starlette.exceptions import HTTPException

from app.errors import FaultlineError, FieldError, StorageFull, Unauthenticated
from app.store.durable import NO_SPACE, is_full
from app.web.templating import render, url
from app.web.twins import API

log = logging.getLogger(__name__)
TITLES = {
    401: "Sign in first",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not possible this way",
    409: "Not now",
    413: "Too large",
    422: "That did not work",
    429: "Too many attempts",
    507: "The disk is full",
}


def install(app: FastAPI) -> None:
    """Add the handlers to the application."""
    app.add_exception_handler(FaultlineError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)


def answer(
    request: Request, status: int, message: str, *, field: str = "", headers: dict[str, str] | None = None
) -> Response:
    """Return the error in the form that the request asks for."""
    if wants_json(request):
        body = {"error": {"status": status, "message": message} | ({"field": field} if field else {})}
        response: Response = JSONResponse(body, status_code=status)
    elif request.headers.get("HX-Request"):
        response = HTMLResponse(f'<p class="field-error" role="alert">{escape(message)}</p>', status_code=status)
    else:
        title = TITLES.get(status, "Something went wrong on our side")
        response = render(request, "error.html", {"title": title, "message": message, "status": status}, status)
    response.headers.update(headers or {})
    return response


def wants_json(request: Request) -> bool:
    """Whether a script asks: its path lies under /api, or it accepts JSON and no HTML."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    accept = request.headers.get("Accept", "")
    return path.startswith(API) or ("application/json" in accept and "text/html" not in accept)


def _on_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, FaultlineError)
    if isinstance(error, Unauthenticated) and not wants_json(request) and not request.headers.get("HX-Request"):
        return _to_sign_in(request)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    field = error.field if isinstance(error, FieldError) else ""
    return answer(request, error.status, error.message, field=field, headers=headers)


def _to_sign_in(request: Request) -> Response:
    here = request.url.path.removeprefix(request.scope.get("root_path", ""))
    back = here + (f"?{request.url.query}" if request.url.query else "") if request.method == "GET" else "/"
    return RedirectResponse(url(f"/sign-in?next={quote(back)}"), status_code=303)


def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if place[0] == "path":
        return answer(request, 404, "There is no such page.")
    name = ".".join(place[1:]) or "the request"
    return answer(request, 422, f"{name}: {first['msg']}.", field=name)


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {404: "There is no page at this address.", 405: "This address does not take that kind of request."}
    return answer(request, error.status_code, messages.get(error.status_code, str(error.detail)))


def _on_bug(request: Request, error: Exception) -> Response:
    if isinstance(error, OSError) and is_full(error):
        return answer(request, StorageFull.status, NO_SPACE)
    reference = secrets.token_hex(4)
    log.error("Unexpected error %s on %s", reference, request.url.path, exc_info=error)
    message = f"This is a defect of Faultline, not of your input. The server's log has it under {reference}."
    return answer(request, 500, message)
