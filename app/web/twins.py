"""Pages with twins: a function that returns a documented context is served as HTML and, below /api/v1, as JSON."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from app.web.deps import verified
from app.web.templating import render

API = "/api/v1"
PageFunction = TypeVar("PageFunction", bound=Callable[..., BaseModel])


@dataclass(frozen=True)
class Page:
    """One page: where it is, what it shows, and the template that shows it."""

    path: str
    template: str
    context: type[BaseModel]
    function: Callable[..., BaseModel]


@dataclass
class Pages:
    """The pages of one module. `app.main` finds every module of `app.web.pages` that has one under the name `pages`.

    `html` takes further endpoints of forms and files, `api` those of scripts; both let only signed-in people in, and
    both demand a CSRF token of what changes something.
    """

    tag: str
    html: APIRouter = field(default_factory=lambda: APIRouter(include_in_schema=False))
    api: APIRouter = field(init=False)
    found: list[Page] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = APIRouter(prefix=API, tags=[self.tag], dependencies=[Depends(verified)])

    def page(self, path: str, template: str) -> Callable[[PageFunction], PageFunction]:
        """Serve the decorated function, which returns its context, as HTML at `path` and as JSON at its twin."""

        def register(function: PageFunction) -> PageFunction:
            context = get_type_hints(function)["return"]
            self.found.append(Page(path, template, context, function))
            self.html.add_api_route(path, _as_html(function, template), methods=["GET"], response_class=HTMLResponse)
            summary = (inspect.getdoc(function) or "").partition("\n")[0]
            twin = "" if path == "/" else path
            self.api.add_api_route(twin or "/home", function, methods=["GET"], response_model=context, summary=summary)
            return function

        return register


def _as_html(function: Callable[..., BaseModel], template: str) -> Callable[..., Response]:
    @functools.wraps(function)
    def shown(page_request: Request, **arguments: Any) -> Response:
        return render(page_request, template, function(**arguments))

    signature = inspect.signature(function, eval_str=True)
    request = inspect.Parameter("page_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    ours = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
    shown.__signature__ = signature.replace(parameters=[*ours, request], return_annotation=Response)  # type: ignore[attr-defined]
    return shown
