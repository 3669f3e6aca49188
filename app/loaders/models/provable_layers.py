"""How each ATen operation that proofs can pass is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from app.loaders.models.provable_call import Call, unknown
from app.numerics.bounds.bends import MaxPool
from app.numerics.bounds.ops import Add, Affine, Average
from app.numerics.bounds.program import Builder


def _conv(call: Call) -> int:
    weight, bias = call.constant("weight"), call.constant("bias")
    named = call.values()
    if weight.dim() != 4 or named.get("transposed"):
        raise unknown(call)
    x, stride, dilation = call.place("input"), _pair(named["stride"]), _pair(named["dilation"])
    padding = named["padding"]
    if isinstance(padding, str):
        x, padding = _padded(call, x, weight, dilation, padding), (0, 0)
    how = {"stride": stride, "padding": _pair(padding), "dilation": dilation}
    return call.builder.conv(x, weight, bias, groups=named["groups"], **how)


def _padded(call: Call, x: int, weight: Tensor, dilation: tuple[int, int], padding: str) -> int:
    if padding == "valid":
        return x
    totals = [dilation[axis] * (weight.shape[2 + axis] - 1) for axis in (1, 0)]
    pads = [side for total in totals for side in (total // 2, total - total // 2)]
    return call.builder.rearrange(lambda t: torch.nn.functional.pad(t, pads), x)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _linear(call: Call) -> int:
    return call.builder.linear(call.place("input"), call.constant("weight"), call.constant("bias"))


def _addmm(call: Call) -> int:
    if call.constant("alpha") != 1 or call.constant("beta") != 1 or call.constant("self").dim() != 1:
        raise unknown(call)
    return call.builder.linear(call.place("mat1"), call.constant("mat2").T, call.constant("self"))


def _matmul(second: str, call: Call) -> int:
    matrix = call.constant(second)
    if matrix.dim() != 2:
        raise unknown(call)
    return call.builder.linear(call.place("self"), matrix.T)


def _batch_norm(call: Call) -> int:
    if call.values().get("training"):
        raise unknown(call, "which is in training mode")
    x = call.place("input")
    mean, variance = call.constant("running_mean").double(), call.constant("running_var").double()
    weight, bias = call.constant("weight"), call.constant("bias")
    scale = (variance + call.constant("eps")).rsqrt()
    scale = scale if weight is None else scale * weight.double()
    start = torch.zeros_like(mean) if bias is None else bias.double()
    wide = (-1, *(1 for _ in call.builder.shape(x)[1:]))
    values = (scale, start - mean * scale, start.abs() + (mean * scale).abs())
    return call.builder.add(Affine(*(value.view(wide) for value in values)), x)


def _relu(call: Call) -> int:
    return call.builder.relu(call.place("self"))


def _clamp(call: Call) -> int:
    named = call.values()
    if named["min"] != 0 or named.get("max") is not None:
        raise unknown(call)
    return _relu(call)


def _max_pool(call: Call) -> int:
    named = call.values()
    kernel = _pair(named["kernel_size"])
    stride = _pair(named["stride"]) if named["stride"] else kernel
    op = MaxPool(kernel, stride, _pair(named["padding"]), _pair(named["dilation"]), named["ceil_mode"])
    return call.builder.add(op, call.place("self"))


def _adaptive_max_pool(call: Call) -> int:
    x = call.place("self")
    before, after = call.builder.shape(x)[1:], _pair(call.constant("output_size"))
    if before[0] % after[0] or before[1] % after[1]:
        raise unknown(call, "whose windows differ in size")
    kernel = (before[0] // after[0], before[1] // after[1])
    return call.builder.max_pool(x, kernel, kernel)


def _average(call: Call) -> int:
    run, places = call.again()
    named = call.values()
    if (named.get("divisor_override") or 1) < 0:
        raise unknown(call)
    shape = call.builder.shape(places[0])
    count = math.prod(_pair(named["kernel_size"])) if "kernel_size" in named else math.prod(shape)
    return call.builder.add(Average(run, count), *places)


def _move(call: Call) -> int:
    run, places = call.again()
    return call.builder.rearrange(run, *places)


def _reshape(call: Call) -> int:
    shape = call.shape
    (place,) = call.again()[1]
    if call.builder.shape(place) == shape:
        return place
    return call.builder.rearrange(lambda x: x.reshape(len(x), *shape), place)


def _expand(call: Call) -> int:
    shape = call.shape
    (place,) = call.again()[1]
    return _widened(call.builder, place, shape)


def _widened(builder: Builder, place: int, shape: tuple[int, ...]) -> int:
    if builder.shape(place) == shape:
        return place
    return builder.rearrange(lambda x: x.expand(len(x), *shape), place)


def _slice(call: Call) -> int:
    (place,) = call.again()[1]
    return place if call.builder.shape(place) == call.shape else _move(call)


def _join(call: Call) -> int:
    """Only activations: a constant that is joined to them would be lost on the way back through the layers."""
    if any(part not in call.places for part in call.node.all_input_nodes):
        raise unknown(call, "which joins an activation with a constant")
    return _move(call)


def _pad(call: Call) -> int:
    value = call.values().get("value")
    if not value:
        return _move(call)
    if not math.isfinite(value):
        raise unknown(call, f"which pads with {value}")
    run, (place,) = call.again()
    border = run(torch.zeros(1, *call.builder.shape(place)))[0]
    inside = call.builder.rearrange(lambda x: run(x) - border.to(x), place)
    return call.builder.affine(inside, torch.ones(()), border)


def _same(call: Call) -> int:
    """Nothing changes; a cast to fewer digits would round by more than proofs leave room for."""
    if call.value.dtype not in (torch.float32, torch.float64):
        raise unknown(call, f"which rounds to {str(call.value.dtype).removeprefix('torch.')}")
    return call.again()[1][0]


def _first(call: Call) -> int:
    source, index = call.node.args
    if index != 0 or not isinstance(source, Node):
        raise unknown(call)
    return call.places[source]


def _sum(sign: int, call: Call) -> int:
    named = call.values()
    factor = sign * named.get("alpha", 1)
    sides = [name for name in ("self", "other") if not call.is_constant(name)]
    if len(sides) == 1:
        scale = 1.0 if sides == ["self"] else factor
        constant = _number(call, named["other"]) * factor if sides == ["self"] else _number(call, named["self"])
        return call.builder.affine(_wide(call, sides[0]), torch.tensor(scale), constant)
    if abs(factor) != 1:
        raise unknown(call, "which weighs its summands")
    return call.builder.add(Add((1, factor)), _wide(call, "self"), _wide(call, "other"))


def _from_constant(call: Call) -> int:
    """other − self."""
    if call.constant("alpha") != 1:
        raise unknown(call)
    return call.builder.affine(_wide(call, "self"), torch.tensor(-1.0), _number(call, call.constant("other")))


def _wide(call: Call, name: str) -> int:
    return _widened(call.builder, call.place(name), call.shape)


def _number(call: Call, value: Any) -> Tensor:
    """A constant as it is added to one image's activation."""
    found = torch.as_tensor(value, dtype=torch.float64)
    if found.dim() <= len(call.shape):
        return found
    if found.shape[0] != 1:
        raise unknown(call, "which hangs on an image's place in the batch")
    return found[0]


