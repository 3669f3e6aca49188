"""Lets a kind's panels read from a snapshot as they read from a live run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from app.errors import NotFound
from app.services.reports.schema import ReportContent, ReportFinding


class SnapshotReader:
    """`app.audits.base.RunReader` over a report: summaries and findings, no arrays and no scores."""

    def __init__(self, content: ReportContent) -> None:
        self.content = content
        self.run_id = content.run_id
        self.dataset_id = content.dataset_id
        self.classes: Sequence[str] = content.data.classes
        self.split_start = content.split_start

    def summary(self, kind: str) -> dict[str, Any]:
        """Return the kind's summary; “card” is the report card's."""
        return self.content.card if kind == "card" else self.content.kinds.get(kind, {})

    def findings(self, kind: str, **where: Any) -> Sequence[ReportFinding]:
        """Return the kind's findings whose fields equal `where`."""
        mine = (finding for finding in self.content.findings if finding.kind == kind)
        return [finding for finding in mine if all(getattr(finding, key) == value for key, value in where.items())]

    def array(self, kind: str, stage: str, name: str) -> np.ndarray:
        """Raise: a snapshot holds no arrays."""
        raise NotFound("A report holds no arrays; open the run.")

    def table(self, kind: str, stage: str, name: str) -> pa.Table:
        """Raise: a snapshot holds no tables."""
        raise NotFound("A report holds no tables; open the run.")

    def scores(self, sql_where: str = "", params: Sequence[Any] = (), **page: Any) -> list[dict[str, Any]]:
        """Return nothing: the per-example scores are a file of their own in an export."""
        return []
