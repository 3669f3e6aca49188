"""Joins the shards of a kind's work on the network into arrays over each split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from app.audits.pixels import LIST
from app.services import keys
from app.store.artifacts import artifact_key
from app.store.places import get_artifacts
from workers.run_plan import RunPlan, load_run, model_stage_roles
from workers.stages.assemble import Ranges, Role
from workers.work import Work


def run(work: Work) -> dict[str, Any]:
    """Write the joined arrays of each split; return their keys by role. Rows that were set aside hold zeros."""
    plan = load_run(work.job.id)
    found: dict[str, Any] = {}
    roles: tuple[Role, ...] = ("audited", "train")
    for role in roles:
        if (rows := plan.range(role)) and role in model_stage_roles(work.args["name"]):
            found[role] = _split(work, plan, rows)
    return found


def _split(work: Work, plan: RunPlan, rows: tuple[int, int]) -> str:
    name, base, aside = work.args["name"], work.args["base"], work.args["aside"]
    shards = [s for s in plan.shards(name) if rows[0] <= s[0] and s[1] <= rows[1] and s not in aside]
    key = artifact_key("join-model", keys.ASSEMBLE_VERSION, stage=name, base=base, rows=list(rows), shards=shards)
    store = get_artifacts()
    if not store.has(key):
        with store.write(key) as folder:
            for title in _titles(name, base, shards):
                _join(folder / title, name, base, shards, rows)
    return key


def _titles(name: str, base: dict[str, Any], shards: Ranges) -> list[str]:
    if not shards:
        return []
    return sorted(path.name for path in get_artifacts().local(keys.shard_key(name, base, *shards[0])).glob("*.npy"))


def _join(target: Path, name: str, base: dict[str, Any], shards: Ranges, rows: tuple[int, int]) -> None:
    if target.name.startswith(LIST):
        parts = [get_artifacts().local(keys.shard_key(name, base, *shard)) / target.name for shard in shards]
        np.save(target, np.concatenate([np.load(part) for part in parts]))
        return
    out: np.ndarray | None = None
    for start, stop in shards:
        path = get_artifacts().local(keys.shard_key(name, base, start, stop)) / target.name
        part: np.ndarray = np.load(path, mmap_mode="r")
        if out is None:
            shape = (rows[1] - rows[0], *part.shape[1:])
            out = np.lib.format.open_memmap(target, mode="w+", dtype=part.dtype, shape=shape)
        out[start - rows[0] : stop - rows[0]] = part
    if out is not None:
        out.flush()  # type: ignore[attr-defined]
