"""Weights in a safetensors file and the architecture that they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from app.loaders.models.architectures import build, guess
from app.loaders.models.sniff import NotAModel, safetensors_header
from app.loaders.models.spec import ModelSpec
from app.loaders.models.weights import WeightsMismatch, load_weights, strip_prefixes


class ModuleBackend:
    """An `nn.Module`; features are what its last linear layer takes in."""

    fixed_batch: int | None = None

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self._layout = torch.channels_last
        self._model = model.eval().requires_grad_(False).to(device).to(memory_format=self._layout)
        self._autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        self._seen: list[Tensor] = []
        for module in self._model.modules():
            if isinstance(module, nn.Linear):
                module.register_forward_pre_hook(self._see)

    def run(self, images: Tensor) -> tuple[Any, Tensor | None]:
        """See `Backend`."""
        try:
            raw = self._forward(images)
        except RuntimeError as error:
            if "view size" not in str(error) or self._layout is torch.contiguous_format:
                raise
            # Some networks flatten with `view`, which only the plain order of memory allows.
            self._layout = torch.contiguous_format
            self._model.to(memory_format=self._layout)
            raw = self._forward(images)
        if not self._seen:
            return raw, None
        features = self._seen.pop()
        return raw, features.float() if features.ndim == 2 and len(features) == len(images) else None

    def _forward(self, images: Tensor) -> Any:
        self._seen.clear()
        with self._autocast:
            return self._model(images.contiguous(memory_format=self._layout))

    def _see(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen[:] = inputs[:1]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read all tensors of the file, without the prefixes of wrappers.

    Raises:
        NotAModel: damaged, or no tensor in it.
    """
    safetensors_header(path)
    try:
        state = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise NotAModel(f"The safetensors file is damaged: {error}.") from error
    if not state:
        raise NotAModel("The safetensors file holds no tensor.")
    return strip_prefixes(state)


def load(path: Path, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> ModuleBackend:
    """Build the architecture and fill in the weights; errors as `read_network`."""
    return ModuleBackend(read_network(path, spec), device, dtype)


def read_network(path: Path, spec: ModelSpec) -> nn.Module:
    """Build the architecture and fill in the weights.

    Raises:
        UserError: unknown architecture, damaged file, or weights of another network.
    """
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in read_weights(path).items()
    }
    model = build(spec, state)
    name = spec.architecture if isinstance(spec.architecture, str) else "the list of layers"
    try:
        load_weights(model, state, name)
    except WeightsMismatch as error:
        fitting = guess(state)
        raise WeightsMismatch(f"{error.message} {_hint(fitting)}".strip()) from None
    return model.eval()


def _hint(fitting: tuple[str, ...]) -> str:
    return f"These weights fit {' or '.join(fitting)}." if fitting else ""
