"""A report as one HTML file: styles, font, icons and thumbnails inside; opens offline, prints well, runs no script."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment

from app.errors import UserError
from app.resources import resource
from app.services.reports.schema import ReportContent
from app.web.report_context import embedded, report_view
from app.web.styles import style_sheet
from app.web.templating import make_environment

MOST_BYTES = 10 * 10**6
_FONT = re.compile(r'url\(["\']?([^"\')]*?([\w.-]+\.woff2))["\']?\)')


def report_html(content: ReportContent, content_hash: str, folder: Path) -> bytes:
    """Return the file.

    Raises:
        UserError: it would exceed 10 MB, which the snapshot's budget for pictures should prevent.
    """
    view = report_view(content, content_hash, embedded(folder), folder)
    html = _environment().get_template("reports/file.html").render(view=view, styles=_styles(), sprite=_sprite())
    data = html.encode()
    if len(data) > MOST_BYTES:
        raise UserError(f"The report has {len(data) / 1e6:.1f} MB; one file holds at most {MOST_BYTES / 1e6:.0f} MB.")
    return data


@lru_cache
def _environment() -> Environment:
    made = make_environment()
    # The sprite stands in the page itself, so an icon's URL is its name alone; nothing else static is linked to.
    made.globals.update(static=lambda path: "", url=lambda path: path)
    return made


@lru_cache
def _styles() -> str:
    return _FONT.sub(_inlined, style_sheet())


def _inlined(match: re.Match[str]) -> str:
    data = (resource("static") / "fonts" / match[2]).read_bytes()
    return f"url(data:font/woff2;base64,{base64.b64encode(data).decode()})"


@lru_cache
def _sprite() -> str:
    return (resource("static") / "icons" / "sprite.svg").read_text()
