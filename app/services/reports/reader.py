"""Lets a kind's panels read from a snapshot as they read from a live run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from app.audits.base import Subject
from app.audits.pieces import Marks, OtherRun, Thumb
from app.errors import NotFound
from app.services.reports.schema import ReportContent, ReportFinding, ReportImage

Source = Callable[[str], str]
"""From a picture's path below the report, `thumbs/12` or `kept/attacks/summarise/3`, to its URL."""


DATASET = "dataset"
"""In place of a kind: a picture of another data set, whose id stands in place of the stage."""


def array_file(kind: str, stage: str, name: str) -> str:
    """Return the name under which a report holds a detail array."""
    return f"{kind}.{stage}.{name}.npy"


def kept_file(kind: str, stage: str, number: int) -> str:
    """Return the name under which a report holds a picture that a stage kept."""
    return f"{kind}.{stage}.{number}.webp"


class SnapshotReader:
    """`app.audits.base.RunReader` over a report: summaries, findings, and what its panels asked for; no scores."""

    def __init__(self, content: ReportContent, source: Source = lambda _path: "", folder: Path | None = None) -> None:
        """Read `content`, whose files are in `folder`; `source` gives the URLs of pictures."""
        self.content = content
        self._folder = folder
        self.run_id = content.run_id
        self.dataset_id = content.dataset_id
        self.classes: Sequence[str] = content.data.classes
        self.split_start = content.split_start
        self._source = source
        self._images = {image.row: image for image in content.images}

    def summary(self, kind: str) -> dict[str, Any]:
        """Return the kind's summary; “card” is the report card's."""
        return self.content.card if kind == "card" else self.content.kinds.get(kind, {})

    def findings(self, kind: str, *, limit: int | None = None, **where: Any) -> Sequence[ReportFinding]:
        """Return the kind's findings, confirmed first; `where` compares fields, a list means any."""
        mine = (finding for finding in self.content.findings if finding.kind == kind)
        return [f for f in mine if all(_meets(getattr(f, key), wanted) for key, wanted in where.items())][:limit]

    def thumbs(self, positions: Sequence[int], *, named: bool = False) -> list[Thumb | None]:
        """Return the pictures that the snapshot holds, marked wrong or right; their lines are the snapshot's."""
        found = (self._images.get(self.split_start + position) for position in positions)
        return [self._thumb(image) if image else None for image in found]

    def picture(self, row: int, dataset_id: int | None = None) -> str:
        """Return the URL of a picture of another data set that the panels showed; nothing for other rows."""
        return "" if dataset_id is None else self.kept_picture(DATASET, str(dataset_id), row)

    def others(self, dataset_id: int, split: str) -> list[OtherRun]:
        """Return nothing: a report speaks of one run."""
        return []

    def kept_picture(self, kind: str, stage: str, number: int) -> str:
        """Return the URL of a picture that a stage kept; empty where the report was too full for it."""
        held = kept_file(kind, stage, number) in self.content.files
        return self._source(f"kept/{kind}/{stage}/{number}") if held else ""

    def marks(self, finding_ids: Sequence[int]) -> dict[int, Marks]:
        """Return the findings' tags; whose work they are stays in the house."""
        wanted = set(finding_ids)
        return {found.id: Marks(found.tags, "") for found in self.content.findings if found.id in wanted}

    def asked(self, kind: str, action: str, about: int, by: str = "position") -> None:
        """Return nothing: a report answers no questions."""
        return

    def link(self, subject: Subject) -> str:
        """Return nothing: a report leads nowhere but to itself."""
        return ""

    def array(self, kind: str, stage: str, name: str) -> np.ndarray:
        """Return a detail array that the report's panels read when it was made.

        Raises:
            NotFound: the report does not hold it.
        """
        file = array_file(kind, stage, name)
        if self._folder is None or file not in self.content.files:
            raise NotFound("This report does not hold that array; open the run.")
        array: np.ndarray = np.load(self._folder / file, mmap_mode="r")
        return array

    def table(self, kind: str, stage: str, name: str) -> pa.Table:
        """Raise: a snapshot holds no tables."""
        raise NotFound("A report holds no tables; open the run.")

    def scores(self, sql_where: str = "", params: Sequence[Any] = (), **page: Any) -> list[dict[str, Any]]:
        """Return nothing: the per-example scores are a file of their own in an export."""
        return []

    def memberships(self, rows: Sequence[int]) -> dict[int, list[str]]:
        """Return nothing, as `scores` does."""
        return {}

    def count(self, sql_where: str = "", params: Sequence[Any] = ()) -> int:
        """Return 0, as `scores` returns nothing."""
        return 0

    def _thumb(self, image: ReportImage) -> Thumb:
        wrong = None if image.correct is None else not image.correct
        label, taken = self._class(image.label), self._class(image.prediction)
        told = f"{label}, taken for {taken}" if wrong else f"{label}, recognised"
        return Thumb(src=self._source(f"thumbs/{image.row}"), alt=told, text=taken if wrong else "", wrong=wrong)

    def _class(self, index: int) -> str:
        return self.classes[index] if 0 <= index < len(self.classes) else "no label"


def _meets(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Collection) and not isinstance(wanted, str):
        return value in wanted
    return bool(value == wanted)
