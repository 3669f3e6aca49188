"""What a kind does in a worker, in its order: stages, work on the network itself, networks trained anew. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class StageSpec:
    """One stage of a kind: a pure function `(Inputs) -> Result`, run once per run in a worker."""

    name: str
    title: str
    version: int
    function: str
    """`package.module:callable` inside the kind's folder."""
    needs: tuple[str, ...] = ()
    """Names of the kind's earlier stages whose results it reads (`Inputs.earlier`); one that is left out is absent."""
    reads: tuple[str, ...] = ()
    """Stages of other kinds, "<kind>:<stage>", whose results it reads under that name where the run has the kind."""


@dataclass(frozen=True)
class ModelBatch:
    """Some rows of a shard, ready for the network."""

    start: int
    """Place of the first row within the shard."""
    images: Any
    """torch float32 [b, channels, height, width], preprocessed, on the device."""
    labels: Any
    """torch int64 [b] in the model's numbering; −1 where unknown or not readable."""


@dataclass(frozen=True)
class ModelShard:
    """What the function of a `ModelStageSpec` gets, in the sandboxed child."""

    networks: Sequence[Any]
    """A normalised operation graph (`torch.fx.GraphModule`) for each checkpoint, in order."""
    batches: Callable[[], Iterator[ModelBatch]]
    """Starts over at each call; also tells the worker how far the shard is."""
    rows: int
    params: Mapping[str, Any]
    seed: int
    fitted: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What the function of the stage's `FitSpec` returned; empty where it has none."""


@dataclass(frozen=True)
class FitSpec:
    """What a `ModelStageSpec` learns of the network before its shards: `(ModelShard) -> {name: array}`, of any shapes.

    It runs once, in the sandboxed child, on a seeded sample of the training split's labelled rows; every shard gets
    what it returned. A stage that fits is left out where the run has no training split.
    """

    title: str
    function: str
    """`package.module:callable` inside the kind's folder."""
    rows: int
    """Training images at most."""


@dataclass(frozen=True)
class ModelStageSpec:
    """Work on the network itself: `(ModelShard) -> {name: array [rows, …]}`, in shards over the rows of both splits.

    It runs in the sandboxed child that holds the upload, never in a worker; the kind's stages read what it wrote as
    `Split.model["<stage>.<name>"]`.
    """

    name: str
    title: str
    version: int
    function: str
    """`package.module:callable` inside the kind's folder."""
    params: tuple[str, ...] = ()
    """Names of the kind's parameters that it depends on."""
    formats: tuple[str, ...] = ("safetensors", "export")
    """Formats of models that give gradients; for others the stage is left out."""
    reads: Literal["graphs", "pixels"] = "graphs"
    """pixels: the function gets an `app.audits.pixels.PixelShard` of the audited split instead, for any format."""
    switch: str = ""
    """Name of the kind's whole-number parameter that asks for it, left out while that is 0; empty: always asked for."""
    fit: FitSpec | None = None
    """What it learns of the network first; changes of its function count for `version`."""
    shard_rows: int = 0
    """Rows of a shard at most, where a row costs far more than prediction; 0: as many as for prediction."""
    slow: bool = False
    """Whether a shard may take as long as training a network."""


@dataclass(frozen=True)
class RetrainStageSpec:
    """Networks trained anew from the version's recipe, each on rows of the training split that an earlier stage chose.

    It runs in the sandboxed child, in shards over models, and is left out while the parameter `switch` is 0. See
    `app.audits.retraining` for what the stage `plan` leaves behind and what later stages read.
    """

    name: str
    title: str
    version: int
    plan: str
    """The earlier stage that says which rows each network sees, from which seed, and what it is asked."""
    switch: str
    """Name of the kind's whole-number parameter that asks for retraining."""
    measure: str = ""
    """`package.module:callable` inside the kind's folder, `(TrainedNetwork) -> {name: array [targets, …]}`, called on
    each network in the child that trained it; see `app.audits.retraining`. Empty: margins are all that is wanted."""
    params: tuple[str, ...] = ()
    """Names of the kind's parameters that `measure` depends on."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the kind's earlier stages that it reads."""
        return (self.plan,)
