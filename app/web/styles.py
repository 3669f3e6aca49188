"""The one style sheet: the files of `static/css` one after the other, so that a page asks once, without a bundler."""

from __future__ import annotations

from functools import lru_cache

from app.resources import resource

BUNDLE = "css/faultline.css"
"""Its path below /static; `static_version` covers the files that it is made of."""
BLOCKS = (
    "layout", "head", "tabs", "buttons", "badges", "tables", "numbers", "cards", "thumbs", "notices", "forms",
    "filters", "progress", "menus", "lines",
)  # fmt: skip
RESULTS = (
    "panels",
    "triage",
    "picture",
    "charts",
    "questions",
    "influence",
    "corruptions",
    "attacks",
    "patches",
    "certificates",
    "smoothing",
    "shift",
    "robustness",
)
ORDER = (
    "tokens", "elements", "frame", *(f"blocks/{name}" for name in BLOCKS), *(f"results/{name}" for name in RESULTS),
    "report", "entry", "print",
)  # fmt: skip
"""Later files win over earlier ones of equal weight: elements, blocks, parts of result pages, paper."""


@lru_cache
def style_sheet() -> str:
    """Return the whole style sheet."""
    folder = resource("static") / "css"
    return "\n".join((folder / f"{name}.css").read_text() for name in ORDER)
