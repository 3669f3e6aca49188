"""The one description of how gradients are taken, for every kind that reads them. Imports no torch."""

from __future__ import annotations

from app.audits.base import ModelStageSpec

GRADIENTS = ModelStageSpec(
    "gradients", "Take gradients", 2, "app.audits.influence.gradients:gradients", params=("features",)
)
"""A kind has a parameter `features` for it; kinds with the same number of features share the work."""
