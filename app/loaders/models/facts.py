"""What each format's file says about the network inside; one reader per format, run in the child."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from app.loaders.models.architectures import guess
from app.loaders.models.metadata import extra_files, read_metadata
from app.loaders.models.outputs import BadOutput, class_scores
from app.loaders.models.sniff import safetensors_header

_SIZES = (224, 32, 28, 64, 96, 128, 160, 192, 256, 299, 384)


class Facts(TypedDict, total=False):
    """All keys optional: what is absent must be asked."""

    metadata: dict[str, Any]
    architectures: tuple[str, ...]
    n_parameters: int
    n_outputs: int
    channels: int
    sizes: tuple[tuple[int, int], ...]
    fixed_batch: int | None
    penultimate: bool
    bad_output: str
    """What is wrong with what the network returned, where it ran but returned no scores."""


def of_safetensors(path: Path) -> Facts:
    """Names and shapes from the header; no tensor is read."""
    from app.loaders.models.weights import strip_prefixes  # noqa: PLC0415

    header = safetensors_header(path)
    pairs = header.pop("__metadata__", {})
    shapes = {
        name: [int(n) for n in entry["shape"]] for name, entry in header.items() if isinstance(entry["shape"], list)
    }
    state = strip_prefixes({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    facts = Facts(
        metadata=read_metadata({key: str(value) for key, value in pairs.items()}),
        architectures=guess(state),
        n_parameters=sum(tensor.numel() for name, tensor in state.items() if not _is_statistic(name)),
    )
    matrices = [tensor for name, tensor in state.items() if tensor.ndim == 2]
    if (known := _last_matrix(state, facts["architectures"])) is not None:
        facts["n_outputs"] = known
    elif len(matrices) == 1:
        facts["n_outputs"] = int(matrices[0].shape[0])
    return facts | _channels(state)


def of_torchscript(path: Path) -> Facts:
    """Loads the module and tries the usual input sizes."""
    from app.loaders.models.formats import torchscript  # noqa: PLC0415
    from app.loaders.models.spec import ModelSpec  # noqa: PLC0415

    backend = torchscript.load(path, ModelSpec(format="torchscript"), torch.device("cpu"), torch.float32)
    state = backend.state()
    facts = Facts(
        metadata=read_metadata(extra_files(path)),
        n_parameters=sum(tensor.numel() for name, tensor in state.items() if not _is_statistic(name)),
        penultimate=backend.shows_features,
    )
    facts |= _channels(state)
    return facts | _try_sizes(backend.run, facts.get("channels", 3), facts["metadata"].get("size"))


def of_export(path: Path) -> Facts:
    """Shapes are part of the graph."""
    from app.loaders.models.formats import export  # noqa: PLC0415
    from app.loaders.models.spec import ModelSpec  # noqa: PLC0415

    backend = export.load(path, ModelSpec(format="export"), torch.device("cpu"), torch.float32)
    facts = Facts(
        n_parameters=backend.n_parameters, fixed_batch=backend.fixed_batch, penultimate=backend.shows_features
    )
    return facts | _from_shape(backend.input_shape) | _try_known(backend, backend.input_shape)


def of_onnx(path: Path) -> Facts:
    """Shapes are part of the graph."""
    from app.loaders.models.formats import onnx  # noqa: PLC0415

    model = onnx.read_graph(path)
    shape = onnx.input_shape(model)
    facts = Facts(
        metadata=read_metadata(onnx.metadata(model)),
        n_parameters=sum(math.prod(weight.dims) for weight in model.graph.initializer if len(weight.dims) > 0),
        fixed_batch=shape[0],
    )
    backend = onnx.OnnxBackend(model, torch.device("cpu"))
    facts["penultimate"] = backend.shows_features
    return facts | _from_shape(shape) | _try_known(backend, shape)


READERS: dict[str, Callable[[Path], Facts]] = {
    "safetensors": of_safetensors,
    "torchscript": of_torchscript,
    "export": of_export,
    "onnx": of_onnx,
}


def _is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _channels(state: dict[str, Tensor]) -> Facts:
    first = next((tensor for tensor in state.values() if tensor.ndim == 4 and tensor.shape[1] in (1, 3)), None)
    return Facts(channels=int(first.shape[1])) if first is not None else Facts()


def _last_matrix(state: dict[str, Tensor], architectures: tuple[str, ...]) -> int | None:
    from app.loaders.models.architectures import build_named, last_linear  # noqa: PLC0415

    if not architectures:
        return None
    with torch.device("meta"):
        name = last_linear(build_named(architectures[0], state))
    return int(state[f"{name}.weight"].shape[0])


def _from_shape(shape: tuple[int | None, ...]) -> Facts:
    _, channels, height, width = shape
    facts = Facts()
    if channels in (1, 3):
        facts["channels"] = channels
    if height is not None and width is not None:
        facts["sizes"] = ((height, width),)
    return facts


def _try_known(backend: Any, shape: tuple[int | None, ...]) -> Facts:
    sizes = ((shape[2], shape[3]),) if shape[2] and shape[3] else tuple((side, side) for side in _SIZES)
    return _try(backend.run, shape[1] or 3, shape[0] or 1, sizes)


def _try_sizes(run: Callable[[Tensor], tuple[Any, Any]], channels: int, known: tuple[int, int] | None) -> Facts:
    sizes = (known,) if known else tuple((side, side) for side in _SIZES)
    return _try(run, channels, 1, sizes)


def _try(
    run: Callable[[Tensor], tuple[Any, Any]], channels: int, batch: int, sizes: tuple[tuple[int, int], ...]
) -> Facts:
    """The sizes that the network takes, and the number of classes that it returns."""
    facts, working = Facts(), []
    for size in sizes:
        try:
            with torch.inference_mode():
                scores = class_scores(run(torch.zeros(batch, channels, *size))[0], batch)
        except BadOutput as error:
            facts.setdefault("bad_output", error.message)
            continue
        except Exception:  # noqa: S112 - a network may raise anything at a size that is not its own
            continue
        working.append(size)
        facts["n_outputs"] = scores.shape[1]
    if working:
        facts["sizes"] = tuple(working)
    return facts
