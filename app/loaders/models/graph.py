"""One way to look into a network: a graph of functional ATen operations, whatever it was written as."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, fx

from app.errors import UserError
from app.loaders.models.spec import ModelSpec

FORMATS = ("safetensors", "export")
"""Formats of models that can be looked into."""


def normalised_graph(path: Path, spec: ModelSpec, device: torch.device) -> fx.GraphModule:
    """Read a network as a graph without in-place operations, for any batch size where it allows one.

    Its operations keep their names (linear, conv2d, …); its parameters are the module's, frozen, in float32.

    Raises:
        UserError: a format without gradients, or a network that cannot be written as one graph.
    """
    if spec.format not in FORMATS:
        raise UserError(f"A {spec.format} model gives no gradients; upload it as safetensors or with torch.export.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = _program(path, spec).run_decompositions({})
            graph = program.module(check_guards=False)
    except UserError:
        raise
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        raise UserError(
            f"The network cannot be written as one graph ({_first_line(error)}), so it cannot be differentiated here. "
            "Branches on values and data-dependent shapes in its forward pass are the usual reasons."
        ) from error
    assert isinstance(graph, fx.GraphModule)
    return graph.float().to(device).requires_grad_(False)


def _program(path: Path, spec: ModelSpec) -> torch.export.ExportedProgram:
    if spec.format == "export":
        from app.loaders.models.formats import export  # noqa: PLC0415

        return export.read_program(path)
    from app.loaders.models.formats import safetensors  # noqa: PLC0415

    network = safetensors.read_network(path, spec).requires_grad_(False)
    images = _example(spec)
    return torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _example(spec: ModelSpec) -> Tensor:
    steps = spec.preprocessing
    return torch.zeros(2, steps.channels, *steps.size)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
