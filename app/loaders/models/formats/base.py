"""What every format gives to the runtime."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Backend(Protocol):
    """A network that takes float32 [n, channels, height, width] on its device."""

    fixed_batch: int | None

    def run(self, images: Tensor) -> tuple[Any, Tensor | None]:
        """Return whatever the network returns, and its penultimate features [n, d] where they can be read."""
        ...
