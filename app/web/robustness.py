"""What the stress tests of a run come to: headlines on one scale, and every class and slice against every test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

from app import audits
from app.audits.base import RunReader, Subject
from app.audits.pieces import Estimate, GroupColumn, GroupFigure, Headline

SHARES = "%"


class TestLine(Headline):
    """One line of the scorecard."""

    kind: str
    href: str = Field("", description="Path of its panel; empty in a report.")


class Scorecard(BaseModel):
    """The stress tests of a run in a line each."""

    lines: list[TestLine]
    scale: tuple[float, float] = Field(description="From and to of all whiskers.")
    href: str = Field("", description="Path of the robustness page; empty there and in a report.")


class JointColumn(BaseModel):
    """One figure of a stress test."""

    key: str = Field(description="<kind>.<key>, by which the table can be sorted.")
    kind: str
    title: str
    good: bool = Field(description="Whether a higher figure is better.")
    unit: str = Field(description="% for shares; else decimals of a number.")
    overall: Estimate
    scale: tuple[float, float] = Field(description="From and to of the column's whiskers.")
    score: str = Field(description="Column of the score table that puts images in the order of this figure.")


class JointCell(BaseModel):
    """A class or slice in one test."""

    estimate: Estimate
    worse: bool = Field(description="Worse than chance explains, every group of the column considered.")
    href: str = Field("", description="Path of its images, the worst first; empty in a report.")


class JointRow(BaseModel):
    """A class or slice."""

    name: str
    href: str = Field(description="Path of its page; empty in a report.")
    unchanged: Estimate | None = Field(description="Share of right predictions without any stress.")
    cells: list[JointCell | None] = Field(description="In the order of the columns; none where too few were measured.")


class Joint(BaseModel):
    """Classes or slices, the worst first, against all stress tests."""

    unchanged: Estimate | None = Field(description="Share of right predictions of all images without any stress.")
    columns: list[JointColumn]
    rows: list[JointRow]
    total: int = Field(description="Classes or slices that were measured, shown or not.")
    sort: str = Field(description="Key of the column that it is sorted by; empty: by all of them.")


class Stress(BaseModel):
    """What a report says of a run under stress, before what each test found."""

    scorecard: Scorecard
    slices: Joint | None = Field(description="The worst slices against stress tests; none where no test has any.")
    classes: Joint | None = Field(description="The worst classes against stress tests; none where no test has any.")


class Group(NamedTuple):
    """A class or slice as a row needs it."""

    id: int
    name: str
    page: str
    unchanged: Estimate | None


Columns = Sequence[tuple[str, GroupColumn]]
"""Kind and column."""


def scorecard(reader: RunReader, kinds: Sequence[str], home: str = "") -> Scorecard | None:
    """Return the headlines of a run's stress tests; none where it has none. `home`: path of the robustness page."""
    known = audits.kinds()
    lines = [
        TestLine(**dict(one), kind=name, href=f"{home}#{name}" if home else "")
        for name in kinds
        if name in known
        for one in known[name].headlines(reader)
    ]
    lows = [line.estimate.low or line.estimate.value for line in lines if line.estimate]
    highs = [line.estimate.high or line.estimate.value for line in lines if line.estimate]
    scale = (min([0.0, *lows]), max([1.0, *highs]))
    return Scorecard(lines=lines, scale=scale, href=home) if lines else None


def columns_of(reader: RunReader, kinds: Sequence[str]) -> list[tuple[str, GroupColumn]]:
    """Return what a run's stress tests say of its classes and slices."""
    known = audits.kinds()
    return [(name, column) for name in kinds if name in known for column in known[name].group_columns(reader)]


class Shape(NamedTuple):
    """How a table is sorted and how much of it is shown."""

    unchanged: Estimate | None
    """Accuracy of the whole split."""
    sort: str = ""
    """Key of a column; empty: by all of them."""
    most: int | None = None
    scores: frozenset[str] = frozenset()
    """Columns of the run's score table."""


def joint_classes(columns: Columns, groups: Sequence[Group], shape: Shape) -> Joint:
    """Join the columns' classes."""
    return _joint(columns, lambda column: column.classes, groups, shape)


def joint_slices(columns: Columns, groups: Sequence[Group], shape: Shape) -> Joint:
    """Join the columns' slices."""
    return _joint(columns, lambda column: column.slices, groups, shape)


