"""Plotly's charts in a real browser: policy, colours, picks, themes, many points, and a browser without WebGL."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

MAP = "/runs/1/map"
WITHOUT_WEBGL = """
const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.includes("webgl") ? null : real.call(this, kind, ...rest);
};
"""
VIOLATIONS = """
window.violated = [];
addEventListener("securitypolicyviolation", (event) => window.violated.push(event.violatedDirective));
"""
TRACES = """() => document.querySelector("[data-map-plot]")._fullData.map(
  (trace) => [trace.type, trace._length ?? 0, trace.name, trace.marker?.symbol])"""
WRONG = (
    """() => [].concat(document.querySelector("[data-map-plot]").data.find((t) => t.name === "wrong").marker.color)"""
)
PLACE = """([selector, name]) => {
  const plot = document.querySelector(selector), edge = plot.getBoundingClientRect();
  const { x, y } = plot.data.find((trace) => trace.name === name), { xaxis, yaxis } = plot._fullLayout;
  return [edge.x + xaxis._offset + xaxis.l2p(x[0]), edge.y + yaxis._offset + yaxis.l2p(y[0])];
}"""


def packed(m: int) -> bytes:
    """`m` points in a spiral as the server packs them, every tenth wrong and first."""
    turn = np.linspace(0, 40, m)
    outcome = np.where(np.arange(m) < m // 10, 1, 0).astype(np.uint8)
    columns = (
        (turn * np.cos(turn)).astype("<f4"),
        (turn * np.sin(turn)).astype("<f4"),
        np.arange(m, dtype="<u4"),
        (np.arange(m) % 5).astype("<u2"),
        outcome,
        np.zeros(m, np.uint8),
    )
    return b"".join(column.tobytes() for column in columns)


def open_map(page: Any, points: int | None = None, query: str = "") -> Any:
    """Open the map and wait until it is drawn; with `points`, that many made ones in place of the run's."""
    page.add_init_script(VIOLATIONS)
    if points is not None:
        page.route("**/points.bin", lambda route: route.fulfill(body=packed(points), headers={"X-Total": str(points)}))
    page.goto(f"{MAP}{query}")
    page.wait_for_selector(".map-key", timeout=60_000)
    return page


def drag(page: Any, start: tuple[float, float], stop: tuple[float, float]) -> None:
    """Drag across the map between two corners given as shares of it."""
    page.locator("[data-map-plot]").scroll_into_view_if_needed()
    box = page.locator("[data-map-plot]").bounding_box()
    page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + stop[0] * box["width"], box["y"] + stop[1] * box["height"], steps=2)
    page.mouse.up()


def in_order(page: Any) -> bool:
    """Whether nothing broke the policy and no script failed."""
    return not page.evaluate("window.violated") and not page.errors


def test_the_map_is_drawn_with_webgl_within_the_policy(page: Any) -> None:
    open_map(page)
    traces = [trace for trace in page.evaluate(TRACES) if trace[1]]
    assert {trace[0] for trace in traces} == {"scattergl"}
    assert {trace[2]: trace[3] for trace in traces} == {"right": "circle", "wrong": "x"}
    assert page.evaluate("document.querySelectorAll('style').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert in_order(page)


def test_the_bundle_travels_compressed_and_only_to_charts(page: Any) -> None:
    sent: list[Any] = []
    page.on("response", lambda answer: sent.append(answer) if "plotly" in answer.url else None)
    page.goto("/runs/1", wait_until="networkidle")
    assert sent == []
    open_map(page)
    assert [answer.headers["content-encoding"] for answer in sent] in (["br"], ["gzip"])
    assert "immutable" in sent[0].headers["cache-control"]
    assert int(sent[0].headers["content-length"]) < 1_600_000


def test_colours_change_without_fetching_points_again(page: Any) -> None:
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if "points.bin" in request.url else None)
    open_map(page)
    assert len(set(page.evaluate(WRONG))) == 1
    page.check("[name=drag][value=box]")
    drag(page, (0.05, 0.05), (0.6, 0.6))
    said = page.locator("[data-map-picked]", has_text=re.compile("images picked")).inner_text()
    page.check("[name=colour][value=class]")
    page.wait_for_url("**/map?colour=class")
    assert len(set(page.evaluate(WRONG))) > 1
    assert "A cross is wrong" in page.locator("[data-map-legend]").inner_text()
    assert page.locator("[data-map-picked]").inner_text() == said
    assert len(fetched) == 1
    assert in_order(page)


