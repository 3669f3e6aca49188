"""Reads a run's `scores.parquet` for pages: filter, sort, page and tally a million rows without loading them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.store.score_rows import ScoreRows, pack

SORTABLE = ("row", "decision", "confidence", "p_true", "label", "prediction")
TALLIED = ("prediction", "label", "role")
OWN = ("confidence", "p_true", "decision")
"""Numbers that every table has."""
BRIEF = "row, role, label, prediction, confidence, p_true, correct, decision"


class Order(NamedTuple):
    """A column to sort by; ties and missing values come last, by row."""

    column: str = "row"
    descending: bool = False

    @classmethod
    def parse(cls, text: str, extra: Collection[str] = ()) -> Order:
        """Read `decision` or `decision DESC`; what is neither sortable nor in `extra` sorts by row."""
        column, _, direction = text.partition(" ")
        return cls(column, direction.upper() == "DESC") if column in SORTABLE or column in extra else cls()

    @property
    def sql(self) -> str:
        """The ORDER BY list."""
        return f"{self.name} {'DESC' if self.descending else 'ASC'} NULLS LAST, row"

    @property
    def name(self) -> str:
        """The column as SQL writes it."""
        return '"' + self.column.replace('"', '""') + '"'


def numbers_of(schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns of numbers that audit kinds added to a score table."""
    return tuple(found.name for found in schema if pa.types.is_floating(found.type) and found.name not in OWN)


