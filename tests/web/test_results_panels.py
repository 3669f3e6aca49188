"""A new kind appears on the pages of every subject without a change to any of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import ChoiceLoader, DictLoader
from pydantic import BaseModel

from app import audits
from app.audits.base import AuditKind, Panel, RunReader, Subject
from app.store.models import AuditRun
from app.store.session import reading, transaction
from app.web.panels import render_panels
from app.web.reader import LiveReader
from app.web.templating import environment
from tests.results_fixture import TRAIN_ROWS
from tests.web.conftest import Results

PATHS = {
    "run": "",
    "class": "/classes/2",
    "slice": "/slices/1",
    "image": f"/images/{TRAIN_ROWS + 3}",
    "map": "/map",
}


class Weather(BaseModel):
    """What the invented kind knows."""

    subject: str
    wind: float


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    first = Panel("weather-wind", "Wind", "weather/wind.html", Weather(subject=subject.type, wind=reader.run_id / 4), 1)
    last = Panel("weather-rain", "Rain", "weather/rain.html", Weather(subject=subject.type, wind=0), 900)
    return [last, first]


@pytest.fixture
def weather(results: Results, monkeypatch: pytest.MonkeyPatch) -> AuditKind:
    """An invented kind beside the real ones, that the run was audited with."""
    real = audits.kinds()
    made = replace(real["slices"], name="weather", title="Weather", panels=panels, actions=())
    monkeypatch.setattr(audits, "kinds", lambda: {**real, "weather": made})
    templates = DictLoader(
        {
            "weather/wind.html": "<p>wind {{ panel.context.wind }} on {{ panel.context.subject }} & more</p>",
            "weather/rain.html": "<p>rain on {{ panel.context.subject }}</p>",
        }
    )
    loader = environment().loader
    assert loader is not None
    monkeypatch.setattr(environment(), "loader", ChoiceLoader([templates, loader]))
    with transaction() as session:
        session.get_one(AuditRun, results.built.run_id).kinds = ["slices", "weather"]
    return made


@pytest.mark.parametrize("subject", PATHS)
def test_it_is_on_the_page_and_in_its_twin(results: Results, weather: AuditKind, subject: str) -> None:
    html = results.signed().get(results.run + PATHS[subject]).text
    assert f"wind 0.25 on {subject}" in html
    assert html.index(f"wind 0.25 on {subject}") < html.index(f"rain on {subject}")
    twin = results.signed().get(f"/api/v1{results.run}{PATHS[subject]}").json()["panels"]
    assert {"weather-wind", "weather-rain"} <= {panel["key"] for panel in twin}
    wind = next(panel for panel in twin if panel["key"] == "weather-wind")
    assert wind["context"] == {"subject": subject, "wind": 0.25}
    assert wind["kind"] == "weather"


def test_panels_of_kinds_are_sorted_among_each_other(results: Results, weather: AuditKind) -> None:
    with reading() as session:
        reader = LiveReader(session, session.get_one(AuditRun, 1))
        found = render_panels(Subject("slice", 1, 2, 1), reader, ["slices", "weather"])
    keys = [panel.key for panel in found]
    assert keys[0] == "weather-wind"
    assert keys[-1] == "weather-rain"
    assert keys[1:-1] == ["slices-evidence", "slices-exemplars", "slices-captions", "slices-mistaken", "slices-causes"]


def test_a_kind_that_is_no_longer_installed_is_left_out(results: Results) -> None:
    with transaction() as session:
        session.get_one(AuditRun, 1).kinds = ["slices", "astrology"]
    assert results.signed().get(results.run).status_code == 200


def test_a_run_without_a_kinds_result_has_none_of_its_panels(results: Results) -> None:
    with transaction() as session:
        run = session.get_one(AuditRun, 1)
        run.summary = {"card": run.summary["card"]}
    for path in PATHS.values():
        page = results.signed().get(f"/api/v1{results.run}{path}").json()
        assert all(not panel["key"].startswith("slices-") for panel in page["panels"])
        assert results.signed().get(results.run + path).status_code == 200


def test_every_panel_of_slices_has_its_template(results: Results) -> None:
    folder = Path(audits.__file__).parent / "slices" / "templates"
    drawn = set()
    with reading() as session:
        reader = LiveReader(session, session.get_one(AuditRun, 1))
        for subject in (Subject("run", 1), Subject("class", 1, 2), Subject("slice", 1, 2, 1), Subject("map", 1)):
            drawn |= {panel.template for panel in audits.kind("slices").panels(subject, reader)}
    assert drawn
    assert all((folder / template.removeprefix("slices/")).is_file() for template in drawn)


def test_web_names_no_kind() -> None:
    web = Path(audits.__file__).parent.parent / "web"
    for path in web.rglob("*.py"):
        assert "app.audits.slices" not in path.read_text(), path