def test_colours_follow_the_theme(page: Any) -> None:
    open_map(page)
    light = page.evaluate(WRONG)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function(f"({WRONG})()[0] !== '{light[0]}'")
    assert light == ["rgb(181,64,12)"]
    assert page.evaluate(WRONG) == ["rgb(255,156,102)"]
    page.locator("[data-map-legend] path[stroke='rgb(255,156,102)']").wait_for(state="attached")


@pytest.mark.parametrize(("name", "said"), [("right", "recognised"), ("wrong", "taken for")])
def test_a_click_on_a_point_opens_its_image(page: Any, name: str, said: str) -> None:
    open_map(page)
    page.locator("[data-map-plot]").scroll_into_view_if_needed()
    x, y = page.evaluate(PLACE, ["[data-map-plot]", name])
    page.mouse.move(x + 1, y + 1)
    page.locator(".plot-tip", has_text=name).wait_for()
    page.mouse.click(x, y)
    page.wait_for_url(re.compile(r"/runs/1/images/\d+$"))
    assert said in page.locator(".head").inner_text().lower()


def test_a_click_on_the_scatter_opens_the_image(page: Any) -> None:
    page.goto("/runs/1/classes/2")
    stage = page.locator("[data-scatter]")
    stage.scroll_into_view_if_needed()
    page.locator("[data-scatter-note] .map-key").first.wait_for(timeout=60_000)
    x, y = page.evaluate(PLACE, ["[data-scatter] .plot-area", "wrong"])
    page.mouse.move(x + 1, y + 1)
    page.locator(".plot-tip", has_text="wrong, confidence").wait_for()
    page.mouse.click(x, y)
    page.wait_for_url(re.compile(r"/runs/1/images/\d+$"))
    assert page.errors == []


def test_fifty_thousand_points_are_drawn_picked_and_recoloured(page: Any) -> None:
    open_map(page, 50_000)
    assert sum(trace[1] for trace in page.evaluate(TRACES)) == 50_000
    page.check("[name=drag][value=box]")
    drag(page, (0.01, 0.01), (0.99, 0.99))
    said = page.locator("[data-map-picked]", has_text=re.compile("images picked")).inner_text()
    assert int(said.split()[0].replace(",", "")) > 45_000
    rows = page.input_value("[name=rows]").split(",")
    assert [int(row) for row in rows[:3]] == sorted(int(row) for row in rows[:3])
    assert int(rows[0]) < 5_000
    page.check("[name=colour][value=class]")
    page.wait_for_url("**/map?colour=class")
    assert len(set(page.evaluate(WRONG))) == 5
    assert page.evaluate("window.violated") == []


def test_a_browser_without_webgl_draws_the_errors_and_says_what_it_leaves_out(page: Any) -> None:
    page.add_init_script(WITHOUT_WEBGL)
    open_map(page, 6_000)
    traces = {trace[2]: trace for trace in page.evaluate(TRACES) if trace[1]}
    assert {trace[0] for trace in traces.values()} == {"scatter"}
    assert (traces["wrong"][1], traces["right"][1]) == (600, 3_400)
    assert "draws 4,000 of 6,000 points, errors first" in page.locator("[data-map-legend]").inner_text()
    drag(page, (0.05, 0.05), (0.9, 0.9))
    assert in_order(page)


def test_a_chart_that_cannot_be_drawn_says_so(page: Any) -> None:
    page.route("**/plotly-strict.min.js", lambda route: route.abort())
    page.goto(MAP)
    said = page.locator(".map-stage [role=alert]")
    said.wait_for()
    assert "The chart's script did not load." in said.inner_text()
