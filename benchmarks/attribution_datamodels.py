"""Datamodels on the digits CNN: plain LASSO against LASSO weighted by gradient scores, by how many networks they need.

`python -m benchmarks.attribution_datamodels` prints linear datamodelling scores against the same truth as the other
attribution benchmarks; the networks of a fit are others than those of the truth. The weights' prior is TRAK with 10
checkpoints. Target: weighted with 500 networks beats plain with 1,000.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from app.numerics.attribution.datamodel import DatamodelFitter, block_size
from app.numerics.attribution.trak import trak_scores
from benchmarks.attribution_scores import Features, lds
from benchmarks.attribution_tasks import TASKS, Task, checkpoints, datamodel_outputs, truth

COUNTS = (250, 500, 1000)
WIDTH = 2048


def fitted(masks: Tensor, outputs: Tensor, prior: Tensor | None) -> Tensor:
    """Weights [N, m], block by block as the product fits them."""
    fitter, size = DatamodelFitter(masks), block_size(masks.shape[1])
    blocks = [slice(start, start + size) for start in range(0, outputs.shape[1], size)]
    found = [fitter.fit(outputs[:, some], None if prior is None else prior[:, some]).weights for some in blocks]
    return torch.cat(found, dim=1)


def gradient_scores(task: Task) -> Tensor:
    """TRAK's scores [N, m] at 10 checkpoints."""
    nets = checkpoints(task, 10)
    features = Features(nets[0], task.data(), WIDTH)
    return trak_scores([features.checkpoint(net, number) for number, net in enumerate(nets)])


def main() -> None:
    """Fit both for every count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits-cnn", choices=list(TASKS))
    task = TASKS[parser.parse_args().task]
    torch.set_num_threads(1)
    known, prior = truth(task), gradient_scores(task)
    masks, outputs = datamodel_outputs(task, max(COUNTS))
    print(f"TRAK, 10 checkpoints: LDS {lds(prior, known):.3f}; truth {len(known[0])} × {len(known[1])}", flush=True)
    found: dict[tuple[str, int], float] = {}
    for count in COUNTS:
        for kind, some in (("plain", None), ("weighted", prior)):
            began = time.process_time()
            weights = fitted(masks[:count], outputs[:count], some)
            found[kind, count] = lds(weights, known)
            seconds = time.process_time() - began
            print(f"{kind}, {count} networks: LDS {found[kind, count]:.3f}, fitted in {seconds:.1f} CPU s", flush=True)
    better = found["weighted", 500] - found["plain", 1000]
    print(f"weighted with 500 against plain with 1,000: {better:+.3f}; {'PASS' if better > 0 else 'FAIL'}")


if __name__ == "__main__":
    main()
