"""The ensemble of attacks on two to nine classes, where pyautoattack raises, against what is exactly true.

`python -m benchmarks.attacks_few_classes [--images 40] [--classes 2 3 4 5 6 7 8 9]` fits a linear network to the digits
of scikit-learn below each number of classes. Within an L∞ ball and the range of pixels the worst image of a linear
network is known in closed form, so that every point is either broken or proven. It prints how many points ours breaks,
how many can be broken at all, how many differ (by more than rounding), and what pyautoattack's standard ensemble says
to the same images.
"""

from __future__ import annotations

import argparse
import time

import torch
from pyautoattack import AutoAttack
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from app.numerics.attacks.ensemble import ensemble, standard
from app.numerics.attacks.region import Ball

RADIUS, ROUNDING = 0.1, 1e-4


def main() -> None:
    """Attack, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(2, 10)))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if differ := sum(_compare(classes, chosen.images) for classes in chosen.classes):
        raise SystemExit(f"{differ} points differ from what is exactly true.")


def _compare(classes: int, count: int) -> int:
    network, images, labels = _fitted(classes, count)
    worst = _worst_margins(network, images, labels)
    began = time.process_time()
    verdict = ensemble(network, images, labels, Ball("Linf", RADIUS), standard())
    seconds = time.process_time() - began
    broken, can = verdict.broken_by != -1, worst < 0
    differ = (broken != can) & (worst.abs() > ROUNDING)
    print(
        f"{classes} classes, {len(labels)} images: ours breaks {int(broken.sum())}, {int(can.sum())} can be broken, "
        f"{int(differ.sum())} differ; {seconds:.1f} s; pyautoattack: {_peer(network, images, labels)}",
        flush=True,
    )
    return int(differ.sum())


def _fitted(classes: int, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    data = load_digits()
    kept = data.target < classes
    x, y = data.data[kept] / 16, data.target[kept]
    fitted = LogisticRegression(C=0.1, max_iter=500).fit(x[count:], y[count:])
    linear = nn.Linear(64, classes)
    with torch.no_grad():
        weight, bias = torch.tensor(fitted.coef_), torch.tensor(fitted.intercept_)
        if classes == 2:
            weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    network = nn.Sequential(nn.Flatten(), linear).eval().requires_grad_(False)
    return network, torch.tensor(x[:count], dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y[:count]).long()


def _worst_margins(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The least margin of each image in its ball, float64 [n]: each pixel moves as far as it may, by its sign."""
    assert isinstance(network, nn.Sequential)
    linear = network[1]
    assert isinstance(linear, nn.Linear)
    weight, bias, x = linear.weight.double(), linear.bias.double(), images.flatten(1).double()
    low, high = (x - RADIUS).clamp(min=0), (x + RADIUS).clamp(max=1)
    against = weight[labels][:, None] - weight[None]
    ends = torch.where(against > 0, low[:, None], high[:, None])
    margins = (against * ends).sum(2) + bias[labels][:, None] - bias[None]
    return margins.scatter(1, labels[:, None], torch.inf).amin(1)


def _peer(network: nn.Module, images: Tensor, labels: Tensor) -> str:
    attack = AutoAttack(network, norm="Linf", eps=RADIUS, version="standard", seed=0)
    attack.verbose = False
    try:
        found, _ = attack.run_standard_evaluation(images, labels, batch_size=len(labels))
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    return f"breaks {int((network(found).argmax(1) != labels).sum())}"


if __name__ == "__main__":
    main()
