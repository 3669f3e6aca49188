"""Ends a run whose results contradict each other, rather than show them. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.audits.certificates.evidence import Evidence, contradiction
from app.audits.pixels import SAME_LOGITS
from app.errors import UserError


def refuse_contradictions(evidence: Evidence, rows: pa.Table, radii: Sequence[str]) -> None:
    """Raise a `UserError` that names the image of which two statements cannot both be true.

    `rows` are the images' rows of the manifest.
    """
    found = contradiction(evidence)
    if found is None:
        return
    raise UserError(
        f"The results contradict each other for {_name(rows, found.place)} at ε = {radii[found.column]}: {found.text}. "
        "One of the two is wrong, so that no figure is shown. This is an error of Faultline, or the network computes "
        "less exactly than float32; please report it with this sentence."
    )


def refuse_misread(differs: NDArray[np.float32], rows: pa.Table) -> None:
    """Raise a `UserError` that names the image on which the network that proofs read is another one."""
    if not len(differs) or not (worst := float(np.nan_to_num(differs, nan=np.inf).max())) > SAME_LOGITS:
        return
    raise UserError(
        f"The network as proofs read it gives other logits for {_name(rows, int(np.argmax(differs)))} than the network "
        f"itself, by {worst:.2g} of the largest one: a proof would be about another network, so that no figure is "
        "shown. This is an error of Faultline; please report it with the model's format and layers."
    )


def _name(rows: pa.Table, place: int) -> str:
    row = rows["row"][place].as_py()
    named = rows["example_id"][place].as_py() if "example_id" in rows.column_names else ""
    return f"image “{named}” (row {row:,})" if named else f"the image of row {row:,}"
