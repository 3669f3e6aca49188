"""What every reader yields, whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class SourceItem:
    """One example as the source has it.

    `load` returns the image file's bytes; None where the row has no image. `problem` says why the row cannot be read,
    where the reader already knows. `embedding` is float32 [d].
    """

    path: str
    label: str | None = None
    split: str | None = None
    load: Callable[[], bytes] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    embedding: NDArray[np.float32] | None = None
    example_id: str | None = None
    problem: str | None = None
