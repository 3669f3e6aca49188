"""Points of the map and of a class's scatter, as packed columns: geometry once, at most 1 MB.

The answer is `m` points as consecutive little-endian columns: float32 x, float32 y, uint32 row, uint16 class (65535:
none), uint8 outcome (1 wrong, 0 right, 2 not judged), uint8 slice (from 1 through the page's list, 0 none).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi.responses import Response
from numpy.typing import NDArray

from app.audits.base import RunReader
from app.errors import NotFound
from app.services.membership import member_rows
from app.store.repositories import findings as repository
from app.web.deps import ProjectAccess
from app.web.pages.results_run import open_run
from app.web.reader import LiveReader
from app.web.twins import Pages

pages = Pages("Points")
MOST_POINTS = 50_000
MOST_SLICES = 200
NO_CLASS = 65_535
_COLUMNS = ["row", "label", "correct", "confidence", "decision"]


@pages.html.get("/runs/{run_id}/points.bin")
def class_points(access: ProjectAccess, run_id: int, label: int) -> Response:
    """The images of a class by decision value and confidence, errors first."""
    reader = open_run(access, run_id)
    where, params = "label = ? AND decision IS NOT NULL", [label]
    total = reader.count(where, params)
    columns = reader.score_reader.columns(_COLUMNS, where, params, limit=MOST_POINTS)
    return _packed(columns["decision"], columns["confidence"], columns, np.zeros(len(columns["row"]), np.uint8), total)


@pages.html.get("/runs/{run_id}/map/points.bin")
def map_points(access: ProjectAccess, run_id: int) -> Response:
    """The map's points, as the run drew them."""
    reader = open_run(access, run_id)
    kind = next((line.partition(":")[0] for line in reader.run.details_keys if line.endswith(":map")), "")
    if not kind:
        raise NotFound("This run drew no map.")
    xy, positions = _drawn(reader, kind)
    columns = _columns_at(reader, positions)
    total = reader.split_stop - reader.split_start
    return _packed(xy[:, 0], xy[:, 1], columns, _slice_numbers(reader, kind, columns["row"]), total)


def _drawn(reader: RunReader, kind: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    xy = np.asarray(reader.array(kind, "map", "xy")[:MOST_POINTS], np.float32)
    return xy, np.asarray(reader.array(kind, "map", "points")[:MOST_POINTS], np.int64)


def _columns_at(reader: LiveReader, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Scores of the points in the points' order."""
    rows = positions + reader.split_start
    found = reader.score_reader.columns(_COLUMNS[:3], "row IN (SELECT unnest(?))", [rows.tolist()])
    order = np.searchsorted(found["row"], rows)
    return {name: values[order] for name, values in found.items()}


def _slice_numbers(reader: LiveReader, kind: str, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The first slice of the list that holds each point."""
    found = repository.of_run(reader.session, reader.run_id, kind=kind, subject="slice", limit=MOST_SLICES)
    numbers = {finding.key: number for number, finding in enumerate(found, start=1)}
    held = reader.score_reader.memberships(rows.tolist())
    first = np.array([min((numbers.get(key, 255) for key in held.get(row, ())), default=255) for row in rows.tolist()])
    for number, finding in enumerate(found, start=1):
        if finding.rows_key:
            first = np.where(np.isin(rows, member_rows(reader.run, finding)) & (number < first), number, first)
    return np.where(first == 255, 0, first).astype(np.uint8)


def _packed(
    x: NDArray[Any], y: NDArray[Any], columns: dict[str, NDArray[Any]], slices: NDArray[np.uint8], total: int
) -> Response:
    label = np.nan_to_num(np.asarray(columns["label"], np.float64), nan=NO_CLASS).astype("<u2")
    correct = np.asarray(columns["correct"], np.float64)
    outcome = np.where(np.isnan(correct), 2, np.where(correct > 0, 0, 1)).astype(np.uint8)
    parts = (x.astype("<f4"), y.astype("<f4"), columns["row"].astype("<u4"), label, outcome, slices)
    headers = {"Cache-Control": "private, max-age=60", "X-Total": str(total), "X-Points": str(len(label))}
    body = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return Response(body, media_type="application/octet-stream", headers=headers)
