"""Parts of a slice by k-means: the split is made from fit rows, so that confirm rows can measure it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from app.audits.base import ActionResult, Inputs
from app.audits.slices.parts_schema import Part, PartsAnswer, PartsPayload, Proposal
from app.audits.slices.rows import BLOCK, Ints, Rows, load
from app.numerics.kmeans import kmeans, nearest_centre, simplified_silhouette

MOST_PARTS = 4
LEAST_FIT = 3
"""Fit rows that each part must hold."""
MOST_TRAINED = 5_000
SHOWN = 10


def parts(inputs: Inputs, payload: PartsPayload) -> ActionResult:
    """Propose splits of a slice into 2 to 4 parts by the run's embeddings; outcomes play no role.

    Raises:
        ValueError: its fit rows fall into no two parts.
    """
    rows = load(inputs, inputs.earlier["slices"])
    members = np.array(payload.rows, dtype=np.int64)
    fit = members[rows.fit[members]]
    features = rows.features(_sample(fit))
    found = {k: _split(rows, members, features, k) for k in range(2, MOST_PARTS + 1) if k * LEAST_FIT <= len(fit)}
    kept = {k: entry for k, entry in found.items() if entry is not None}
    if not kept:
        raise ValueError(f"Its {len(fit):,} fit images do not fall into parts of at least {LEAST_FIT}.")
    proposals = {k: _proposal(rows, members, *entry) for k, entry in kept.items()}
    answer = PartsAnswer(
        finding_id=payload.finding_id,
        counts=list(kept),
        proposals=list(proposals.values()),
        best=max(kept, key=lambda k: proposals[k].separation),
    )
    arrays = {f"labels_{k}": labels for k, (labels, _) in kept.items()}
    return ActionResult(answer.model_dump(mode="json"), arrays=arrays)


def _split(rows: Rows, members: Ints, features: Tensor, k: int) -> tuple[Ints, Tensor] | None:
    """Return the part of each member, the largest part first, and the centres; None where a part is too small."""
    centres = kmeans(features, k, torch.Generator().manual_seed(k)).centres
    blocks = (members[start : start + BLOCK] for start in range(0, len(members), BLOCK))
    labels = np.concatenate([nearest_centre(rows.features(block), centres).cpu().numpy() for block in blocks])
    if np.bincount(labels[rows.fit[members]], minlength=k).min() < LEAST_FIT:
        return None
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    return np.argsort(order)[labels], centres[torch.from_numpy(order).to(centres.device)]


def _proposal(rows: Rows, members: Ints, labels: Ints, centres: Tensor) -> Proposal:
    fit = rows.fit[members]
    features = rows.features(_sample(members[fit]))
    return Proposal(
        parts=[_part(rows, members[labels == part], centres[part]) for part in range(len(centres))],
        separation=simplified_silhouette(features, centres),
    )


def _part(rows: Rows, members: Ints, centre: Tensor) -> Part:
    fit = members[rows.fit[members]]
    distances = torch.linalg.vector_norm(rows.features(fit) - centre, dim=1).cpu().numpy()
    nearest = fit[np.argsort(distances, kind="stable")[:SHOWN]]
    return Part(n=len(members), fit=len(fit), confirm=len(members) - len(fit), exemplars=nearest.tolist())


def _sample(positions: Ints) -> Ints:
    if len(positions) <= MOST_TRAINED:
        return positions
    return np.sort(np.random.default_rng(0).permutation(positions)[:MOST_TRAINED])
