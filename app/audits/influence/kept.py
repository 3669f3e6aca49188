"""What the stage `attribute` keeps of TRAK, so that later stages and questions decompose nothing again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.trak import Checkpoint

STAGE = "attribute"


class KeptSpectra(NamedTuple):
    """The second moments of the training features in the folder of the stage `attribute`, and the ridge in force."""

    folder: Path
    ridge: float

    def spectrum(self, checkpoint: int) -> Spectrum:
        """The decomposition at a checkpoint; its vectors are rounded to float32 and stay on disk until read."""
        values, vectors = (
            # Copy on write: torch wants memory that could be written, the file stays as it is.
            torch.from_numpy(
                np.load(self.folder / f"spectrum.{name}-{checkpoint}.npy", mmap_mode="c", allow_pickle=False)
            )
            for name in ("values", "vectors")
        )
        return Spectrum(values, vectors)


def spectra_arrays(trained: Sequence[Checkpoint], ridge: float | None) -> dict[str, NDArray[np.generic]]:
    """Details of the stage: `spectrum.values-c` float64 [r], `spectrum.vectors-c` float32 [k, r], `spectrum.ridge`."""
    if ridge is None:
        return {}
    found: dict[str, NDArray[np.generic]] = {"spectrum.ridge": np.array(ridge)}
    for c, point in enumerate(trained):
        found[f"spectrum.values-{c}"] = point.spectrum.values.numpy()
        found[f"spectrum.vectors-{c}"] = point.spectrum.vectors.float().numpy()
    return found


def kept_spectra(inputs: Inputs) -> KeptSpectra | None:
    """What was kept; none before the stage `attribute`, and where the model gives no gradients."""
    folder = inputs.earlier.get(STAGE)
    path = folder / "spectrum.ridge.npy" if folder else None
    if folder is None or path is None or not path.is_file():
        return None
    return KeptSpectra(folder, float(np.load(path, allow_pickle=False)))
