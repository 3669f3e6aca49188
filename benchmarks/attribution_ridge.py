"""TRAK's ridge: how far the choice that sees no ground truth is from the best of a grid, on three tasks.

`python -m benchmarks.attribution_ridge [task …] [--repeats R]` prints the linear datamodelling score over the grid with
1, 2, 3 and 10 checkpoints (k = 2,048), what is chosen without retraining (the default for one checkpoint, the ridge on
which checkpoints agree for several), and how far that is from the best (target .01).
"""

from __future__ import annotations

import argparse

import torch

from app.numerics.attribution.agreed_ridge import RIDGES, agreed_ridge
from app.numerics.attribution.ridge import DEFAULT_RIDGE
from app.numerics.attribution.trak import trak_scores
from benchmarks.attribution_scores import Features, lds
from benchmarks.attribution_tasks import TASKS, Task, checkpoints, truth

COUNTS = (1, 2, 3, 10)
WIDTH = 2048


def compared(task: Task, repeats: int) -> float:
    """Print a task's curves; the largest distance of the choice from the best."""
    nets = checkpoints(task, max(COUNTS))
    features = Features(nets[0], task.data(), WIDTH)
    found = [features.checkpoint(net, number) for number, net in enumerate(nets)]
    known, worst = truth(task, repeats=repeats), 0.0
    for count in COUNTS:
        points = found[:count]
        chosen = DEFAULT_RIDGE if count == 1 else agreed_ridge(points).ridge
        curve = {ridge: lds(trak_scores(points, ridge), known) for ridge in (0.1, 0.25, *RIDGES, 32.0, 64.0)}
        best = max(curve, key=lambda ridge: curve[ridge])
        short = curve[best] - lds(trak_scores(points, chosen), known)
        worst = max(worst, short)
        shown = "  ".join(f"{ridge:.2g}: {value:.3f}" for ridge, value in curve.items())
        print(f"{task.name}, {count} checkpoint(s)  {shown}", flush=True)
        print(f"  best {best:.2g} with {curve[best]:.3f}; chosen {chosen:.2f}, {max(short, 0):.3f} below", flush=True)
    return worst


def main() -> None:
    """Compare on every task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--repeats", type=int, default=0, help="seeds for each subset; 0: the task's own number")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    worst = max(compared(TASKS[name], chosen.repeats) for name in chosen.tasks)
    print(f"chosen without ground truth: at most {worst:.4f} below the best (target .01)")
    print("PASS" if worst <= 0.01 else "FAIL")


if __name__ == "__main__":
    main()
