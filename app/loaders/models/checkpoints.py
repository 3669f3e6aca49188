"""All checkpoints of a version as graphs of one network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import fx

from app.errors import UserError
from app.loaders.models.graph import normalised_graph
from app.loaders.models.no_gradients import NoGradients
from app.loaders.models.spec import ModelSpec

_RIGHT = "The checkpoints of a version are one network at several moments; upload another network as its own version."


def read_checkpoints(files: list[Path], spec: ModelSpec, device: torch.device) -> list[fx.GraphModule]:
    """Look into each checkpoint.

    Raises:
        NoGradients: see `normalised_graph`.
        UserError: a checkpoint cannot be read, or its weights have other shapes than those of the last one.
    """
    graphs = [_read(place, files, spec, device) for place in range(len(files))]
    expected = _shapes(graphs[-1]) if graphs else []
    for place, graph in enumerate(graphs):
        if (found := _shapes(graph)) != expected:
            raise UserError(
                f"Checkpoint {place + 1} of {len(files)} is another network than the last one: "
                f"{_first(found, expected)}. {_RIGHT}"
            )
    return graphs


def _read(place: int, files: list[Path], spec: ModelSpec, device: torch.device) -> fx.GraphModule:
    try:
        return normalised_graph(files[place], spec, device)
    except NoGradients:
        raise
    except UserError as error:
        if len(files) == 1:
            raise
        raise UserError(f"Checkpoint {place + 1} of {len(files)}: {error} {_RIGHT}") from error


def _shapes(graph: fx.GraphModule) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in graph.parameters()]


def _first(found: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> str:
    if len(found) != len(expected):
        return f"it has {len(found)} weights, the last one {len(expected)}"
    one, other = next(pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1])
    return f"a weight has the shape {'×'.join(map(str, one))} instead of {'×'.join(map(str, other))}"
