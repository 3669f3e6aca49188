"""Jinja: autoescape, undefined names raise, each audit kind's templates under its own prefix."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic import BaseModel

import app.audits
from app.resources import resource
from app.settings import get_settings
from app.web import csrf


@lru_cache
def static_version() -> str:
    """Hash over all static files: one changed byte gives all of them new URLs, which are cached for ever."""
    digest = hashlib.sha256()
    root = resource("static")
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@lru_cache
def environment() -> Environment:
    """Return the one Jinja environment of the pages."""
    return make_environment()


def make_environment() -> Environment:
    """Make a Jinja environment, for the pages or for files made offline."""
    kinds = Path(app.audits.__file__).parent
    prefixes = {folder.parent.name: FileSystemLoader(folder) for folder in kinds.glob("*/templates")}
    made = Environment(
        loader=ChoiceLoader([FileSystemLoader(resource("templates")), PrefixLoader(prefixes)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(url=url, static=static, position=position, number=number, faultline_version=_version())
    made.filters.update(plain=plain, ago=ago, size=size, duration=duration, count=count, zip_text=zip_text)
    made.filters.update(as_number_column=lambda text: (text, "num"))
    return made


def render(request: Request, template: str, context: BaseModel | dict[str, Any], status: int = 200) -> HTMLResponse:
    """Render a page: the context's fields, and what every page has (the person, CSRF token, theme, path)."""
    fields = context if isinstance(context, dict) else {name: getattr(context, name) for name in _names(context)}
    token = csrf.token(request)
    around = {
        "user": getattr(request.state, "user", None),
        "csrf_token": token,
        "csrf_input": Markup('<input type="hidden" name="csrf" value="{}">').format(token),
        "theme": theme(request),
        "path": request.scope.get("route_path", _path(request)),
    }
    html = environment().get_template(template).render({**around, **fields})
    response = HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})
    csrf.remember(request, response)
    return response


def fragment(template: str, **context: Any) -> str:
    """Render a template without a request: panels, and files made offline."""
    return environment().get_template(template).render(context)


def url(path: str) -> str:
    """Return a path of ours below the prefix that a proxy gives us; other URLs as they are."""
    return get_settings().root_path.rstrip("/") + path if path.startswith("/") else path


def static(path: str) -> str:
    """Return the URL of a static file; its content decides on the URL."""
    return url(f"/static/{static_version()}/{path}")


def theme(request: Request) -> str:
    """Return light or dark where the person chose one, else nothing: then the system decides."""
    chosen = request.cookies.get("theme", "")
    return chosen if chosen in {"light", "dark"} else ""


def position(value: float, scale: tuple[float, float]) -> float:
    """Return where `value` lies on `scale`, in percent of its width, held within it."""
    low, high = scale
    share = (value - low) / ((high - low) or 1.0)
    return round(100.0 * min(max(share, 0.0), 1.0), 2)


def number(value: float, unit: str = "%", *, bare: bool = False) -> str:
    """Return an estimate as people read it: percent with one decimal, or with as many decimals as `unit` says."""
    if unit == "%":
        return f"{100 * value:.1f}" + ("" if bare else "\N{NO-BREAK SPACE}%")
    decimals = int(unit) if unit.isdigit() else 3
    return f"{value:,.{decimals}f}"


def plain(value: Any) -> str:
    """Return a nested value as people read it: “name value, name value” instead of braces and quotes."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(inner)}" for name, inner in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(plain(inner) for inner in value) or "–"
    return "–" if value is None or value == "" else str(value)


def count(value: int) -> str:
    """Return a count with its thousands set apart."""
    return f"{value:,}"


def zip_text(values: Iterable[object], texts: Iterable[str]) -> list[tuple[object, str]]:
    """Return the options of a select: each value with its text."""
    return list(zip(values, texts, strict=True))


def size(value: int) -> str:
    """Return a number of bytes in the largest unit that keeps it above 1."""
    amount, units = float(value), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if amount >= 10 or units[0] == "B" else f"{amount:.1f} {units[0]}"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    whole = int(seconds)
    for step, big, small in ((86_400, "d", "h"), (3_600, "h", "min"), (60, "min", "s")):
        if whole >= step:
            rest = (whole % step) // {86_400: 3_600, 3_600: 60, 60: 1}[step]
            return f"{whole // step} {big}" + (f" {rest} {small}" if rest else "")
    return f"{max(whole, 0)} s"


def ago(moment: datetime | None) -> Markup:
    """Return how long ago `moment` was, with the moment itself as the element's title."""
    if moment is None:
        return Markup("–")
    seconds = (datetime.now(UTC) - moment).total_seconds()
    words = "just now" if seconds < 60 else " ".join(duration(seconds).split()[:2]) + " ago"
    exact = moment.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), exact, escape(words))


def _names(context: BaseModel) -> list[str]:
    return [*type(context).model_fields, *type(context).model_computed_fields]


def _path(request: Request) -> str:
    path, root = request.url.path, request.scope.get("root_path", "")
    return path.removeprefix(root) or "/"


def _version() -> str:
    try:
        return metadata.version("faultline")
    except metadata.PackageNotFoundError:
        return "0"
