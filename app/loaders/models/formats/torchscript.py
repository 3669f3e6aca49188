"""TorchScript archives; only the sandboxed child opens them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.loaders.models.sniff import NotAModel
from app.loaders.models.spec import ModelSpec

_LINEAR = ("aten::linear", "aten::addmm")


class ScriptBackend:
    """A frozen TorchScript module; features are exposed by a second output of its graph."""

    fixed_batch: int | None = None

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        self._plain = module
        self._tapped = _tap(module)

    @property
    def shows_features(self) -> bool:
        """Whether `run` returns features."""
        return self._tapped is not None

    def state(self) -> dict[str, Tensor]:
        """Weights by name."""
        return dict(self._plain.state_dict())

    def run(self, images: Tensor) -> tuple[Any, Tensor | None]:
        """See `Backend`."""
        images = images.contiguous()
        if self._tapped is None:
            return self._plain(images), None
        raw, features = self._tapped(images)
        return raw, features.float() if features.ndim == 2 and len(features) == len(images) else None


def load(path: Path, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> ScriptBackend:
    """Read the archive with torch's restricted reader; weights keep the precision that they have.

    Raises:
        NotAModel: damaged, or made by a newer torch.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module: torch.jit.ScriptModule = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
            module.eval()
            return ScriptBackend(module)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise NotAModel(
            f"The TorchScript file cannot be read ({reason}). Save it again with torch.jit.save."
        ) from error


def _tap(module: torch.jit.ScriptModule) -> Any:
    """The module's function with the last linear layer's input as second output; None where there is none."""
    try:
        graph = torch.jit.freeze(module).graph.copy()
        nodes = [node for node in graph.nodes() if node.kind() in _LINEAR]
        if not nodes or len(list(graph.inputs())) != 2 or len(list(graph.outputs())) != 1:
            return None
        place = 1 if nodes[-1].kind() == "aten::addmm" else 0
        graph.registerOutput(list(nodes[-1].inputs())[place])
        graph.makeMultiOutputIntoTuple()
        if next(iter(graph.inputs())).uses():
            return None
        graph.eraseInput(0)
        return torch._C._create_function_from_graph("forward", graph)
    except RuntimeError:
        return None
