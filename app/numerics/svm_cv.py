"""Cross-validation along C for a block of classes, all folds and labellings in one batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.numerics.svm_batch import SvmBatch
from app.numerics.svm_rows import Padded


@dataclass(frozen=True)
class Block:
    """B classes of n padded rows: `features` [B, n, d], `mask`, `folds` (int64) [B, n], `targets` bool [B, Q, n]."""

    features: Tensor
    mask: Tensor
    folds: Tensor
    targets: Tensor

    def part(self, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows with `keep` (bool [F, B, n]) moved together: features [FB, m, d], mask [FB, m], targets [FB, Q, m]."""
        part = Padded.where(keep.flatten(0, 1))
        owner = torch.arange(len(part.at), device=keep.device) % len(self.mask)
        targets = self.targets[owner].gather(2, part.at[:, None].expand(-1, self.targets.shape[1], -1))
        return self.features[owner[:, None], part.at], part.mask, targets


def balanced_accuracy(scores: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean recall over the outcomes that occur; float64 [G, Q].

    Args:
        scores: [G, Q, m]; a value >= 0 predicts True.
        targets: bool [G, Q, m].
        mask: bool [G, m], the real rows.
    """
    predicted, real = scores >= 0, mask[:, None]
    recalls = []
    for outcome in (True, False):
        members = (targets == outcome) & real
        hits = (members & (predicted == outcome)).sum(-1, dtype=torch.float64)
        recalls.append(hits / members.sum(-1))
    return torch.stack(recalls).nanmean(0)


def cross_validate(
    block: Block, costs: tuple[float, ...], n_folds: int, tolerance: float, max_iterations: int
) -> Tensor:
    """Balanced accuracy at each C, the mean over held-out folds: float64 [B, Q, n_costs].

    Every training fold must hold both outcomes in every labelling. The kernel of a training fold is shared by all C
    and all labellings.
    """
    held_out = block.folds == torch.arange(n_folds, device=block.folds.device)[:, None, None]
    train = SvmBatch.of(*block.part(~held_out & block.mask))
    features, mask, targets = block.part(held_out & block.mask)
    scores = []
    for cost in costs:
        at = torch.full_like(train.scale, cost, dtype=torch.float64)
        planes = train.solve(at, tolerance, max_iterations)
        accuracy = balanced_accuracy(planes.scores(features), targets, mask)
        scores.append(accuracy.reshape(n_folds, len(block.mask), -1).nanmean(0))
    return torch.stack(scores, -1)