def _product(call: Call) -> int:
    sides = [name for name in ("self", "other") if not call.is_constant(name)]
    if len(sides) == 2:
        raise unknown(call)
    factor = _number(call, call.constant("other" if sides == ["self"] else "self"))
    return call.builder.affine(_wide(call, sides[0]), factor, torch.zeros(()))


def _quotient(call: Call) -> int:
    if call.values().get("rounding_mode") is not None:
        raise unknown(call)
    return call.builder.affine(_wide(call, "self"), 1 / _number(call, call.constant("other")), torch.zeros(()))


def _negative(call: Call) -> int:
    return call.builder.affine(call.place("self"), torch.tensor(-1.0), torch.zeros(()))


Writer = Callable[[Call], int]
_MOVES = (
    "permute", "transpose", "t", "select", "flip", "index_select", "upsample_nearest2d",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "repeat",
)  # fmt: skip
_SHAPES = ("reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")
_NOTHING = ("clone", "detach", "alias", "contiguous", "dropout", "_to_copy", "to", "lift_fresh_copy", "feature_dropout")
WRITERS: dict[str, Writer] = {
    **dict.fromkeys(_MOVES, _move),
    **dict.fromkeys(_SHAPES, _reshape),
    **dict.fromkeys(_NOTHING, _same),
    **dict.fromkeys(("mean", "sum", "avg_pool2d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d"), _average),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training", "_batch_norm_no_update"), _batch_norm),
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices"), _max_pool),
    **dict.fromkeys(("conv2d", "convolution"), _conv),
    **dict.fromkeys(("clamp", "clamp_min"), _clamp),
    "adaptive_max_pool2d": _adaptive_max_pool,
    "linear": _linear,
    "addmm": _addmm,
    "mm": partial(_matmul, "mat2"),
    "matmul": partial(_matmul, "other"),
    "relu": _relu,
    "slice": _slice,
    "expand": _expand,
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "cat": _join,
    "add": partial(_sum, 1),
    "sub": partial(_sum, -1),
    "rsub": _from_constant,
    "mul": _product,
    "div": _quotient,
    "neg": _negative,
    "getitem": _first,
}
