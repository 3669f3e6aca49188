"""Shares with their intervals. Imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.drawn import mean_of, share
from app.audits.patches.budgets import EFFORTS, band_width, stride
from app.audits.patches.schema import METHODS, GroupRow, Method, MethodRow, Params

Arrays = dict[str, NDArray[Any]]


def ran(certified: NDArray[np.int8]) -> list[int]:
    """Places in `METHODS` of the methods that ran, of int8 [m, 4, sizes]."""
    return [place for place in range(len(METHODS)) if (certified[:, place] >= 0).any()]


def method_rows(
    found: Arrays, labels: NDArray[np.int64], asked: NDArray[np.int64], shape: tuple[int, int], params: Params
) -> list[MethodRow]:
    """Each method that ran; `asked` int64 [5]: images tested, and those that each method showed the network."""
    return [
        MethodRow(
            method=METHODS[place],
            settings=settings(params, METHODS[place], shape),
            passes=float(asked[1 + place]) / max(int(asked[0]), 1),
            defended=[share(column == labels) for column in found["defended"][:, place].T],
            certified=[share(column) for column in found["certified"][:, place].T],
            votes=mean_of(found["vote"][:, place]) if METHODS[place] != "two masks" else None,
        )
        for place in ran(found["certified"])
    ]


def settings(params: Params, method: Method, shape: tuple[int, int]) -> str:
    """A method's settings for images of that height and width, in words."""
    if method == "two masks":
        masks = EFFORTS[params.budget].masks
        return f"up to {masks} × {masks} masks"
    band, step = band_width(params, method, shape[1]), stride(params, method, shape[1])
    piece = f"blocks of {band} × {band} px" if method == "blocks" else f"columns of {band} px"
    always = method == "smoothed ViT" or not params.threshold
    vote = "the likeliest class votes" if always else f"softmax from {params.threshold:g} votes"
    return f"{piece}, {'at every pixel' if step == 1 else f'every {step} px'}; {vote}"


def group_row(name: str, clean: NDArray[Any], certified: NDArray[Any], class_index: int | None = None) -> GroupRow:
    """Clean accuracy and certified share of a group's outcomes."""
    return GroupRow(name=name, class_index=class_index, clean=share(clean), certified=share(certified))
