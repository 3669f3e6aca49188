"""Adds up what the shards found: what each method certifies at each size, for whom, and at what cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, ScoreColumn
from app.audits.drawn import LEAST, share
from app.audits.patches.figures import Arrays, group_row, method_rows, ran
from app.audits.patches.schema import METHODS, GroupRow, Method, PatchesSummary, PatchSize, sides
from app.audits.patches.words import doubts
from app.audits.pixels import ENDS, PICTURES
from app.audits.texts import texts

SHOWN = 12
"""Classes that the summary lists."""
_STAGE = "certify.list."
_ARRAYS = ("clean", "defended", "certified", "vote", "signs")


def summarise(inputs: Inputs) -> Result:
    """Return the summary; of the tested rows `positions`, `labels` and what `measure` found, sizes by rising side;
    of some `mapped` positions `map`, and their pictures."""
    model = inputs.audited.model
    if f"{_STAGE}row" not in model:
        return _nothing("This model is a table of predictions: there is no network to show masked images to.")
    every = inputs.audited.manifest["label"].to_numpy()
    positions = np.asarray(model[f"{_STAGE}row"]) - int(inputs.audited.manifest["row"][0].as_py())
    known = every[positions] >= 0
    if not known.any():
        return _nothing("None of the images that were drawn has a label and can be read, so that nothing was tested.")
    height, width = (int(length) for length in model[f"{_STAGE}size"][0])
    sizes = sides(inputs.params.sizes, height, width)
    order = [inputs.params.sizes.index(text) for text, _ in sizes]
    found: Arrays = {name: np.asarray(model[_STAGE + name])[known] for name in _ARRAYS}
    found |= {name: found[name][:, :, order] for name in ("defended", "certified")}
    labels = every[positions[known]].astype(np.int64)
    if not ran(found["certified"]):
        said = "; ".join(f"{name}: {why}" for name, why in _left_out(inputs).items())
        return _nothing(
            f"None of the chosen methods can run here ({said}). Choose two masks, which takes any classifier."
        )
    summary = _summary(inputs, found, labels, (height, width))
    summary.sizes = [PatchSize(text=text, px=px) for text, px in sizes]
    _lead(summary, inputs, found, labels)
    details = {"positions": positions[known].astype(np.int64), "labels": labels.astype(np.int32), **found}
    kept = _maps(inputs, order)
    summary.mapped = len(kept["mapped"])
    score = _score(every, positions[known], found)
    return Result(summary.model_dump(), scores=[score], details=details | kept)


def _nothing(why: str) -> Result:
    return Result(PatchesSummary(unavailable=why).model_dump())


def _summary(inputs: Inputs, found: Arrays, labels: NDArray[np.int64], shape: tuple[int, int]) -> PatchesSummary:
    params, model = inputs.params, inputs.audited.model
    asked = np.asarray(model[f"{_STAGE}asked"]).sum(axis=0)
    return PatchesSummary(
        budget=params.budget,
        rows=len(labels),
        of_rows=int((inputs.audited.manifest["label"].to_numpy() >= 0).sum()),
        height=shape[0],
        width=shape[1],
        fill=params.fill,
        clean=share(found["clean"] == labels),
        methods=method_rows(found, labels, asked, shape, params),
        left_out=_left_out(inputs),
        doubts=doubts(found["signs"]),
    )


def _left_out(inputs: Inputs) -> dict[Method, str]:
    why = texts(inputs.audited.model[f"{_STAGE}reason"][: len(METHODS)])
    return {name: text for name, text in zip(METHODS, why, strict=True) if text}


def _lead(summary: PatchesSummary, inputs: Inputs, found: Arrays, labels: NDArray[np.int64]) -> None:
    """Add the classes of which the leading method certifies least at the middle size."""
    held = found["certified"][:, METHODS.index(summary.methods[0].method), summary.middle]
    right = found["clean"] == labels
    classes = [
        group_row(inputs.classes[c], right[labels == c], held[labels == c], c) for c in np.unique(labels).tolist()
    ]
    summary.classes, summary.of_classes = _worst(classes), len(classes)


def _worst(groups: list[GroupRow]) -> list[GroupRow]:
    ranked = [group for group in groups if group.clean.n >= LEAST]
    return sorted(ranked, key=lambda group: (group.certified.value, group.clean.value))[:SHOWN]


def _maps(inputs: Inputs, order: list[int]) -> dict[str, NDArray[Any]]:
    """Maps and pictures by rising position; anything that is no WebP file is replaced by nothing."""
    model = inputs.audited.model
    rows, lengths = np.asarray(model[f"{_STAGE}mapped"]), np.asarray(model[f"{_STAGE}picture"])
    data, ends = np.asarray(model[f"{_STAGE}pictures"]), np.cumsum(lengths)
    files = [data[end - length : end] for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)]
    whole = [f if bytes(f[:4]) == b"RIFF" and bytes(f[8:12]) == b"WEBP" else f[:0] for f in files]
    return {
        "mapped": (rows - int(inputs.audited.manifest["row"][0].as_py())).astype(np.int64),
        "map": np.asarray(model[f"{_STAGE}map"])[:, :, order],
        PICTURES: np.concatenate(whole) if whole else np.zeros(0, np.uint8),
        ENDS: np.cumsum([len(file) for file in whole]).astype(np.int64),
    }


def _score(every: NDArray[Any], positions: NDArray[np.int64], found: Arrays) -> ScoreColumn:
    """How many of the sizes each image is certified at by the leading method, as a share."""
    ran = next(place for place in range(len(METHODS)) if (found["certified"][:, place] >= 0).any())
    values = np.full(len(every), np.nan)
    values[positions] = found["certified"][:, ran].mean(axis=1)
    return ScoreColumn(
        "patch_certified", values, f"Share of the patch sizes at which {METHODS[ran]} certifies the image."
    )
