"""Networks written as a list of layers, such as `[{"conv2d": {"in_channels": 1, …}}, {"relu": {}}, …]`.

Arguments carry torch's names. The weights of layer i are called `i.weight`, `i.bias`, as in `nn.Sequential`;
layers without weights count. `{"residual": {"body": [...], "shortcut": [...]}}` adds two branches (an empty
shortcut is the identity), whose weights are called `i.body.j.weight` and `i.shortcut.j.weight`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from app.errors import UserError

MAX_LAYERS = 2000
LAYERS: dict[str, type[nn.Module]] = {
    "conv2d": nn.Conv2d,
    "linear": nn.Linear,
    "batchnorm1d": nn.BatchNorm1d,
    "batchnorm2d": nn.BatchNorm2d,
    "layernorm": nn.LayerNorm,
    "groupnorm": nn.GroupNorm,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": nn.Softmax,
    "maxpool2d": nn.MaxPool2d,
    "avgpool2d": nn.AvgPool2d,
    "adaptive_avgpool2d": nn.AdaptiveAvgPool2d,
    "adaptive_maxpool2d": nn.AdaptiveMaxPool2d,
    "zeropad2d": nn.ZeroPad2d,
    "flatten": nn.Flatten,
    "unflatten": nn.Unflatten,
    "dropout": nn.Dropout,
    "identity": nn.Identity,
}


class Residual(nn.Module):
    """body(x) + shortcut(x)."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in both branches."""
        total: Tensor = self.body(x) + self.shortcut(x)
        return total


def build_layers(description: list[dict[str, Any]]) -> nn.Sequential:
    """Build the network that `description` lists.

    Raises:
        UserError: an unknown layer or argument, named with its position.
    """
    if not isinstance(description, list) or not description:
        raise UserError('The architecture must be a list of layers, such as [{"flatten": {}}, {"linear": {…}}].')
    if len(description) > MAX_LAYERS:
        raise UserError(f"The architecture lists {len(description)} layers; the limit is {MAX_LAYERS}.")
    return nn.Sequential(*(_layer(entry, place) for place, entry in enumerate(description)))


def _layer(entry: object, place: int) -> nn.Module:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise UserError(
            f'Layer {place} must be one name with its arguments, such as {{"relu": {{}}}}; it is {entry!r}.'
        )
    name, arguments = next(iter(entry.items()))
    if not isinstance(arguments, dict):
        raise UserError(f"The arguments of layer {place} ({name}) must be an object, such as {{}}.")
    if name == "residual":
        return _residual(arguments, place)
    if name not in LAYERS:
        raise UserError(f"Layer {place} is {name!r}; known layers are residual, {', '.join(LAYERS)}.")
    try:
        return LAYERS[name](**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"Layer {place} ({name}) does not take these arguments: {error}.") from error


def _residual(arguments: dict[str, Any], place: int) -> Residual:
    if not set(arguments) <= {"body", "shortcut"} or "body" not in arguments:
        raise UserError(f'Layer {place} (residual) takes "body" and, if not the identity, "shortcut".')
    shortcut = arguments.get("shortcut") or [{"identity": {}}]
    return Residual(build_layers(arguments["body"]), build_layers(shortcut))