class ScoreReader:
    """One row per example of the audited split; `where` conditions are code's own, values go into `params`."""

    def __init__(self, path: Path, records: ScoreRows | None = None) -> None:
        """Read the Parquet file `path`; single rows come from `records` where they are given."""
        self._path, self._records = path, records

    @cached_property
    def extra(self) -> tuple[str, ...]:
        """Numbers that audit kinds gave each example, such as `corruption_share`; rows can be sorted by them."""
        return numbers_of(pq.read_schema(self._path))

    def rows(
        self,
        where: str = "",
        params: Sequence[Any] = (),
        *,
        order: str = "row",
        limit: int = 60,
        offset: int = 0,
        wide: bool = False,
    ) -> list[dict[str, Any]]:
        """Return rows as dictionaries; `order` is a sortable column, with DESC after it for the other direction.

        Only `wide` rows have `example_id`, `split` and `slices`: reading those of rows far apart takes long.
        """
        page = f"ORDER BY {Order.parse(order, self.extra).sql} LIMIT {int(limit)} OFFSET {int(offset)}"
        if self._records and not wide:
            found = [int(row) for (row,) in self._select("row", where, params, page).fetchall()]
            by_row = self._records.by_rows(found)
            return [by_row[row] for row in found]
        cursor = self._select("*" if wide else BRIEF, where, params, page)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    def by_rows(self, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the rows with these data set rows, by row; unknown ones are left out."""
        if not rows:
            return {}
        if self._records:
            return self._records.by_rows(rows)
        found = self.rows("row IN (SELECT unnest(?))", [list(rows)], limit=len(rows))
        return {row["row"]: row for row in found}

    def one(self, row: int) -> dict[str, Any] | None:
        """Return all columns of one row; none when it was not audited."""
        return next(iter(self.rows("row = ?", [row], limit=1, wide=True)), None)

    def count(self, where: str = "", params: Sequence[Any] = ()) -> int:
        """Count rows."""
        found = self._select("count(*)", where, params).fetchone()
        return int(found[0]) if found else 0

    def tally(
        self, column: str, where: str = "", params: Sequence[Any] = (), limit: int = 100
    ) -> list[tuple[Any, int, int]]:
        """Return (value, rows, errors) of a column, the most rows first.

        Raises:
            ValueError: the column is not one to tally.
        """
        if column not in TALLIED:
            raise ValueError(f"{column!r} is not tallied; {', '.join(TALLIED)} are.")
        counts = f"{column}, count(*), count(*) FILTER (NOT correct)"
        cursor = self._select(counts, where, params, f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {int(limit)}")
        return [(value, int(n), int(errors)) for value, n, errors in cursor.fetchall()]

    def columns(
        self, names: Sequence[str], where: str = "", params: Sequence[Any] = (), *, limit: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return columns as arrays [m] by row; with a limit, errors first and then a fixed random choice."""
        page = "ORDER BY row" if limit is None else f"ORDER BY correct, hash(row) LIMIT {int(limit)}"
        arrays = self._select(", ".join(f'"{name}"' for name in names), where, params, page).fetchnumpy()
        return {name: _filled(values) for name, values in arrays.items()}

    def records(self) -> NDArray[Any]:
        """Return the narrow columns as packed records, see `app.store.score_rows`."""
        return pack(self.columns([*BRIEF.split(", ")]))

    def members(self, key: str) -> NDArray[np.int64]:
        """Return the sorted data set rows that carry a slice's key."""
        return np.asarray(self.columns(["row"], "list_contains(slices, ?)", [key])["row"], np.int64)

    def memberships(self, rows: Sequence[int], *, confirm: bool = False) -> dict[int, list[str]]:
        """Return the slice keys of those rows that are in any slice; with `confirm` of confirm rows alone."""
        condition = "row IN (SELECT unnest(?)) AND len(slices) > 0" + (" AND role = 'confirm'" if confirm else "")
        return dict(self._select("row, slices", condition, [list(rows)]).fetchall())

    def beside(
        self, row: int, where: str = "", params: Sequence[Any] = (), *, order: str = "row"
    ) -> tuple[int | None, int | None]:
        """Return the rows before and after `row` in a filtered, sorted list; none at its ends."""
        by = Order.parse(order, self.extra)
        here = self.one(row) if by.column in self.extra else self.by_rows([row]).get(row)
        if here is None:
            return None, None
        return self._next(by, here, where, params, back=True), self._next(by, here, where, params)

    def _next(
        self, by: Order, here: dict[str, Any], where: str, params: Sequence[Any], *, back: bool = False
    ) -> int | None:
        beyond = ">" if by.descending == back else "<"
        side, turn = ("<", "DESC") if back else (">", "ASC")
        direction = "DESC" if by.descending != back else "ASC"
        condition = f"({by.name} {beyond} ? OR ({by.name} = ? AND row {side} ?))"
        condition = f"({where}) AND {condition}" if where else condition
        value = here[by.column]
        page = f"ORDER BY {by.name} {direction}, row {turn} LIMIT 1"
        found = self._select("row", condition, [*params, value, value, here["row"]], page).fetchone()
        return None if found is None else int(found[0])

    def _select(self, what: str, where: str, params: Sequence[Any], tail: str = "") -> duckdb.DuckDBPyConnection:
        condition = f"WHERE {where}" if where else ""
        source = str(self._path).replace("'", "''")
        # Names and conditions are literals of our own code; every value that came from outside is a parameter.
        sql = f"SELECT {what} FROM read_parquet('{source}') {condition} {tail}"  # noqa: S608
        return _database().cursor().execute(sql, list(params))


def _filled(values: NDArray[Any]) -> NDArray[Any]:
    """Missing numbers become NaN, missing words stay None; a column without any keeps its dtype."""
    if not np.ma.is_masked(values):
        return np.asarray(values)
    if values.dtype == object:
        return np.asarray(np.ma.filled(values, None))
    return np.asarray(np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan))


def manifest_row(path: Path, row: int) -> dict[str, Any]:
    """Return one row of a data set's `manifest.parquet`; empty when there is none."""
    sql = "SELECT * FROM read_parquet(?) WHERE row = ?"
    cursor = _database().cursor().execute(sql, [str(path), row])
    names = [column[0] for column in cursor.description or ()]
    found = cursor.fetchone()
    return dict(zip(names, found, strict=True)) if found else {}


def manifest_columns(path: Path, rows: NDArray[np.int64], columns: Sequence[str]) -> dict[str, list[Any]]:
    """Return columns of some rows of a data set's `manifest.parquet`, in the order of `rows`."""
    cursor = _database().cursor()
    cursor.register("wanted", pa.table({"place": np.arange(len(rows)), "row": rows}))
    names = ", ".join(f'found."{column}"' for column in columns)
    sql = f"SELECT {names} FROM wanted JOIN read_parquet(?) AS found USING (row) ORDER BY place"  # noqa: S608 - names are code's own
    found = cursor.execute(sql, [str(path)]).fetchall()
    return {name: [entry[place] for entry in found] for place, name in enumerate(columns)}


@lru_cache
def _database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads=2")
    connection.execute("SET autoinstall_known_extensions=false")
    return connection
