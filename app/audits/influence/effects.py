"""Stage `effects`: which training images act together, as directions and clusters of the attribution matrix."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from app.audits.base import Inputs, Result, Split
from app.audits.influence.compute import BLOCK
from app.audits.influence.ranking import ranked
from app.audits.influence.schema import ClusterSummary, EffectsSummary, InfluenceSummary, Method
from app.audits.influence.scores import Attributor
from app.numerics.attribution.effects import EffectComponents, effect_components
from app.numerics.kmeans import kmeans, nearest_centre, simplified_silhouette

MOST_NUMBERS = 20_000_000
"""Scores held at once; of more audited images a random sample is taken."""
COMPONENTS = 6
CLUSTERS = range(3, 9)
MOST_TRAINED = 5_000
SHOWN, MEMBERS = 6, 12
LABELS = 3


class Matrix(NamedTuple):
    """Scores float32 [N, m] with columns of length one, of the targets at places int64 [m]."""

    method: Method
    scores: Tensor
    targets: NDArray[np.int64]


def effects(inputs: Inputs) -> Result:
    """Decompose and cluster the attributions of the most trusted method.

    Details: `scores` float16 [N, m], each column of length √N, and `targets` int64 [m], places in the audited split.
    Table `ends`: `group` (component or cluster), `number`, `side` (train or audited), `end` (high or low), `row` of the
    data set; the strongest first.
    """
    train, method = inputs.train, _method(inputs)
    if train is None or method is None:
        return Result(summary={})
    found = _matrix(inputs, train, method)
    inputs.progress(0.7, "Finding directions")
    generator = torch.Generator().manual_seed(inputs.seed)
    components = effect_components(found.scores, COMPONENTS, generator)
    inputs.progress(0.8, "Clustering training images by effect")
    labels = cluster(components, generator)
    ends = _Ends(train, inputs.audited, found.targets)
    for c in range(components.train.shape[1]):
        ends.both("component", c, "train", components.train[:, c])
        ends.both("component", c, "audited", components.targets[:, c])
    clusters = _clusters(found, labels, train, ends)
    summary = EffectsSummary(
        method=method,
        targets=len(found.targets),
        of_targets=len(inputs.audited.manifest),
        shares=components.share.tolist(),
        clusters=clusters,
    )
    kept = (found.scores * math.sqrt(len(found.scores))).half().numpy()
    return Result(
        summary={"effects": summary.model_dump(mode="json")},
        details={"scores": kept, "targets": found.targets},
        tables={"ends": ends.table()},
    )


def sampled_targets(train_rows: int, targets: int) -> NDArray[np.int64]:
    """Places of the audited images whose attributions are held at once: the same in every run on the same splits."""
    most = max(MOST_NUMBERS // max(train_rows, 1), 1)
    if targets <= most:
        return np.arange(targets)
    return np.sort(np.random.default_rng(0).permutation(targets)[:most])


def cluster(components: EffectComponents, generator: torch.Generator) -> Tensor:
    """Cluster of each training row by where its effects point, int64 [N]; their number is the clearest of a few."""
    points = normalize(components.train * components.share.sqrt(), dim=1).float()
    some = points[torch.randperm(len(points), generator=generator)[:MOST_TRAINED]]
    tried = [kmeans(some, k, generator).centres for k in CLUSTERS if k < len(some)] or [some[:1]]
    best = max(tried, key=lambda centres: simplified_silhouette(some, centres) if len(centres) > 1 else 0.0)
    return nearest_centre(points, best)


def _method(inputs: Inputs) -> Method | None:
    """The method that pages show first; none where nothing was attributed."""
    found = [json.loads((inputs.earlier[name] / "summary.json").read_text()) for name in ("attribute", "prove")]
    summary = InfluenceSummary.model_validate({**found[0], **found[1]})
    usable = [m.method for m in ranked(summary.methods) if not m.reason]
    return None if summary.unavailable or not usable else usable[0]


def _matrix(inputs: Inputs, train: Split, method: Method) -> Matrix:
    targets = sampled_targets(len(train.manifest), len(inputs.audited.manifest))
    scores = torch.empty(len(train.manifest), len(targets))
    score = Attributor(inputs, train, inputs.audited).methods[method]
    for start in range(0, len(targets), BLOCK):
        inputs.progress(0.7 * start / len(targets), "Scoring all pairs")
        block = targets[start : start + BLOCK]
        scores[:, start : start + BLOCK] = normalize(score(block), dim=0)
    return Matrix(method, scores, targets)


def _clusters(found: Matrix, labels: Tensor, train: Split, ends: _Ends) -> list[ClusterSummary]:
    """Describe clusters, the largest first: their typical members, and whom they help and hurt on average."""
    own, summaries = train.manifest["label"].to_numpy(), []
    sizes = torch.bincount(labels)
    for number, c in enumerate([c for c in sizes.argsort(descending=True).tolist() if sizes[c]]):
        member = labels == c
        mean = found.scores[member].mean(dim=0)
        # Members that act most in the cluster's own way; the others stand at the end.
        typical = torch.where(member, found.scores @ mean, -torch.inf)
        ends.add("cluster", number, "train", "high", typical, min(MEMBERS, int(sizes[c])))
        ends.both("cluster", number, "audited", mean)
        named, counts = np.unique(own[member.numpy()], return_counts=True)
        common = [(int(named[i]), int(counts[i])) for i in np.argsort(-counts, kind="stable")[:LABELS]]
        summaries.append(ClusterSummary(n=int(sizes[c]), labels=common))
    return summaries


class _Ends:
    """Rows of the table `ends`."""

    def __init__(self, train: Split, audited: Split, targets: NDArray[np.int64]) -> None:
        self._rows = {"train": train.manifest["row"].to_numpy(), "audited": audited.manifest["row"].to_numpy()[targets]}
        self._found: list[dict[str, object]] = []

    def both(self, group: str, number: int, side: str, values: Tensor) -> None:
        """Add the highest positive and the lowest negative values."""
        self.add(group, number, side, "high", values, SHOWN, least=0.0)
        self.add(group, number, side, "low", -values, SHOWN, least=0.0)

    def add(
        self, group: str, number: int, side: str, end: str, values: Tensor, count: int, least: float = -math.inf
    ) -> None:
        """Add the rows of the `count` highest values above `least`."""
        high = values.topk(min(count, len(values)))
        for place, value in zip(high.indices.tolist(), high.values.tolist(), strict=True):
            if value > least:
                row = int(self._rows[side][place])
                self._found.append({"group": group, "number": number, "side": side, "end": end, "row": row})

    def table(self) -> pa.Table:
        """All that was added, in order."""
        names = {"group": pa.string(), "number": pa.int32(), "side": pa.string(), "end": pa.string(), "row": pa.int64()}
        return pa.Table.from_pylist(self._found, schema=pa.schema(names))
