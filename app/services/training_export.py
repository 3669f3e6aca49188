"""A list of training images as a file for other tools: CSV, Parquet, cleanlab's and FiftyOne's ways to name images."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from posixpath import splitext

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from app.errors import NotFound
from app.store.score_reader import manifest_columns

MEDIA = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "cleanlab.csv": "text/csv",
    "fiftyone.json": "application/json",
}


def export_list(listed: pa.Table, manifest: Path, classes: Sequence[str], form: str) -> bytes:
    """Return the file's bytes.

    Args:
        listed: as `app.audits.base.TrainingList.table`.
        manifest: the data set's `manifest.parquet`.
        classes: names in the order of the labels.
        form: a key of `MEDIA`. `cleanlab.csv` has the columns of `Datalab.get_issues("label")`, with the place in the
            data set as index; `fiftyone.json` is the labels file of a `FiftyOneImageClassificationDataset`, by path
            without its extension, as FiftyOne looks images up, with the label that the list proposes.

    Raises:
        NotFound: there is no such form.
    """
    makers: dict[str, Callable[[pa.Table, Sequence[str]], bytes]] = {
        "csv": lambda table, _classes: _csv(table),
        "parquet": lambda table, _classes: _parquet(table),
        "cleanlab.csv": _cleanlab,
        "fiftyone.json": _fiftyone,
    }
    if form not in makers:
        raise NotFound(f"There is no file “{form}”; a list comes as {', '.join(makers)}.")
    return makers[form](_named(listed, manifest, classes), classes)


def _named(listed: pa.Table, manifest: Path, classes: Sequence[str]) -> pa.Table:
    found = manifest_columns(manifest, listed["row"].to_numpy().astype(np.int64), ["example_id", "path"])
    return pa.table(
        {
            "example_id": pa.array(found["example_id"], pa.string()),
            "path": pa.array(found["path"], pa.string()),
            "row": listed["row"],
            "label": pa.array([_class(classes, i) for i in listed["label"].to_pylist()], pa.string()),
            "action": listed["action"],
            "new_label": pa.array([_class(classes, i) for i in listed["new_label"].to_pylist()], pa.string()),
            "weight": listed["weight"],
            "score": listed["score"],
            "note": listed["note"],
        }
    )


def _csv(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pacsv.write_csv(table, target)
    return target.getvalue()


def _parquet(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd")
    return target.getvalue()


def _cleanlab(table: pa.Table, _classes: Sequence[str]) -> bytes:
    new, own = table["new_label"].to_pylist(), table["label"].to_pylist()
    return _csv(
        pa.table(
            {
                "": table["row"],
                "is_label_issue": pa.array([True] * len(table), pa.bool_()),
                "label_score": table["score"],
                "given_label": table["label"],
                "predicted_label": pa.array([n or o for n, o in zip(new, own, strict=True)], pa.string()),
            }
        )
    )


def _fiftyone(table: pa.Table, classes: Sequence[str]) -> bytes:
    index = {name: place for place, name in enumerate(classes)}
    columns = ("path", "example_id", "new_label", "label")
    wanted = zip(*(table[name].to_pylist() for name in columns), strict=True)
    labels = {splitext(path)[0] or id_: index.get(new or own) for path, id_, new, own in wanted}
    return json.dumps({"classes": list(classes), "labels": labels}, ensure_ascii=False).encode()


def _class(classes: Sequence[str], index: int) -> str | None:
    return classes[index] if 0 <= index < len(classes) else None
