"""How a kind's panels read what its stages wrote. Whoever makes one has checked the person's membership."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from app.audits.base import Subject
from app.audits.pieces import Marks, OtherRun, Thumb
from app.errors import NotFound
from app.services.membership import scores_of
from app.store.models import AuditRun, Dataset, Finding, ModelVersion, Query
from app.store.places import get_artifacts
from app.store.repositories import findings, marks, queries, runs
from app.store.score_reader import ScoreReader

_PAGES = {
    "run": "/runs/{0.run_id}",
    "report": "/runs/{0.run_id}",
    "class": "/runs/{0.run_id}/classes/{0.class_index}",
    "slice": "/runs/{0.run_id}/slices/{0.finding_id}",
    "image": "/runs/{0.run_id}/images/{0.row}",
    "map": "/runs/{0.run_id}/map",
    "training": "/runs/{0.run_id}/training",
    "training_image": "/runs/{0.run_id}/training/images/{0.row}",
    "cell": "/runs/{0.run_id}/cells/{0.key}",
    "robustness": "/runs/{0.run_id}/robustness",
}


class LiveReader:
    """`app.audits.base.RunReader` over a run's rows and artifacts."""

    def __init__(self, session: Session, run: AuditRun) -> None:
        self.session = session
        self.run = run
        self._looked_up: set[int] = set()
        self._members: dict[int, list[str]] = {}
        self.run_id = run.id
        self.dataset_id = run.dataset_id
        split = queries.split_of(session, run)
        self.split_start, self.split_stop = split.start, split.stop
        self.dataset = session.get_one(Dataset, run.dataset_id)
        version = session.get_one(ModelVersion, run.model_version_id)
        self.classes: Sequence[str] = list(version.spec.get("classes") or self.dataset.classes)

    @cached_property
    def score_reader(self) -> ScoreReader:
        """The run's score table."""
        return scores_of(self.run)

    def summary(self, kind: str) -> dict[str, Any]:
        """Return the kind's merged stage summaries; “card” is the report card's."""
        return dict(self.run.summary.get(kind) or {})

    def array(self, kind: str, stage: str, name: str) -> np.ndarray:
        """Return a detail array, memory-mapped.

        Raises:
            NotFound: the stage wrote no such array.
        """
        array: np.ndarray = np.load(self._detail(kind, stage, f"{name}.npy"), mmap_mode="r")
        return array

    def table(self, kind: str, stage: str, name: str) -> pa.Table:
        """Return a detail table.

        Raises:
            NotFound: the stage wrote no such table.
        """
        return pq.read_table(self._detail(kind, stage, f"{name}.parquet"))

    def findings(self, kind: str, *, limit: int | None = None, **where: Any) -> Sequence[Finding]:
        """Return the kind's findings, confirmed first; retired ones only when asked for by id."""
        return findings.of_run(self.session, self.run_id, kind=kind, retired="id" in where, limit=limit, **where)

    def confirmed_slices(self) -> dict[int, int]:
        """Return how many confirmed slices each class has."""
        return findings.confirmed_by_class(self.session, self.run_id)

    def scores(self, sql_where: str = "", params: Sequence[Any] = (), **page: Any) -> list[dict[str, Any]]:
        """Return rows of the score table; see `app.store.score_reader.ScoreReader.rows`."""
        return self.score_reader.rows(sql_where, params, **page)

    def count(self, sql_where: str = "", params: Sequence[Any] = ()) -> int:
        """Count rows of the score table."""
        return self.score_reader.count(sql_where, params)

    def memberships(self, rows: Sequence[int]) -> dict[int, list[str]]:
        """Return the keys of the slices that hold each of these confirm rows; no row is looked up twice."""
        unknown = set(rows) - self._looked_up
        if unknown:
            self._members |= self.score_reader.memberships(sorted(unknown), confirm=True)
            self._looked_up |= unknown
        return {row: self._members[row] for row in rows if row in self._members}

    def thumbs(self, positions: Sequence[int], *, named: bool = False) -> list[Thumb | None]:
        """Return a picture for each position in the split, marked wrong or right, with its label where `named`."""
        rows = [self.split_start + position for position in positions]
        known = self.score_reader.by_rows(rows)
        text = self._named if named else lambda _score: ""
        return [self.thumb(known[row], text(known[row])) if row in known else None for row in rows]

    def _named(self, score: dict[str, Any]) -> str:
        label, taken = self.class_name(score["label"]), self.class_name(score["prediction"])
        return f"{label}\ntaken for {taken}" if score["correct"] == 0 else label

    def thumb(self, score: dict[str, Any], text: str = "", query: str = "") -> Thumb:
        """Return the picture of a row of the score table; `query` keeps the list it stands in."""
        wrong = None if score["correct"] is None else not score["correct"]
        label, taken = self.class_name(score["label"]), self.class_name(score["prediction"])
        told = f"{label}, taken for {taken}" if wrong else f"{label}, recognised"
        return Thumb(
            src=thumbnail_path(self.dataset_id, score["row"]),
            alt=f"{told}, confidence {100 * (score['confidence'] or 0):.0f} %",
            href=self.link(Subject("image", self.run_id, row=score["row"])) + (f"?{query}" if query else ""),
            text=text or (taken if wrong else ""),
            wrong=wrong,
        )

    def picture(self, row: int, dataset_id: int | None = None) -> str:
        """Return the path of any data set row's thumbnail."""
        return thumbnail_path(self.dataset_id if dataset_id is None else dataset_id, row)

    def others(self, dataset_id: int, split: str) -> list[OtherRun]:
        """Return the finished runs of the project's other model versions on a split, newest first."""
        found = runs.finished_on(self.session, self.run.project_id, dataset_id, split)
        return [
            OtherRun(one.run.id, one.version.id, f"{one.model.name} v{one.version.number}", one.run.summary)
            for one in found
            if one.version.id != self.run.model_version_id
        ]

    def kept_picture(self, kind: str, stage: str, number: int) -> str:
        """Return the path of a picture that a stage left."""
        return f"/runs/{self.run_id}/kept/{kind}/{stage}/{number}"

    def marks(self, finding_ids: Sequence[int]) -> dict[int, Marks]:
        """Return the tags of findings and who is to look at them."""
        tags = marks.tags(self.session, findings.SUBJECT, self.run_id, finding_ids)
        given = marks.assigned(self.session, findings.SUBJECT, finding_ids)
        return {
            id_: Marks(tags.get(id_, []), given[id_].user if id_ in given else "") for id_ in tags.keys() | given.keys()
        }

    def asked(self, kind: str, action: str, about: int, by: str = "position") -> Query | None:
        """Return the latest question of that name about an image, or about what else the payload's field `by` names."""
        return queries.latest_about(self.session, self.run_id, kind, action, about, by)

    def class_name(self, index: int | None) -> str:
        """Return a class's name."""
        return self.classes[index] if index is not None and 0 <= index < len(self.classes) else "no label"

    def link(self, subject: Subject) -> str:
        """Return the path of a subject's page."""
        return _PAGES[subject.type].format(subject)

    def _detail(self, kind: str, stage: str, file: str) -> Any:
        key = self.run.details_keys.get(f"{kind}:{stage}", "")
        path = get_artifacts().local(key) / file if key else None
        if path is None or not path.is_file():
            raise NotFound(f"The stage “{stage}” of this run wrote no {file}.")
        return path


def thumbnail_path(dataset_id: int, row: int) -> str:
    """Return the path of a row's thumbnail."""
    return f"/datasets/{dataset_id}/thumbs/{row}"


def image_path(dataset_id: int, row: int) -> str:
    """Return the path of a row's picture as it came, made safe to show."""
    return f"/datasets/{dataset_id}/images/{row}"
