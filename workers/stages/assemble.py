"""Joins the shards of each split into arrays that stages memory-map, and marks the rows that nothing is known of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import UserError
from app.services import keys
from app.store.artifacts import artifact_key
from app.store.durable import new_array
from app.store.places import get_artifacts
from workers.run_plan import RunPlan, load_run, stage_of
from workers.work import Work

FILES = {"predict": ("logits.npy", "features.npy"), "embed": ("embeddings.npy",)}
Role = Literal["audited", "train"]
Ranges = list[list[int]]
_CHECK_ROWS = 65_536


def run(work: Work) -> dict[str, Any]:
    """Write `audited.npy` (bool [n]) and the joined arrays of each split; return their keys by role.

    The role of a second data set is "second@<kind>".

    A row that is not audited (its shard was set aside, its image could not be read, the model gave no finite number)
    keeps its place: its label counts as unknown, and its arrays hold the mean of the others, so that no stage needs
    to know of it.
    """
    work.begin()
    plan, say = load_run(work.job.id), work.progress()
    written: dict[str, Any] = {}
    roles: tuple[Role, ...] = ("audited", "train")
    for done, role in enumerate(roles):
        say(done / 2, f"{role} rows")
        if rows := plan.range(role):
            written[role] = _split(work, plan, rows, "")
    _require_some(work, plan, written["audited"])
    for kind, own in plan.seconds.items():
        written[f"second@{kind}"] = _split(work, own, own.rows_of_split, f"@{kind}")
        _require_some(work, own, written[f"second@{kind}"])
    work.end(written["audited"])
    return written


def _split(work: Work, plan: RunPlan, rows: tuple[int, int], at: str) -> str:
    """Join the lines that end in `at`, which is empty for the run's own data set."""
    bases, aside = (
        {stage_of(line): of for line, of in work.args[name].items() if line == stage_of(line) + at}
        for name in ("bases", "aside")
    )
    parts = {"bases": bases, "rows": list(rows), "aside": _within(aside, rows), "shard_rows": plan.shard_rows}
    key, store = artifact_key("assemble", keys.ASSEMBLE_VERSION, **parts), get_artifacts()
    if not store.has(key):
        with store.write(key) as folder:
            audited = np.ones(rows[1] - rows[0], bool)
            for stage, base in bases.items():
                shards = [shard for shard in plan.shards(stage) if rows[0] <= shard[0] and shard[1] <= rows[1]]
                for name in FILES[stage]:
                    audited &= _join(folder / name, stage, base, shards, aside.get(stage, []), rows[0])
            for path in folder.glob("*.npy"):
                _fill(path, audited)
            np.save(folder / "audited.npy", audited)
    return key


def _join(target: Path, stage: str, base: dict[str, Any], shards: Ranges, aside: Ranges, origin: int) -> NDArray[Any]:
    """Concatenate one file of the shards; return bool [n], whether the row is there and finite."""
    store, n = get_artifacts(), shards[-1][1] - origin
    there = np.zeros(n, bool)
    out: NDArray[np.float32] | None = None
    for start, stop in (shard for shard in shards if shard not in aside):
        path = store.local(keys.shard_key(stage, base, start, stop)) / target.name
        if not path.is_file():
            return np.ones(n, bool)
        part: NDArray[np.float32] = np.load(path, mmap_mode="r")
        if out is None:
            out = new_array(target, (n, part.shape[1]))
        out[start - origin : stop - origin] = part
        there[start - origin : stop - origin] = np.isfinite(part).all(axis=1)
    return there


def _fill(path: Path, audited: NDArray[np.bool_]) -> None:
    if audited.all() or not audited.any():
        return
    array: NDArray[np.float32] = np.load(path, mmap_mode="r+")
    total = np.zeros(array.shape[1])
    for start in range(0, len(array), _CHECK_ROWS):
        block = slice(start, start + _CHECK_ROWS)
        total += array[block][audited[block]].sum(axis=0, dtype=np.float64)
    array[np.flatnonzero(~audited)] = (total / audited.sum()).astype(np.float32)


def _require_some(work: Work, plan: RunPlan, key: str) -> None:
    folder = get_artifacts().local(key)
    audited = np.load(folder / "audited.npy", mmap_mode="r")
    missing, where = int((~audited).sum()), f" of “{plan.rows.dataset.name}” / {plan.split}" if plan.split else ""
    if missing == len(audited):
        why = "the model gave no finite number for any."
        raise UserError(f"None of the {missing:,} rows{where} could be audited: {why}")
    if missing:
        work.log(f"{missing:,} of {len(audited):,} rows{where} are not audited", "warning")
    if plan.embeddings == "penultimate" and not (folder / "features.npy").is_file():
        raise UserError("This model hides its penultimate layer; choose another encoder.")


def _within(aside: dict[str, Ranges], rows: Sequence[int]) -> dict[str, Ranges]:
    return {name: [s for s in shards if rows[0] <= s[0] and s[1] <= rows[1]] for name, shards in aside.items()}
