"""The arrays that an ONNX file holds, under each of the names that its operations call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.loaders.models.onnx_graph.known import compute
from app.loaders.models.onnx_graph.node import HostArray, Node

_STATISTIC = "statistic of "


def separated(
    nodes: Sequence[Node], arrays: Mapping[str, HostArray]
) -> tuple[list[Node], dict[str, HostArray], set[str]]:
    """Tell weights, constants and statistics apart.

    Args:
        arrays: the file's initialisers.

    Returns:
        The nodes that are left when constants and second names of arrays are taken out; the arrays in use, by name; and
        the names of those that are statistics of batch normalisation, of which no gradient is taken. An array with two
        names is two arrays: exporters store equal ones once, tied or not.
    """
    found = dict(arrays)
    left = []
    for node in nodes:
        if node.kind == "Constant":
            found[node.outputs[0]] = compute(node, [])
        elif node.kind == "Identity" and node.inputs[0] in found:
            found[node.outputs[0]] = found[node.inputs[0]]
        else:
            left.append(node)
    left = [_with_own_statistics(node, found) for node in left]
    statistics = {name for node in left for name in node.inputs if name.startswith(_STATISTIC)}
    found |= {name: found[name.removeprefix(_STATISTIC)] for name in statistics}
    wanted = {name for node in left for name in node.inputs}
    return left, {name: array for name, array in found.items() if name in wanted}, statistics


def _with_own_statistics(node: Node, arrays: Mapping[str, HostArray]) -> Node:
    if node.kind != "BatchNormalization":
        return node
    sides = [f"{_STATISTIC}{name}" if name in arrays else name for name in node.inputs[3:5]]
    return replace(node, inputs=(*node.inputs[:3], *sides, *node.inputs[5:]))
