"""CSV and Parquet tables, read in batches."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from app.errors import UserError

_SNIFF_BYTES = 1 << 16
_BATCH_ROWS = 4096
_BATCH_BYTES = 8 << 20
_READ_BYTES = 1 << 20


class Table:
    """A table on disk: its Arrow schema, and its rows in batches.

    The cells of a CSV are all strings, empty ones null: the column's type is decided when all of it was seen.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._path = path
        self.is_text = not is_parquet(path)
        if self.is_text and name.lower().endswith((".parquet", ".pq")):
            raise UserError(f"{name} is named like a Parquet file, but its bytes are none. Write or upload it again.")
        self.schema: pa.Schema = self._read_schema()

    def batches(self, columns: list[str] | None = None, rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the named columns (all by default).

        Raises:
            UserError: the table is damaged.
        """
        try:
            if self.is_text:
                yield from self._csv(columns)
            else:
                # Without pre-buffering, a file of images is read page by page and not by whole row groups.
                with pq.ParquetFile(self._path, pre_buffer=False, buffer_size=_READ_BYTES) as parquet:
                    yield from parquet.iter_batches(batch_size=rows, columns=columns)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"The table {self.name} cannot be read: {_first_line(error)}") from error

    def rows(self) -> int:
        """Number of rows that a Parquet file announces."""
        return int(pq.read_metadata(self._path).num_rows)

    def _read_schema(self) -> pa.Schema:
        if not self.is_text:
            try:
                return pq.read_schema(self._path)
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{self.name} is a damaged or truncated Parquet file: {_first_line(error)}") from error
        self._encoding, header, self._delimiter = _sniff_csv(self._path, self.name)
        return pa.schema([(column, pa.string()) for column in header])

    def _csv(self, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        reader = pacsv.open_csv(
            self._path,
            read_options=pacsv.ReadOptions(
                encoding=self._encoding,
                column_names=self.schema.names,
                skip_rows=1,
                use_threads=False,
                block_size=_BATCH_BYTES,
            ),
            parse_options=pacsv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=self.schema, strings_can_be_null=True, null_values=[""], include_columns=columns
            ),
        )
        with reader:
            for batch in reader:
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yield batch.slice(start, _BATCH_ROWS)


def is_parquet(path: Path) -> bool:
    """Whether the bytes are Parquet's."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _sniff_csv(path: Path, name: str) -> tuple[str, list[str], str]:
    """Return the encoding, the column names and the delimiter."""
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="") as stream:
        first = stream.readline(_SNIFF_BYTES).lstrip("\ufeff")
    if "\0" in first or not first.strip():
        raise UserError(f"{name} is no CSV table: its first line must name the columns, as in 'path,label,split'.")
    delimiter = max(",;\t|", key=first.count)
    header = [column.strip() for column in next(csv.reader([first], delimiter=delimiter))]
    twice = {column for column in header if header.count(column) > 1}
    if twice:
        raise UserError(f"The table {name} names the column '{min(twice)}' twice; give each column its own name.")
    return encoding, [column or f"column_{number}" for number, column in enumerate(header)], delimiter


def _encoding(path: Path) -> str:
    """UTF-8, UTF-16 by its mark, else Windows' western encoding, in which every byte means something."""
    with path.open("rb") as stream:
        if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return "utf-16"
    try:
        with path.open(encoding="utf-8") as stream:
            while stream.read(_SNIFF_BYTES):
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
