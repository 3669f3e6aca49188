"""The API's reference as a page of ours, drawn from the OpenAPI document; no script from elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app.web.deps import Me
from app.web.templating import render
from app.web.twins import API

router = APIRouter(include_in_schema=False)


class Parameter(BaseModel):
    """One parameter of an endpoint."""

    name: str
    place: str = Field(description="path or query")
    required: bool


class Endpoint(BaseModel):
    """One endpoint of the API."""

    method: str
    path: str
    summary: str
    parameters: list[Parameter]
    answer: str = Field(description="Name of the schema of a successful answer.")


class DocsPage(BaseModel):
    """The API's reference."""

    groups: dict[str, list[Endpoint]] = Field(description="Endpoints by subject.")
    openapi: str = Field(description="Path of the OpenAPI document.")


@router.get(f"{API}/docs")
def reference(request: Request, _me: Me) -> Response:
    """Show the reference."""
    groups: dict[str, list[Endpoint]] = {}
    for path, methods in request.app.openapi()["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["Other"])[0]
            groups.setdefault(tag, []).append(_endpoint(method, path, operation))
    return render(request, "docs/reference.html", DocsPage(groups=groups, openapi=f"{API}/openapi.json"))


def _endpoint(method: str, path: str, operation: dict[str, Any]) -> Endpoint:
    answers = [body for status, body in operation["responses"].items() if status.startswith("2")]
    schema = answers[0].get("content", {}).get("application/json", {}).get("schema", {}) if answers else {}
    return Endpoint(
        method=method.upper(),
        path=path,
        summary=(operation.get("description") or operation.get("summary", "")).partition("\n")[0],
        parameters=[
            Parameter(name=p["name"], place=p["in"], required=p.get("required", False))
            for p in operation.get("parameters", [])
            if p["in"] in {"path", "query"}
        ],
        answer=schema.get("$ref", "").rpartition("/")[2],
    )
