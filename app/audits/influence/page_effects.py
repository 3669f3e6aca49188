"""What acts together: components and clusters of training data by effect, and how two runs differ in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.influence.compare_schema import CompareAnswer, Direction
from app.audits.influence.page_ends import class_name, worth
from app.audits.influence.schema import METHODS, EffectsSummary, InfluenceSummary, Method
from app.audits.pieces import Estimate, Thumb
from app.errors import NotFound

NAMED = 2

Found = Mapping[tuple[str, int, str, str], list[int]]


class Ways(BaseModel):
    """A component, or a difference: at either end, training images and the audited images that feel them."""

    title: str
    named: str = Field(description="Commonest labels of the training images at its two ends, in words.")
    text: str = Field(description="How much it explains.")
    train_high: list[Thumb]
    audited_high: list[Thumb]
    train_low: list[Thumb]
    audited_low: list[Thumb]


class Group(BaseModel):
    """Training images with the same effects."""

    title: str
    text: str
    members: list[Thumb]
    helped: list[Thumb]
    hurt: list[Thumb]


class Effects(BaseModel):
    """Components and clusters of training data by effect."""

    lead: str
    components: list[Ways]
    clusters: list[Group]


class Compared(BaseModel):
    """How two runs' models differ in the training data that they lean on."""

    similarity: Estimate = Field(description="Mean cosine of the two models' attributions of the same image.")
    lead: str
    own: list[Ways]
    others: list[Ways]


def effects_panel(summary: InfluenceSummary, reader: RunReader) -> list[Panel]:
    """Return the panel of the page of training data; none where the run found none."""
    if summary.effects is None:
        return []
    try:
        found = _read(reader)
    except NotFound:
        return []
    labels = _labels(reader)
    context = Effects(
        lead=_lead(summary),
        components=[_way(number, share, found, labels, reader) for number, share in enumerate(summary.effects.shares)],
        clusters=[_group(number, summary.effects, found, labels, reader) for number in range(_count(summary.effects))],
    )
    return [Panel("influence-effects", "What acts together", "influence/effects.html", context, 50)]


def compared_panel(result: Mapping[str, Any], reader: RunReader) -> Panel:
    """Return what a worker found when it compared two runs."""
    answer, labels = CompareAnswer.model_validate(result), _labels(reader)
    context = Compared(
        similarity=Estimate(value=answer.similarity, low=answer.low, high=answer.high, n=answer.targets),
        lead=f"By {METHODS[answer.method].title}, {_sampled(answer.targets, answer.of_targets)}. "
        + _worth(answer.method, InfluenceSummary.model_validate(reader.summary("influence"))),
        own=[_difference(n, one, labels, reader) for n, one in enumerate(answer.own)],
        others=[_difference(n, one, labels, reader) for n, one in enumerate(answer.others)],
    )
    return Panel("influence-compared", "What the two models lean on", "influence/compared.html", context)


def _count(effects: EffectsSummary) -> int:
    return len(effects.clusters)


def _read(reader: RunReader) -> Found:
    found: dict[tuple[str, int, str, str], list[int]] = {}
    for entry in reader.table("influence", "effects", "ends").to_pylist():
        found.setdefault((entry["group"], entry["number"], entry["side"], entry["end"]), []).append(entry["row"])
    return found


def _labels(reader: RunReader) -> dict[int, int]:
    """Label of each training image, by data set row."""
    train = reader.table("influence", "attribute", "train")
    return dict(zip(train["row"].to_pylist(), train["label"].to_pylist(), strict=True))


def _lead(summary: InfluenceSummary) -> str:
    effects = summary.effects
    assert effects is not None
    return (
        f"By {METHODS[effects.method].title}, {_sampled(effects.targets, effects.of_targets)}. Training images at one "
        "end of a component help the audited images at the same end and hurt those at the other. "
    ) + _worth(effects.method, summary)


def _worth(method: Method, summary: InfluenceSummary) -> str:
    return next((worth(one, summary) for one in summary.methods if one.method == method), "")


def _sampled(targets: int, of: int) -> str:
    if targets == of:
        return f"over all {of:,} audited images"
    return f"over {targets:,} of the {of:,} audited images, drawn at random: the scores of all would not fit in memory"


def _way(number: int, share: float, found: Found, labels: Mapping[int, int], reader: RunReader) -> Ways:
    ends = {
        f"{side}_{end}": found.get(("component", number, side, end), [])
        for side in ("train", "audited")
        for end in ("high", "low")
    }
    text = f"{100 * share:.1f} % of all effects"
    return _drawn(f"Component {number + 1}", text, ends, labels, reader)


def _difference(number: int, one: Direction, labels: Mapping[int, int], reader: RunReader) -> Ways:
    text = f"{100 * one.own:.1f} % of what it leans on, {100 * one.other:.1f} % of what the other does{_more(one)}"
    ends = {name: getattr(one, name) for name in ("train_high", "train_low", "audited_high", "audited_low")}
    return _drawn(f"Difference {number + 1}", text, ends, labels, reader)


def _more(one: Direction) -> str:
    if one.low is None or one.high is None:
        return ""
    if one.low <= 0:
        return f": no more than chance on the {one.n:,} images that did not choose it"
    return f": {100 * one.low:.1f}–{100 * one.high:.1f} points more (95 % interval, n {one.n:,})"


def _drawn(title: str, text: str, ends: Mapping[str, list[int]], labels: Mapping[int, int], reader: RunReader) -> Ways:
    return Ways(
        title=title,
        named=f"{_common(ends['train_high'], labels, reader)} against {_common(ends['train_low'], labels, reader)}",
        text=text,
        train_high=_trained(ends["train_high"], labels, reader),
        train_low=_trained(ends["train_low"], labels, reader),
        audited_high=_audited(ends["audited_high"], reader),
        audited_low=_audited(ends["audited_low"], reader),
    )


def _common(rows: Sequence[int], labels: Mapping[int, int], reader: RunReader) -> str:
    counted = Counter(class_name(reader, labels.get(row, -1)) for row in rows)
    return " and ".join(name for name, _ in counted.most_common(NAMED)) or "nothing"


def _group(number: int, effects: EffectsSummary, found: Found, labels: Mapping[int, int], reader: RunReader) -> Group:
    one = effects.clusters[number]
    named = ", ".join(f"{class_name(reader, label)} {100 * count / one.n:.0f} %" for label, count in one.labels)
    rows = {end: found.get(("cluster", number, "audited", end), []) for end in ("high", "low")}
    return Group(
        title=f"{one.n:,} images",
        text=named,
        members=_trained(found.get(("cluster", number, "train", "high"), []), labels, reader),
        helped=_audited(rows["high"], reader),
        hurt=_audited(rows["low"], reader),
    )


def _trained(rows: Sequence[int], labels: Mapping[int, int], reader: RunReader) -> list[Thumb]:
    named = [(row, class_name(reader, labels.get(row, -1))) for row in rows]
    return [
        Thumb(
            src=reader.picture(row),
            alt=f"Training image labelled {name}",
            text=name,
            href=reader.link(Subject("training_image", reader.run_id, row=row)),
        )
        for row, name in named
    ]


def _audited(rows: Sequence[int], reader: RunReader) -> list[Thumb]:
    return [thumb for thumb in reader.thumbs([row - reader.split_start for row in rows], named=True) if thumb]
