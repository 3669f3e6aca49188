"""The error of a network that runs and gives no gradients; imports no torch."""

from __future__ import annotations

from app.errors import UserError


class NoGradients(UserError):
    """The network cannot be differentiated here; the message says why, and what would be right.

    No reason to end a run: methods that need no gradients go on, and the page says this sentence beside the others.
    """


class BoundToBatch(NoGradients):
    """The graph was exported for one batch size, and does not run with another."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The graph runs with one batch size only ({why}), and gradients need any. Export it with the batch as a "
            "dynamic axis (dynamic_shapes=({0: torch.export.Dim('batch')},)), or upload it as safetensors."
        )
