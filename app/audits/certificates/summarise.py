"""Adds up what the shards proved and broke: a bracket by ε, class and group, and what each step did and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, ScoreColumn
from app.audits.certificates.budgets import EFFORTS
from app.audits.certificates.checks import refuse_contradictions, refuse_misread
from app.audits.certificates.evidence import Evidence
from app.audits.certificates.figures import bracket, group_row, least_first
from app.audits.certificates.schema import (
    BROKEN,
    EVIDENCE,
    NOT_REPLAYED,
    PROVEN,
    PROVEN_SCORE,
    RADIUS,
    STEPS,
    TIMEOUT,
    TOO_LARGE,
    UNBROKEN_SCORE,
    CertificatesSummary,
    GroupRow,
    Level,
    Radius,
    Step,
)
from app.audits.certificates.worst import worst_places
from app.audits.changed import kept_pictures
from app.audits.drawn import share
from app.audits.epsilon import radius
from app.audits.texts import texts

SHOWN = 12
"""Classes that the summary lists, and pictures that a run keeps."""
LEAST = 5
"""Images below which a class is not ranked."""
POINTS = 24
"""Of the curve of the proven share."""
_STAGE = "prove"


def summarise(inputs: Inputs) -> Result:
    """Return the summary; of the drawn rows `positions`, `labels`, `right`, `state`, `by` and the rest; and pictures.

    Raises:
        UserError: two statements about an image cannot both be true; it names the image.
    """
    model = inputs.audited.model
    if f"{_STAGE}.list.row" not in model:
        why = "This model is a table of predictions: there is no network of which anything could be proven."
        return Result(CertificatesSummary(unavailable=why).model_dump())
    every = inputs.audited.manifest["label"].to_numpy()
    positions = np.asarray(model[f"{_STAGE}.list.row"]) - int(inputs.audited.manifest["row"][0].as_py())
    known = every[positions] >= 0
    positions = positions[known]
    if not len(positions):
        why = "None of the images that were drawn has a label and can be read, so that nothing could be proven."
        return Result(CertificatesSummary(unavailable=why).model_dump())
    names = (*EVIDENCE, "margin", "taken", "radius", "differs")
    found = {name: np.asarray(model[f"{_STAGE}.list.{name}"])[known] for name in names}
    evidence, labels = Evidence.of(found), every[positions].astype(np.int32)
    rows = inputs.audited.manifest.take(positions)
    refuse_misread(found["differs"], rows)
    refuse_contradictions(evidence, rows, inputs.params.radii)
    worst = positions[worst_places(found["found"], found["margin"])].tolist()
    details = {
        "positions": positions.astype(np.int64), "labels": labels, **found,
        "state": evidence.state(), "by": evidence.by(),
    }  # fmt: skip
    return Result(
        _summary(inputs, evidence, labels, found["radius"]).model_dump(),
        scores=_scores(len(every), positions, evidence),
        details=details | kept_pictures(inputs, _STAGE, worst, SHOWN),
    )


def _scores(rows: int, positions: NDArray[np.int64], evidence: Evidence) -> list[ScoreColumn]:
    state, found = evidence.state(), []
    for name, hit, word in (
        (PROVEN_SCORE, state == PROVEN, "is proven to stay right"),
        (UNBROKEN_SCORE, state != BROKEN, "is right and nothing broke it"),
    ):
        values = np.full(rows, np.nan, np.float32)
        values[positions] = hit.mean(axis=1)
        found.append(ScoreColumn(name, values, f"Share of ε at which the image {word}; null: not asked."))
    return found


def _summary(
    inputs: Inputs, evidence: Evidence, labels: NDArray[np.int32], radii: NDArray[np.float32]
) -> CertificatesSummary:
    state, texts_of = evidence.state(), _reasons(inputs)
    levels = [
        Level(text=text, radius=radius(text), bracket=bracket(state[:, column]))
        for column, text in enumerate(inputs.params.radii)
    ]
    shown = _shown(levels)
    classes = [
        group_row(inputs.classes[c], evidence.right[labels == c], state[labels == c, shown], c)
        for c in np.unique(labels).tolist()
    ]
    searched = bool(np.isfinite(radii).all())
    return CertificatesSummary(
        not_provable=texts_of[0],
        no_gradients=texts_of[1],
        left_out=texts_of[2],
        no_verifier=texts_of[3],
        probabilities=bool(np.asarray(inputs.audited.model[f"{_STAGE}.list.probabilities"]).any()),
        budget=inputs.params.budget,
        rows=len(state),
        of_rows=int((inputs.audited.manifest["label"].to_numpy() >= 0).sum()),
        clean=share(evidence.right),
        levels=levels,
        shown=shown,
        steps=_steps(evidence, np.asarray(inputs.audited.model[f"{_STAGE}.list.cost"]).sum(axis=0)),
        timeouts=int(np.isin(evidence.complete, (TIMEOUT, TOO_LARGE)).sum()),
        unconfirmed=int((evidence.complete == NOT_REPLAYED).sum()),
        curve=_curve(radii) if searched else [],
        median=float(np.median(radii)) if searched else None,
        classes=_worst(classes),
        of_classes=len(classes),
        leaves_out=EFFORTS[inputs.params.budget].leaves_out,
    )


def _reasons(inputs: Inputs) -> list[str]:
    """Why: nothing can be proven, no gradients, bounds left out, nothing verified; each empty where it is not so."""
    found = np.asarray(inputs.audited.model[f"{_STAGE}.list.why"])
    said = [texts(shard) for shard in found]
    return [next((shard[place] for shard in said if shard[place]), "") for place in range(4)]


def _shown(levels: Sequence[Level]) -> int:
    """The largest ε at which anything was proven, else the smallest."""
    return max((place for place, level in enumerate(levels) if level.bracket.proven.value > 0), default=0)


def _steps(evidence: Evidence, costs: NDArray[np.float64]) -> list[Step]:
    """What each step that was asked decided; and the search for proven radii, which decides nothing."""
    state, by = evidence.state(), evidence.by()
    rows = []
    for place, name in enumerate((*STEPS, "search for proven radii")):
        asked, passes, seconds = costs[place].tolist()
        if not asked:
            continue
        mine = by == place if place != RADIUS else np.zeros_like(by, bool)
        shown = Step(name=name, asked=int(asked), passes=int(passes), seconds=seconds, proven=[], broken=[])
        shown.proven, shown.broken = _counts(mine & (state == PROVEN)), _counts(mine & (state == BROKEN))
        rows.append(shown)
    return rows


def _counts(hit: NDArray[Any]) -> list[int]:
    counts: list[int] = hit.sum(axis=0).tolist()
    return counts


def _curve(radii: NDArray[np.float32]) -> list[Radius]:
    """Proven share at evenly spaced ε up to the largest radius; empty where nothing is proven."""
    most = float(radii.max(initial=0.0))
    if most <= 0:
        return []
    return [
        Radius(radius=float(at), share=share(radii >= at if at > 0 else radii > 0))
        for at in np.linspace(0, most, POINTS)
    ]


def _worst(groups: list[GroupRow]) -> list[GroupRow]:
    return sorted([group for group in groups if group.clean.n >= LEAST], key=least_first)[:SHOWN]
