"""TRAK's ridge: how far the default, which sees no ground truth, is from the best of a grid, on three tasks.

`python -m benchmarks.attribution_ridge [task …] [--repeats R]` prints the linear datamodelling score over the grid with
1, 3 and 10 checkpoints (k = 2,048), the default's distance from the best (target .01), and beside it what the
agreement of disjoint checkpoints would have chosen.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from app.numerics.attribution.ridge import DEFAULT_RIDGE
from app.numerics.attribution.trak import trak_scores
from benchmarks.attribution_scores import Features, lds
from benchmarks.attribution_tasks import TASKS, Task, checkpoints, truth

GRID = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
COUNTS = (1, 3, 10)
WIDTH = 2048


def compared(task: Task, repeats: int) -> float:
    """Print a task's curves; the largest distance of the default from the best."""
    nets = checkpoints(task, max(COUNTS))
    features = Features(nets[0], task.data(), WIDTH)
    found = [features.checkpoint(net, number) for number, net in enumerate(nets)]
    known, worst = truth(task, repeats=repeats), 0.0
    for count in COUNTS:
        curve = {ridge: lds(trak_scores(found[:count], ridge), known) for ridge in GRID}
        best = max(curve, key=lambda ridge: curve[ridge])
        short = curve[best] - curve[DEFAULT_RIDGE]
        worst = max(worst, short)
        shown = "  ".join(f"{ridge:g}: {value:.3f}" for ridge, value in curve.items())
        print(f"{task.name}, {count} checkpoint(s)  {shown}  | best {best:g}, the default is {short:.3f} below")
    half = max(COUNTS) // 2
    agreement = {r: likeness(trak_scores(found[:half], r), trak_scores(found[half:], r)) for r in GRID}
    shown = "  ".join(f"{ridge:g}: {value:.2f}" for ridge, value in agreement.items())
    print(f"{task.name}, agreement of two halves of the checkpoints  {shown}", flush=True)
    return worst


def likeness(a: Tensor, b: Tensor) -> float:
    """Mean correlation of matching columns."""
    sides = (torch.nn.functional.normalize(side - side.mean(dim=0), dim=0) for side in (a, b))
    return float((next(sides) * next(sides)).sum(dim=0).mean())


def main() -> None:
    """Compare on every task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--repeats", type=int, default=0, help="seeds for each subset; 0: the task's own number")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    worst = max(compared(TASKS[name], chosen.repeats) for name in chosen.tasks)
    print(f"default ridge {DEFAULT_RIDGE:g}: at most {worst:.3f} below the best (target .01)")
    print("PASS" if worst <= 0.01 else "FAIL")


if __name__ == "__main__":
    main()
