"""Metadata slices and map cells as the kind proposes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from app.audits.base import Inputs
from app.audits.slices.compute import find, read_candidates
from app.audits.slices.propose import PROPOSERS
from app.audits.slices.propose_metadata import usable_columns
from app.audits.slices.rows import prepare
from app.audits.slices.schema import Params

from .planted_inputs import CLASSES, clustered_inputs, planted_inputs


def with_columns(inputs: Inputs, **columns: Any) -> Inputs:
    manifest = inputs.audited.manifest
    for name, values in columns.items():
        manifest = manifest.append_column(f"meta.{name}", pa.array(values))
    return replace(inputs, audited=replace(inputs.audited, manifest=manifest))


def planted_metadata(seed: int = 0) -> Inputs:
    """Class 0 fails where the setting is grass and the colour white; nothing else does more than elsewhere."""
    inputs = planted_inputs(seed, planted=False, rows=600, params=Params(methods=["metadata"], permutations=0))
    generator = np.random.default_rng(seed)
    labels = inputs.audited.manifest["label"].to_numpy()
    setting = generator.choice(["grass", "sand", "snow"], len(labels))
    colour = generator.choice(["white", "black"], len(labels))
    failing = (labels == 0) & (setting == "grass") & (colour == "white") & (generator.random(len(labels)) < 0.7)
    logits = np.array(inputs.audited.logits)
    logits[failing, 1] += 20
    changed = replace(inputs, audited=replace(inputs.audited, logits=logits))
    return with_columns(changed, setting=setting, colour=colour, split_hash=[f"h{i}" for i in range(len(labels))])


def test_a_conjunction_of_columns_is_found_named_and_confirmed() -> None:
    found = read_candidates(find(planted_metadata()).tables["candidates"])
    confirmed = [(c.note, c.class_index) for c in found if c.confirmed]
    assert ("A white cat on grass", 0) in confirmed
    assert {index for _, index in confirmed} == {0}


def test_membership_is_exactly_the_predicate() -> None:
    inputs = planted_metadata()
    table = inputs.audited.manifest
    expected = (
        (table["label"].to_numpy() == 0)
        & (table["meta.setting"].to_numpy(zero_copy_only=False) == "grass")
        & (table["meta.colour"].to_numpy(zero_copy_only=False) == "white")
    )
    candidates = PROPOSERS["metadata"](prepare(inputs), inputs.params, 0)
    best = next(c for c in candidates if c.note == "A white cat on grass")
    np.testing.assert_array_equal(best.members, np.flatnonzero(expected))


def test_columns_that_name_rows_or_say_sentences_take_no_part() -> None:
    inputs = planted_inputs(rows=100)
    n = inputs.audited.manifest.num_rows
    columns = {
        "file": [f"image {i}" for i in range(n)],
        "number": list(range(n)),
        "caption": [("a long sentence about whatever is to be seen here, " * 2)[: 60 + i % 3] for i in range(n)],
        "constant": ["same"] * n,
        "nested": [[1, 2]] * n,
        "camera": ["a", "b"] * (n // 2),
        "brightness": np.linspace(0, 1, n).tolist(),
        "gappy": ["x", None, "y"] * (n // 3),
        "rating": [1, 2, 3, 4, 5] * (n // 5),
    }
    usable = usable_columns(prepare(with_columns(inputs, **columns)))
    assert set(usable) == {"camera", "brightness", "gappy", "rating"}
    assert len(set(usable["brightness"])) == 4
    assert set(usable["gappy"]) == {"x", "", "y"}
    assert set(usable["rating"]) == {"1", "2", "3", "4", "5"}


def test_bins_are_cut_on_fit_rows_only() -> None:
    inputs = planted_inputs(rows=100)
    n = inputs.audited.manifest.num_rows
    values = np.linspace(0, 1, n)
    fit = prepare(inputs).fit
    values[~fit] += 1000
    usable = usable_columns(prepare(with_columns(inputs, brightness=values)))
    assert len(set(usable["brightness"][fit])) == 4
    assert set(usable["brightness"][~fit]) == {max(usable["brightness"][fit], key=lambda name: "above" in name)}


def test_without_columns_there_is_nothing_to_propose() -> None:
    inputs = planted_inputs(rows=60)
    assert list(PROPOSERS["metadata"](prepare(inputs), inputs.params, 0)) == []


def test_cells_find_a_cluster_that_fails_and_ignore_confirm_outcomes() -> None:
    inputs = clustered_inputs(Params(methods=["cells"], permutations=0, max_slices=2), rows=300)
    logits = np.array(inputs.audited.logits)
    failing = np.arange(300)[(np.arange(300) % 10 == 4) & (np.random.default_rng(0).random(300) < 0.8)]
    logits[failing, 1] += 20
    rows = prepare(replace(inputs, audited=replace(inputs.audited, logits=logits)))
    first = [c for c in PROPOSERS["cells"](rows, inputs.params, 0) if c.class_index == 0]
    cluster = np.flatnonzero(np.arange(300) % 10 == 4)
    assert np.isin(first[0].members, cluster).mean() > 0.9
    assert np.isin(cluster, first[0].members).mean() > 0.7
    flipped = np.array(rows.predictions)
    flipped[rows.confirm] = (rows.labels[rows.confirm] + 1) % len(CLASSES)
    only = replace(rows, predictions=flipped, p_true=np.where(rows.confirm, 0, rows.p_true).astype(np.float32))
    again = [c for c in PROPOSERS["cells"](only, inputs.params, 0) if c.class_index == 0]
    for before, later in zip(first, again, strict=True):
        np.testing.assert_array_equal(before.members, later.members)
