"""Two masks over every picture of a batch; in the sandboxed child."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.patches.plan import BATCH, Outcome, Plan
from app.audits.patches.schema import GRID
from app.numerics.patches.masks import covering, covers
from app.numerics.patches.two_mask import Masked, defended, one_mask, safe_masks


@dataclass
class _Counted:
    """The network, and how many images it was shown."""

    plan: Plan
    shown: int = 0

    def __call__(self, pictures: Tensor) -> Tensor:
        self.shown += len(pictures)
        return self.plan.classify(pictures)


def two_masks(plan: Plan, pictures: Tensor, labels: NDArray[np.int64], watched: NDArray[np.bool_]) -> Outcome:
    """Certify and defend pictures uint8 [b, 3, h, w] at every size; `watched` bool [b] get maps.

    A map holds 0 where a safe mask covers a patch at that place, and −1 where none does.
    """
    shape, network = (len(pictures), len(plan.patches)), _Counted(plan)
    answers, held = np.zeros(shape, np.int32), np.zeros(shape, bool)
    maps = np.zeros((int(watched.sum()), shape[1], GRID, GRID), np.int16)
    for patch in set(plan.patches):
        masks = covering(plan.height, plan.width, patch, plan.effort.masks)
        masked = Masked(network, pictures, masks, plan.fill, BATCH)
        first, lead = one_mask(masked, torch.from_numpy(labels))
        safe = safe_masks(masked, labels, first, lead, watched)
        columns = [i for i, other in enumerate(plan.patches) if other == patch]
        answers[:, columns] = defended(masked, first)[:, None]
        held[:, columns] = safe.all(axis=1, keepdims=True)
        hides = covers(masks, *plan.corners(patch), patch).numpy()
        under = (safe[watched][:, :, None, None] & hides[None]).any(1)
        maps[:, columns] = under[:, None].astype(np.int16) - 1
    return Outcome(answers, held, maps, np.full(len(pictures), np.nan, np.float32), network.shown)
