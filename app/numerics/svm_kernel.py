"""Linear kernels of many small sets of rows, and their shifted inverses, in the smaller of rows and dimensions."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Kernel:
    """Linear kernels K = X X' of G sets of rows.

    `features` X is [G, n, d] with zero rows as padding. `small` is the Gram matrix X X' [G, n, n] where n <= d,
    else the scatter X' X [G, d, d]. `mask` is [G, 1, n], 1.0 at real rows and 0.0 at padding. Vectors are rows [G,
    Q, n]: the layout in which batched products with few vectors run at full speed.
    """

    features: Tensor
    small: Tensor
    mask: Tensor

    @classmethod
    def of(cls, features: Tensor, mask: Tensor) -> "Kernel":
        """Build from padded rows `features` [G, n, d] (float32) and `mask` [G, n] (bool)."""
        few_rows = features.shape[1] <= features.shape[2]
        small = features @ features.mT if few_rows else features.mT @ features
        return cls(features, small, mask[:, None, :].to(features.dtype))

    @property
    def is_gram(self) -> bool:
        """Whether `small` is X X' rather than X' X."""
        return self.features.shape[1] <= self.features.shape[2]

    def times(self, vectors: Tensor) -> Tensor:
        """K times each of `vectors` [G, Q, n]: [G, Q, n]."""
        return vectors @ self.small if self.is_gram else vectors @ self.features @ self.features.mT

    def take(self, groups: Tensor) -> "Kernel":
        """The kernels of the groups named by `groups` (int64 [H], increasing)."""
        if len(groups) == len(self.mask):
            return self
        return Kernel(self.features[groups], self.small[groups], self.mask[groups])


@dataclass(frozen=True)
class ShiftedInverse:
    """(K + rho I)^-1 of G kernels, one Cholesky factorisation of order min(n, d) each.

    With more rows than dimensions (K + rho I)^-1 = (I - X (X'X + rho I)^-1 X') / rho (Woodbury). `ones` [G, 1, n]
    is the inverse times the mask.
    """

    kernel: Kernel
    rho: Tensor
    core: Tensor
    ones: Tensor

    @classmethod
    def of(cls, kernel: Kernel, rho: Tensor) -> "ShiftedInverse":
        """Factorise for shifts `rho` [G, 1, 1], all > 0."""
        identity = torch.eye(kernel.small.shape[-1], dtype=rho.dtype, device=rho.device)
        core = torch.cholesky_inverse(torch.linalg.cholesky(kernel.small + rho * identity))
        return cls(kernel, rho, core, _times(kernel, rho, core, kernel.mask))

    def times(self, vectors: Tensor) -> Tensor:
        """The inverse times each of `vectors` [G, Q, n]: [G, Q, n]."""
        return _times(self.kernel, self.rho, self.core, vectors)

    def take(self, groups: Tensor) -> "ShiftedInverse":
        """The inverses of the groups named by `groups` (int64 [H], increasing)."""
        if len(groups) == len(self.rho):
            return self
        return ShiftedInverse(self.kernel.take(groups), self.rho[groups], self.core[groups], self.ones[groups])


def _times(kernel: Kernel, rho: Tensor, core: Tensor, vectors: Tensor) -> Tensor:
    if kernel.is_gram:
        return vectors @ core
    return (vectors - vectors @ kernel.features @ core @ kernel.features.mT) / rho
