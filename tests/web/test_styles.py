"""The one style sheet: whole, in order, and asked for once."""

from __future__ import annotations

import re

from app.resources import resource
from app.web.styles import ORDER, style_sheet
from app.web.templating import static
from tests.factories import Signed


def test_every_file_of_styles_is_in_the_sheet() -> None:
    folder = resource("static") / "css"
    there = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.css")}
    assert there == set(ORDER)
    assert len(ORDER) == len(set(ORDER))
    assert all((folder / f"{name}.css").read_text().count("\n") <= 250 for name in ORDER)


def test_what_elements_say_comes_before_what_blocks_say() -> None:
    sheet = style_sheet()
    places = [sheet.index(rule) for rule in ("\nbody {", "\n.button {", "\n.results-wide {", "@media print")]
    assert places == sorted(places)
    assert sheet.count("{") == sheet.count("}")


def test_a_page_asks_for_one_sheet_that_is_kept_for_ever(owner: Signed) -> None:
    html = owner.get("/account").text
    assert re.findall(r'<link rel="stylesheet" href="([^"]+)">', html) == [static("css/faultline.css")]
    answer = owner.get(static("css/faultline.css"))
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.text == style_sheet()
