"""What a report's panels show beside numbers: the arrays that they read and the pictures that stages kept."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from app import audits
from app.audits.base import RunReader, Subject
from app.audits.pieces import GroupColumn, Thumb
from app.audits.pixels import ENDS, PICTURES
from app.errors import NotFound
from app.services.reports.reader import DATASET, SnapshotReader, array_file, kept_file
from app.services.reports.schema import ReportContent

ARRAY_BYTES = 1_000_000
"""Of one array; a larger one is not for a report."""
Thumbnail = Callable[[int, int], bytes]
"""From a data set's id and row to its thumbnail."""
PICTURE_BUDGET = 3_000_000
"""Bytes of all kept pictures; thumbnails get what is left of the report's."""
_HERE = "#"


class Recorder(SnapshotReader):
    """Reads as a report will, and notes what its panels ask of the run that it is made from."""

    def __init__(self, content: ReportContent, live: RunReader) -> None:
        super().__init__(content)
        self._live = live
        self.arrays: dict[str, np.ndarray] = {}
        self.pictures: dict[str, tuple[str, str, int]] = {}
        self.positions: dict[int, None] = {}

    def array(self, kind: str, stage: str, name: str) -> np.ndarray:
        """Return a detail array, which the report will hold as well.

        Raises:
            NotFound: the stage wrote none, or it is too large for a report.
        """
        found = self._live.array(kind, stage, name)
        if found.nbytes > ARRAY_BYTES:
            raise NotFound("This array is too large for a report; open the run.")
        self.arrays[array_file(kind, stage, name)] = found
        return found

    def kept_picture(self, kind: str, stage: str, number: int) -> str:
        """Note the picture; what is returned leads nowhere."""
        self.pictures.setdefault(kept_file(kind, stage, number), (kind, stage, number))
        return _HERE

    def picture(self, row: int, dataset_id: int | None = None) -> str:
        """Note a picture of another data set; what is returned leads nowhere."""
        if dataset_id is None:
            return ""
        place = (DATASET, str(dataset_id), row)
        self.pictures.setdefault(kept_file(*place), place)
        return _HERE

    def thumbs(self, positions: Sequence[int], *, named: bool = False) -> list[Thumb | None]:
        """Note the images; none is there yet."""
        self.positions |= dict.fromkeys(positions)
        return super().thumbs(positions, named=named)


def group_columns(live: RunReader, kinds: Sequence[str]) -> dict[str, list[GroupColumn]]:
    """Return what a run's stress tests say of its classes and slices, by kind."""
    known = audits.kinds()
    found = {name: [_unlinked(one) for one in known[name].group_columns(live)] for name in kinds if name in known}
    return {name: columns for name, columns in found.items() if columns}


def _unlinked(column: GroupColumn) -> GroupColumn:
    """A report leads nowhere."""
    return column.model_copy(
        update={
            name: {key: figure.model_copy(update={"href": ""}) for key, figure in getattr(column, name).items()}
            for name in ("classes", "slices")
        }
    )


def record(content: ReportContent, live: RunReader) -> Recorder:
    """Return what the report's panels ask for."""
    asked, known = Recorder(content, live), audits.kinds()
    for name in content.kinds:
        if name in known:
            known[name].panels(Subject("report", content.run_id), asked)
    return asked


def shown_files(asked: Recorder, live: RunReader, thumbnail: Thumbnail) -> dict[str, bytes]:
    """Return the files that the report holds for it, pictures within their budget in the order of asking.

    `thumbnail` reads the thumbnail of a row of another data set.
    """
    files = {name: _npy(array) for name, array in asked.arrays.items()}
    left = PICTURE_BUDGET
    for name, place in asked.pictures.items():
        kind, name_or_id, number = place
        data = thumbnail(int(name_or_id), number) if kind == DATASET else _picture(live, *place)
        left -= len(data)
        if left < 0:
            break
        if data:
            files[name] = data
    return files


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _npy(array: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, np.asarray(array), allow_pickle=False)
    return target.getvalue()


def _picture(live: RunReader, kind: str, stage: str, number: int) -> bytes:
    ends = live.array(kind, stage, ENDS)
    start = int(ends[number - 1]) if number else 0
    return bytes(live.array(kind, stage, PICTURES)[start : int(ends[number])].tobytes())
