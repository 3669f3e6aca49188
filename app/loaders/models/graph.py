"""One way to look into a network: a graph of functional ATen operations, whatever it was written as."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch._decomp import get_decompositions

from app.errors import UserError
from app.loaders.models.graph_device import moved
from app.loaders.models.graph_outputs import only_logits
from app.loaders.models.no_gradients import BoundToBatch, NoGradients
from app.loaders.models.spec import ModelSpec

FORMATS = ("safetensors", "export", "onnx")
"""Formats of models that can be looked into."""
_ROWS = 3
_ATEN = torch.ops.aten
_RECURRENT = (_ATEN.lstm.input, _ATEN.gru.input, _ATEN.rnn_tanh.input, _ATEN.rnn_relu.input)
"""Layers that are written as their steps, whose linear layers can be followed."""


def normalised_graph(path: Path, spec: ModelSpec, device: torch.device) -> fx.GraphModule:
    """Read a network as a graph without in-place operations, for any batch size.

    Its operations keep their names (linear, conv2d, …); its parameters are the module's, frozen, in float32; it
    returns logits float32 [n, C] alone, also where the network returns more or probabilities.

    Raises:
        NoGradients: a format without gradients, or a network that cannot be written as one graph.
        UserError: the file is not what `spec` says.
    """
    if spec.format not in FORMATS:
        raise NoGradients(f"A {spec.format} model gives no gradients; upload it as safetensors or with torch.export.")
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            graph = functional_graph(_program(path, spec))
    except UserError:
        raise
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        raise NoGradients(
            f"The network cannot be written as one graph ({_first_line(error)}), so it cannot be differentiated here. "
            "Branches on values and data-dependent shapes in its forward pass are the usual reasons."
        ) from error
    return moved(_alone(graph.float(), spec), device).requires_grad_(False)


def functional_graph(program: torch.export.ExportedProgram) -> fx.GraphModule:
    """Write an exported network in functional ATen operations that allow any order of memory, recurrent layers as
    their steps."""
    graph = program.run_decompositions(get_decompositions(_RECURRENT)).module(check_guards=False)
    assert isinstance(graph, fx.GraphModule)
    for node in graph.graph.nodes:
        # The order of memory depends on the batch size and the device; the one at tracing is not that of every use.
        if node.target is _ATEN.view.default:
            node.target = _ATEN.reshape.default
    graph.recompile()
    return graph


def _alone(graph: fx.GraphModule, spec: ModelSpec) -> fx.GraphModule:
    """Keep the scores of all that the graph returns, for several images at once."""
    images = example(spec, _ROWS)
    try:
        with torch.no_grad():
            raw = graph(images)
    except (RuntimeError, AssertionError) as error:
        raise BoundToBatch(_first_line(error)) from error
    return only_logits(graph, raw, spec, _ROWS)


def _program(path: Path, spec: ModelSpec) -> torch.export.ExportedProgram:
    if spec.format == "export":
        from app.loaders.models.formats import export  # noqa: PLC0415

        return export.read_program(path)
    dynamic = ({0: torch.export.Dim("batch")},)
    return torch.export.export(_network(path, spec), (example(spec, 2),), dynamic_shapes=dynamic)


def _network(path: Path, spec: ModelSpec) -> nn.Module:
    if spec.format == "onnx":
        from app.loaders.models.onnx_graph import network  # noqa: PLC0415

        return network.read_network(path, spec).requires_grad_(False)
    from app.loaders.models.formats import safetensors  # noqa: PLC0415

    return safetensors.read_network(path, spec).requires_grad_(False)


def example(spec: ModelSpec, rows: int) -> Tensor:
    """Images of no content, float32 [rows, channels, height, width]."""
    steps = spec.preprocessing
    return torch.zeros(rows, steps.channels, *steps.size)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
