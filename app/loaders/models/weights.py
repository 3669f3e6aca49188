"""Put a table of weights into a network, or say what does not fit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from app.errors import UserError

_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "state_dict.", "backbone.")
_SHOWN = 3


class WeightsMismatch(UserError):
    """The weights belong to another network; the message names the first differences."""


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove what wrappers (DataParallel, compile, Lightning) put before every name."""
    names = dict(state)
    while prefix := next((p for p in _PREFIXES if names and all(name.startswith(p) for name in names)), None):
        names = {name.removeprefix(prefix): tensor for name, tensor in names.items()}
    return names


def load_weights(model: nn.Module, state: Mapping[str, Tensor], architecture: str, hint: str = "") -> None:
    """Copy `state` into `model`; counters of batch norm may be missing.

    Raises:
        WeightsMismatch: names or shapes differ; `hint` (a sentence) is added.
    """
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    missing = [n for n in wanted if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in wanted]
    shapes = [
        f"{name} is {_shape(state[name].shape)} and should be {_shape(shape)}"
        for name, shape in wanted.items()
        if name in state and state[name].shape != shape
    ]
    if missing or unexpected or shapes:
        parts = [_part("missing", missing), _part("not expected", unexpected), _part("of another shape", shapes)]
        differences = "; ".join(part for part in parts if part)
        raise WeightsMismatch(f"The weights do not fit {architecture}: {differences}. {hint}".strip())
    with torch.no_grad():
        model.load_state_dict(dict(state), strict=False)


def _part(what: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{len(items)} {what} ({', '.join(items[:_SHOWN])}{more})"


def _shape(shape: torch.Size) -> str:
    return "×".join(str(length) for length in shape) or "a scalar"