def _joint(
    columns: Columns,
    figures: Callable[[GroupColumn], Mapping[int, GroupFigure]],
    groups: Sequence[Group],
    shape: Shape,
) -> Joint:
    asked = [(kind, column) for kind, column in columns if figures(column)]
    keys = [f"{kind}.{column.key}" for kind, column in asked]
    sort = shape.sort if shape.sort in keys else ""
    judging = [column for key, (_, column) in zip(keys, asked, strict=True) if sort in {"", key}]
    badness = _badness([(figures(column), column.good) for column in judging])
    measured = [group for group in groups if any(group.id in figures(column) for _, column in asked)]
    measured.sort(key=lambda group: (badness.get(group.id, (1, 0.0)), group.id))
    return Joint(
        unchanged=shape.unchanged,
        columns=[_column(key, kind, column, figures(column)) for key, (kind, column) in zip(keys, asked, strict=True)],
        rows=[_row(group, [column for _, column in asked], figures, shape.scores) for group in measured[: shape.most]],
        total=len(measured),
        sort=sort,
    )


def _badness(columns: Sequence[tuple[Mapping[int, GroupFigure], bool]]) -> dict[int, tuple[int, float]]:
    """What sorts groups with the worst first: the most marks, then the mean place (0 the worst, 1 the best).

    By a single column the place alone; of each column its figures, and whether a higher one is better.
    """
    marks: dict[int, int] = {}
    places: dict[int, list[float]] = {}
    for figures, good in columns:
        order = sorted(figures, key=lambda id_: figures[id_].estimate.value * (1 if good else -1))
        for place, id_ in enumerate(order):
            places.setdefault(id_, []).append(place / max(len(order) - 1, 1))
            marks[id_] = marks.get(id_, 0) - (figures[id_].worse and len(columns) > 1)
    return {id_: (marks[id_], sum(found) / len(found)) for id_, found in places.items()}


def _column(key: str, kind: str, column: GroupColumn, figures: Mapping[int, GroupFigure]) -> JointColumn:
    shown = [column.overall, *(figure.estimate for figure in figures.values())]
    highest = 1.0 if column.unit == SHARES else max(one.high or one.value for one in shown) or 1.0
    lowest = min(0.0, *(one.low or 0.0 for one in shown))
    own = {name: getattr(column, name) for name in ("title", "good", "unit", "overall", "score")}
    return JointColumn(key=key, kind=kind, scale=(lowest, highest), **own)


def _row(
    group: Group,
    columns: Sequence[GroupColumn],
    figures: Callable[[GroupColumn], Mapping[int, GroupFigure]],
    scores: Collection[str],
) -> JointRow:
    cells = [
        _cell(figures(column)[group.id], group.page, column.score if column.score in scores else "")
        if group.id in figures(column)
        else None
        for column in columns
    ]
    return JointRow(name=group.name, href=group.page, unchanged=group.unchanged, cells=cells)


def _cell(figure: GroupFigure, page: str, score: str) -> JointCell:
    order = f"?sort={score}" if score else ""
    href = figure.href or (f"{page}{order}#images" if page else "")
    return JointCell(estimate=figure.estimate, worse=figure.worse, href=href)


def class_groups(reader: RunReader, unchanged: Mapping[int, Estimate]) -> list[Group]:
    """Return a run's classes; `unchanged`: their accuracy by index."""
    return [
        Group(index, name, reader.link(Subject("class", reader.run_id, index)), unchanged.get(index))
        for index, name in enumerate(reader.classes)
    ]


def slice_groups(reader: RunReader) -> list[Group]:
    """Return a run's confirmed slices; what is unchanged is their accuracy on confirm rows."""
    return [
        Group(
            finding.id,
            finding.title,
            reader.link(Subject("slice", reader.run_id, finding_id=finding.id)),
            _right(finding.metrics.get("errors")),
        )
        for finding in reader.findings("slices", subject="slice", evidence="confirmed")
    ]


def accuracy(card: Mapping[str, Any]) -> Estimate | None:
    """Return the whole split's accuracy of a report card's summary."""
    found = card.get("accuracy")
    return Estimate(**{name: found[name] for name in ("value", "low", "high", "n")}) if found else None


def _right(errors: Mapping[str, Any] | None) -> Estimate | None:
    if not errors:
        return None
    low, high = errors.get("low"), errors.get("high")
    return Estimate(
        value=1 - errors["value"],
        low=None if high is None else 1 - high,
        high=None if low is None else 1 - low,
        n=errors["n"],
    )
