"""Votes of columns, blocks and dropped tokens over a batch; in the sandboxed child."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.patches.budgets import band_width, stride
from app.audits.patches.plan import BATCH, Outcome, Plan
from app.audits.patches.schema import GRID, Method
from app.numerics.patches.bands import kept, most_met, touched
from app.numerics.patches.counting import certified, predicted, reserve
from app.numerics.patches.tokens import band_logits, why_not
from app.numerics.patches.votes import block_votes, cast


class Voting:
    """One method's bands, for pictures of the plan's size."""

    def __init__(self, plan: Plan, method: Method) -> None:
        self.plan, self.method = plan, method
        self.band = band_width(plan.params, method, plan.width)
        self.step = stride(plan.params, method, plan.width)
        self.columns = kept(plan.width, self.band, self.step)
        self.rows = torch.ones(1, plan.height, dtype=torch.bool)
        self.row_step = stride(plan.params, method, plan.height)
        if method == "blocks":
            self.rows = kept(plan.height, min(self.band, plan.height), self.row_step)
        self.transformer: tuple[Any, Any] | None = None

    def why_not(self) -> str:
        """Why this method cannot run; empty where it can."""
        if self.method == "blocks" and not self.plan.effort.blocks and not self.plan.params.stride:
            return f"the budget “{self.plan.params.budget}” leaves it out"
        if self.method != "smoothed ViT":
            return ""
        if self.plan.module is None:
            return (
                "this format does not show its tokens: it needs safetensors and an architecture vit_… or deit_… of timm"
            )
        self.transformer = self.plan.module()
        return why_not(self.transformer[0], self.plan.width)

    def __call__(self, pictures: Tensor, labels: NDArray[np.int64], watched: NDArray[np.bool_]) -> Outcome:
        """Votes of pictures uint8 [b, 3, h, w], and what they certify at every size; `watched` bool [b] get maps.

        A map holds the votes to spare at that place; the label wins from 0 up.
        """
        found = self._cast(pictures).cpu()
        counts, truth = found.sum((1, 2)), torch.from_numpy(labels)
        strict = self.method == "smoothed ViT"
        held = torch.stack([certified(counts, truth, self._met(p), strict=strict) for p in self.plan.patches], 1)
        own = counts.gather(1, truth[:, None])[:, 0]
        positions = found.shape[1] * found.shape[2]
        return Outcome(
            defended=predicted(counts).int()[:, None].expand(-1, len(self.plan.patches)).numpy(),
            certified=held.numpy(),
            maps=self._maps(found[torch.from_numpy(watched)], truth[torch.from_numpy(watched)]),
            vote=(own / positions).float().numpy(),
            asked=len(pictures) * positions,
        )

    def _cast(self, pictures: Tensor) -> Tensor:
        """bool [b, row positions, column positions, C]."""
        plan = self.plan
        if self.transformer is None:
            threshold = plan.params.threshold
            return block_votes(plan.classify, pictures, self.rows, self.columns, plan.fill, threshold, BATCH)
        module, prepared = self.transformer
        fill = prepared(plan.fill.to(pictures.device)[None, :, None, None])[0, :, 0, 0]
        logits = band_logits(module, prepared(pictures).contiguous(), self.columns, fill, BATCH)
        return cast(logits.flatten(0, 1), 0.0).view(len(pictures), 1, *logits.shape[1:])

    def _met(self, patch: int) -> int:
        across = most_met(self.plan.width, self.band, self.step, patch)
        if self.method != "blocks":
            return across
        return across * most_met(self.plan.height, min(self.band, self.plan.height), self.row_step, patch)

    def _maps(self, found: Tensor, labels: Tensor) -> NDArray[np.int16]:
        maps = np.zeros((len(found), len(self.plan.patches), GRID, GRID), np.int16)
        for column, patch in enumerate(self.plan.patches):
            down, across = self._touched(patch)
            met = down.sum(1)[:, None] * across.sum(1)[None]
            for i, (votes, label) in enumerate(zip(found.float(), labels.tolist(), strict=True)):
                there = torch.einsum("ap,bq,pqc->abc", down, across, votes).flatten(0, 1)
                left = reserve(votes.sum((0, 1)), there, met.flatten(), label)
                maps[i, column] = left.view(len(down), -1).expand(GRID, -1).numpy()
        return maps

    @cache  # noqa: B019 - one of these lives as long as its shard
    def _touched(self, patch: int) -> tuple[Tensor, Tensor]:
        tops, lefts = self.plan.corners(patch)
        down = touched(self.rows, patch, tops).float() if self.method == "blocks" else torch.ones(1, 1)
        return down, touched(self.columns, patch, lefts).float()
