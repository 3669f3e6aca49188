"""What the stages of the kind `shift` leave behind, for the finished run of the tests of pages.

The second set are the pictures of the training split: its images come from another place (a dimension of the
embeddings moved), cats are more frequent, and the model is right less often.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.audits.base import Inputs, Result, Second, Split
from app.audits.shift import accuracy, groups, space
from app.audits.shift.schema import Params
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES, COLOURS, SETTINGS, Rows
from tests.web.conftest import Results
from tests.web.measured import publish

STAGES = {"accuracy": accuracy.compare, "groups": groups.compare, "space": space.compare}
NOISE = 6
CAT = 2


def add_shift(results: Results, folder: Path, *, labelled: bool = True, embedded: bool = True) -> dict[str, Any]:
    """Give the finished run a result of the kind; return its summary."""
    built = results.built
    inputs = replace(both(built.rows, built.dataset_id, labelled, embedded), earlier=slices(folder, built.rows))
    return publish_all(built.run_id, inputs, f"{labelled} {embedded}")


def publish_all(run_id: int, inputs: Inputs, version: str) -> dict[str, Any]:
    """Run the stages and leave their results; return the summary."""
    summary: dict[str, Any] = {}
    for name, found in _found(inputs, version).items():
        summary |= found.summary
        publish(run_id, "shift", name, Result(summary, found.scores, found.details, found.tables), version)
    return summary


_KNOWN: dict[tuple[str, int], dict[str, Result]] = {}


def _found(inputs: Inputs, version: str) -> dict[str, Result]:
    """The stages' results, made once: the rows of the imaginary run are always the same."""
    key = (version, inputs.audited.manifest.num_rows)
    if key not in _KNOWN:
        _KNOWN[key] = {name: stage(inputs) for name, stage in STAGES.items()}
    return _KNOWN[key]


def both(rows: Rows, dataset_id: int, labelled: bool, embedded: bool) -> Inputs:
    """The audited split and the second set, with embeddings in which attributes are dimensions."""
    generator = np.random.default_rng(3)
    chance = np.where(np.arange(len(rows.label)) % 5 == 0, 1.0, 0.25 + 2.0 * (rows.label == CAT))
    chosen = np.sort(generator.choice(len(rows.label), TRAIN_ROWS, replace=False, p=chance / chance.sum()))
    first = _split("val", rows, np.arange(len(rows.label)), TRAIN_ROWS, generator, embedded)
    other = _split("train", rows, chosen, 0, generator, embedded)
    if other.embeddings is not None:
        other.embeddings[:, -1] += 1.5
    logits = np.array(other.logits)
    blurred = generator.random(TRAIN_ROWS) < 0.3
    logits[blurred] = generator.normal(0, 1, (int(blurred.sum()), len(CLASSES)))
    manifest = other.manifest
    if not labelled:
        manifest = manifest.set_column(1, "label", pa.array(np.full(TRAIN_ROWS, -1), pa.int32()))
    second = Second(
        name="train", manifest=manifest, embeddings=other.embeddings, logits=logits, features=None,
        dataset_id=dataset_id, dataset="Scenes", notes=("Both lists of classes were matched by name.",),
    )  # fmt: skip
    params = Params(second=f"{dataset_id}/train")
    return Inputs(first, None, CLASSES, params, 0, "cpu", None, {}, lambda _share, _message: None, second=second)


def slices(folder: Path, rows: Rows) -> dict[str, Path]:
    """What the kind `slices` left: two confirmed slices, and one that its direction does not find again."""
    target = folder / "slices"
    target.mkdir(exist_ok=True)
    members = [rows.where(2, "white", "grass"), rows.where(1, None, "night"), rows.where(3) & (rows.xy[:, 0] > 0)]
    table = {
        "key": ["direction-cat-0", "direction-car-0", "direction-dog-0"],
        "class_index": pa.array([2, 1, 3], pa.int32()),
        "evidence": ["confirmed"] * 3,
        "rows": [np.flatnonzero(member) for member in members],
    }
    pq.write_table(pa.table(table), target / "candidates.parquet")
    directions = np.zeros((3, _dimensions()), np.float32)
    directions[0, [_colour("white"), _setting("grass")]] = 1
    directions[1, _setting("night")] = 1
    directions[2, -2] = 1
    arrays = {
        "slice_directions": directions,
        "slice_cuts": np.array([0.85, 0.3, 0.2], np.float32),
        "audited": np.ones(len(rows.label), bool),
        "fit": ~rows.confirm,
        "mean": np.zeros(_dimensions(), np.float32),
        "std": np.ones(_dimensions(), np.float32),
    }
    for name, array in arrays.items():
        np.save(target / f"{name}.npy", array)
    return {"slices:slices": target}


def _dimensions() -> int:
    return len(CLASSES) + len(COLOURS) + len(SETTINGS) + NOISE


def _colour(name: str) -> int:
    return len(CLASSES) + COLOURS.index(name)


def _setting(name: str) -> int:
    return len(CLASSES) + len(COLOURS) + SETTINGS.index(name)


def _split(
    name: str, rows: Rows, chosen: np.ndarray, start: int, generator: np.random.Generator, embedded: bool
) -> Split:
    n = len(chosen)
    embeddings = generator.normal(0, 0.1, (n, _dimensions())).astype(np.float32)
    ones = np.arange(n)
    embeddings[ones, rows.label[chosen]] += 1
    embeddings[ones, len(CLASSES) + rows.colour[chosen]] += 1
    embeddings[ones, len(CLASSES) + len(COLOURS) + rows.setting[chosen]] += 1
    manifest = pa.table(
        {
            "row": np.arange(n) + start,
            "label": rows.label[chosen].astype(np.int32),
            "meta.colour": [COLOURS[i] for i in rows.colour[chosen]],
            "meta.setting": [SETTINGS[i] for i in rows.setting[chosen]],
        }
    )
    return Split(name, manifest, embeddings if embedded else None, rows.logits[chosen], None)
