"""Work on the network with the pixels that it is given. Imports no torch.

A `ModelStageSpec` that reads pixels names a function `(PixelShard) -> {name: array [rows, …]}`. An array whose name
starts with `list.` has as many entries as it likes; those of the shards follow one another. Pictures that a stage keeps
for pages are its details `pictures.bytes`, uint8, WebP files laid end to end, and `pictures.ends`, int64 [m].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.errors import UserError

LIST = "list."
PICTURES, ENDS = "pictures.bytes", "pictures.ends"
ALL_FORMATS = ("safetensors", "export", "torchscript", "onnx")
"""Formats of models that can predict."""
SAME_LOGITS = 1e-3
"""Largest difference of two forms of a network, relative to its largest logit, that rounding explains."""


class NotProvable(UserError):
    """Nothing can be proven of the network; the message says which layer stands in the way and which are known.

    No reason to end a run: attacks go on, and the page says this sentence beside them.
    """

    def __init__(self, message: str, layer: str = "") -> None:
        super().__init__(message)
        self.layer = layer
        """The layer in a word; empty where it is not one layer."""


@dataclass(frozen=True)
class PixelBatch:
    """Some rows as the network sees them, before normalisation."""

    places: np.ndarray
    """int64 [b], within the shard."""
    pictures: Any
    """torch uint8 [b, 3, height, width], red, green, blue, on the device; grey networks get three equal channels."""


@dataclass(frozen=True)
class PixelNetwork:
    """The network with its normalisation, on pixels as numbers."""

    forward: Callable[[Any], Any]
    """torch float32 [b, channels, height, width] in [0, 1], red, green, blue → logits float32 [b, C], on one device.

    Can be differentiated where `reason` is empty.
    """
    channels: int
    reason: str = ""
    """Why there are no gradients; empty where there are."""
    probabilities: bool = False
    """Whether the model is declared to give probabilities; `forward` returns their logarithms."""
    others: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """The same network under other normalisations, by what they are in words."""
    program: Callable[[], Any] | None = None
    """The network on the same pixels as an `app.numerics.bounds.program.Program`; raises `NotProvable`."""


@dataclass(frozen=True)
class PixelShard:
    """What the function of a stage that reads pixels gets, in the sandboxed child."""

    classify: Callable[[Any], Any]
    """Pictures as in `PixelBatch` → logits, torch float32 [b, C] on the CPU; those of the last checkpoint."""
    pictures: Callable[[Sequence[int]], Iterator[PixelBatch]]
    """Pictures at these places of the shard, in order and in batches; those that cannot be read are left out."""
    labels: np.ndarray
    """int64 [rows], in the model's numbering; −1 where unknown."""
    start: int
    """Data set row of the first row."""
    split: tuple[int, int]
    """Data set rows [start, stop) of the audited split."""
    params: Mapping[str, Any]
    seed: int
    progress: Callable[[float], None]
    """`progress(share_done)`."""
    network: Callable[[], PixelNetwork] | None = None
    """Looks into the last checkpoint, which takes a moment; none where nobody can."""
    mean: tuple[int, int, int] = (128, 128, 128)
    """The pixel, red, green, blue, that normalisation turns into zeros."""
    module: Callable[[], tuple[Any, Callable[[Any], Any]]] | None = None
    """Builds the last checkpoint as its `nn.Module`, and what makes its inputs of `pictures`; none where the format
    hides it."""
