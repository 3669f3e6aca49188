"""Are planted slices found, and is nothing found where nothing was planted?

Protocol (dcbench's, as in Eyuboglu et al. 2022): Gaussian rows of 512 dimensions, 1,000 a class; each slice is a binary
attribute of 10 % of the rows that shifts them along a random direction and raises the error rate from 10 % to 60 %. The
score is the precision at 10 and 25 of the best-matching predicted slice, mean over planted slices. Slices are fitted on
half of the rows and ranked on the other half; the first line ranks the rows the direction was fitted on, as published.

    python benchmarks/planted_slices.py [--classes 10] [--null-classes 100] [--shift 7]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.numerics.embedding import Standardiser
from app.numerics.intervals import wilson_interval
from app.numerics.significance import benjamini_hochberg, slice_excess_p_value
from app.numerics.split import fit_rows
from app.numerics.subslices import fit_subslices, subslice_members, subslice_scores
from app.numerics.svm import fit_linear_svms

ROWS, DIMENSIONS, PREVALENCE, SLICE_ERROR, BASE_ERROR = 1000, 512, 0.1, 0.6, 0.1
TARGET, FALSE_ALARMS = 0.95, 0.05


class PlantedClass(NamedTuple):
    features: Tensor
    errors: Tensor
    members: Tensor
    fit: Tensor


def planted_class(seed: int, slices: int, shift: float, overlap: bool, shuffled: bool = False) -> PlantedClass:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((ROWS, DIMENSIONS))
    axes = rng.standard_normal((slices, DIMENSIONS))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    members = rng.random((ROWS, slices)) < PREVALENCE
    if not overlap:
        members = rng.permutation(ROWS)[:, None] // int(ROWS * PREVALENCE) == np.arange(slices)
    rows = torch.from_numpy(features + shift * members @ axes).float()
    errors = rng.random(ROWS) < np.where(members.any(axis=1), SLICE_ERROR, BASE_ERROR)
    errors = rng.permutation(errors) if shuffled else errors
    fit = torch.from_numpy(fit_rows(np.zeros(ROWS, dtype=int), ~errors, rng))
    return PlantedClass(rows, torch.from_numpy(errors), torch.from_numpy(members), fit)


def direction_scores(data: PlantedClass, fit: Tensor) -> Tensor:
    rows = Standardiser.of(data.features[fit]).unit_rows(data.features)
    one_class = torch.zeros(int(fit.sum()), dtype=torch.int64)
    svms = fit_linear_svms(rows[fit], ~data.errors[fit], one_class, 1)
    return -svms.decision_values(rows, torch.zeros(ROWS, dtype=torch.int64))[:, None]


def precision(scores: Tensor, members: Tensor, k: int) -> float:
    top = scores.topk(k, dim=0).indices
    return float(members[top].double().mean(dim=0).amax(dim=0).mean())


def recovery(slices: int, args: argparse.Namespace, overlap: bool) -> Iterator[tuple[str, int, float, float]]:
    """One (method, number of slices found, P@10, P@25) for every class and method."""
    for seed in range(args.classes):
        data = planted_class(seed, slices, args.shift, overlap)
        confirm, everything = ~data.fit, torch.ones(ROWS, dtype=torch.bool)
        rows = Standardiser.of(data.features[data.fit]).unit_rows(data.features)
        found = fit_subslices(rows[data.fit], data.errors[data.fit], seed)
        rankings = {
            "direction, on the rows it was fitted on": (direction_scores(data, everything), data.members),
            "direction, on confirm rows": (direction_scores(data, data.fit)[confirm], data.members[confirm]),
            "sub-slices, on confirm rows": (subslice_scores(found, rows[confirm]), data.members[confirm]),
        }
        for method, (scores, members) in rankings.items():
            yield method, scores.shape[1], precision(scores, members, 10), precision(scores, members, 25)


def null_p_values(seed: int, args: argparse.Namespace) -> np.ndarray:
    """Exact p-values on confirm rows of the slices found among shuffled errors."""
    data = planted_class(seed, 3, args.shift, overlap=True, shuffled=True)
    rows = Standardiser.of(data.features[data.fit]).unit_rows(data.features)
    found = fit_subslices(rows[data.fit], data.errors[data.fit], seed)
    inside = subslice_members(found, subslice_scores(found, rows[~data.fit]))
    wrong = data.errors[~data.fit]
    hits = (inside & wrong[:, None]).sum(dim=0).numpy()
    return slice_excess_p_value(hits, inside.sum(dim=0).numpy(), int(wrong.sum()), len(wrong))


def report_recovery(args: argparse.Namespace) -> bool:
    passed = True
    for overlap in (True, False):
        for slices in (1, 2, 3):
            table: dict[str, list[tuple[int, float, float]]] = {}
            for method, *figures in recovery(slices, args, overlap):
                table.setdefault(method, []).append(tuple(figures))
            for method, figures in table.items():
                count, at_10, at_25 = np.mean(figures, axis=0)
                kind = "overlapping" if overlap else "disjoint"
                line = f"P@10 {at_10:.3f}  P@25 {at_25:.3f}  slices {count:.1f}  n {len(figures)}"
                print(f"{slices} {kind:<12}{method:<42}{line}")
            passed &= bool(np.mean([f[1] for f in table["sub-slices, on confirm rows"]]) >= TARGET)
    return passed


def report_null(args: argparse.Namespace) -> bool:
    p_values = [null_p_values(10_000 + seed, args) for seed in range(args.null_classes)]
    owner = np.repeat(np.arange(len(p_values)), [len(p) for p in p_values])
    together = np.unique(owner[benjamini_hochberg(np.concatenate(p_values)) <= FALSE_ALARMS])
    alone = [bool((benjamini_hochberg(p) <= FALSE_ALARMS).any()) for p in p_values]
    for name, count in (("corrected over the run", len(together)), ("corrected within each class", sum(alone))):
        low, high = wilson_interval(count, len(p_values))
        share = count / len(p_values)
        print(f"shuffled errors, {name}: {share:.3f} of {len(p_values)} classes show a slice [{low:.3f}, {high:.3f}]")
    return len(together) / len(p_values) <= FALSE_ALARMS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--null-classes", type=int, default=100)
    parser.add_argument("--shift", type=float, default=7.0)
    args = parser.parse_args()
    found, quiet = report_recovery(args), report_null(args)
    print("PASS" if found and quiet else "FAIL")
    return 0 if found and quiet else 1


if __name__ == "__main__":
    raise SystemExit(main())
