"""The CIFAR form of the residual network (He et al. 2016, Deep Residual Learning, section 4.2)."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn
from torch.nn import functional

DEPTHS = (20, 32, 44, 56, 110)
_NAME = re.compile(r"cifar_resnet(\d{1,4})(?:w(\d{1,4}))?")


class BasicBlock(nn.Module):
    """Two 3×3 convolutions; the shortcut subsamples and pads channels with zeros (option A)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self._stride, self._missing = stride, channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels_in, h, w] → [n, channels, h / stride, w / stride]."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self._stride == 1 and self._missing == 0:
            return x
        before = self._missing // 2
        return functional.pad(x[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, before, self._missing - before))


class CifarResNet(nn.Module):
    """Convolution, three stages of (depth − 2) / 6 blocks, global average, linear layer."""

    def __init__(self, depth: int, classes: int = 10, width: int = 16, channels: int = 3) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"a CIFAR ResNet has 6n + 2 layers (8, 14, 20, …), not {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] → logits [n, classes]."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


def parse_name(name: str) -> tuple[int, int] | None:
    """Return (depth, width) of `cifar_resnet<depth>[w<width>]`, or None for another name."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2] or 16)) if match else None


def name_for(state: dict[str, torch.Size]) -> str | None:
    """The name of the network that has weights of these names and shapes, if it is one of this family."""
    first = state.get("conv1.weight")
    if first is None or first[2:] != (3, 3) or "linear.weight" not in state or "layer4.0.conv1.weight" in state:
        return None
    blocks = len({name for name in state if re.fullmatch(r"layer[123]\.\d+\.conv1\.weight", name)})
    width = first[0]
    return f"cifar_resnet{2 * blocks + 2}" + ("" if width == 16 else f"w{width}")
