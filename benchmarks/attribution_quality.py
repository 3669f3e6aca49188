"""Attribution quality and cost on a task (the digits CNN) against traker, kronfluence and KNN-Shapley, in CPU seconds.

`python -m benchmarks.attribution_quality [--task T] [--repeats R] [--peers …]` prints the linear datamodelling score
and the CPU seconds of attribution; checkpoints and truth are shared, and making the operation graph, once for an
architecture, is printed apart. TRAK with 10 checkpoints, the choice of the ridge included, against traker with its
ridge set by hand to the same relative size; one checkpoint out of the box against KNN-Shapley; EK-FAC against
kronfluence with its automatic damping; and what int8 rows cost.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from app.numerics.attribution import ekfac
from app.numerics.attribution.agreed_ridge import agreed_ridge
from app.numerics.attribution.knn_shapley import knn_shapley
from app.numerics.attribution.lds import linear_datamodelling_score
from app.numerics.attribution.outputs import cross_entropy, margin
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import DEFAULT_RIDGE, Spectrum
from app.numerics.attribution.taps import TappedNetwork
from app.numerics.attribution.trak import Checkpoint, trak_scores
from benchmarks.attribution_scores import Features, lds, tapped
from benchmarks.attribution_tasks import TASKS, Data, Task, checkpoints, truth

WIDTH = 512
COMPARED = 128
"""Targets on which checkpoints are compared, as in the product."""
PEERS = ("traker", "kronfluence")


def ours(features: Features, nets: list[nn.Module]) -> list[Checkpoint]:
    """TRAK's features at each checkpoint."""
    return [features.checkpoint(net, number) for number, net in enumerate(nets)]


def whole_rows(point: Checkpoint, features: Tensor) -> Tensor:
    """Scores [N, m] without rounding."""
    solved = Spectrum.of([features]).solve(point.targets, DEFAULT_RIDGE)
    return features @ solved.T * point.doubt[:, None]


def attributed(features: Features, nets: list[nn.Module]) -> tuple[list[Checkpoint], float, Tensor]:
    """Checkpoints, the ridge on which they agree, and the scores [N, m] under it."""
    points = ours(features, nets)
    ridge = agreed_ridge([point._replace(targets=point.targets[:COMPARED]) for point in points]).ridge
    return points, ridge, trak_scores(points, ridge)


def traker(task: Task, nets: list[nn.Module], squares: float, ridge: float) -> Tensor:
    """Scores [N, m] of traker; `squares` is Σ‖∇f‖² over training rows, from which its ridge is set."""
    from trak import TRAKer  # noqa: PLC0415 - a benchmark's extra

    data, parameters = task.data(), sum(p.numel() for p in nets[0].parameters())
    with tempfile.TemporaryDirectory() as folder:
        peer = TRAKer(
            *(nets[0], "image_classification", len(data.train), folder),
            **{"device": "cpu", "proj_dim": WIDTH, "use_half_precision": False, "logging_level": logging.ERROR},
            lambda_reg=ridge * squares / parameters,
        )
        for number, net in enumerate(nets):
            peer.load_checkpoint(net.state_dict(), model_id=number)
            for x, y in zip(data.train.split(100), data.labels.split(100), strict=True):
                peer.featurize((x, y), num_samples=len(x))
        peer.finalize_features()
        for number, net in enumerate(nets):
            peer.start_scoring_checkpoint("targets", net.state_dict(), number, num_targets=len(data.targets))
            for x, y in zip(data.targets.split(100), data.target_labels.split(100), strict=True):
                peer.score((x, y), num_samples=len(x))
        return torch.from_numpy(peer.finalize_scores("targets").copy())


def own_ekfac(network: TappedNetwork, data: Data) -> Tensor:
    """EK-FAC influence [N, m] at one checkpoint; three passes over the training rows."""
    batches = list(zip(torch.arange(len(data.train)).split(100), data.train.split(100), strict=True))
    curvature = ekfac.estimate_curvature(network, lambda: ((rows.tolist(), x) for rows, x in batches), seed=0)
    targets = network.factors(data.targets, lambda logits: margin(logits, data.target_labels))[1]
    solved = ekfac.precondition(network.taps, targets, curvature)
    scores = []
    for rows, x in batches:
        pairs = network.factors(x, lambda logits, y=data.labels[rows]: cross_entropy(logits, y))[1]
        scores.append(ekfac.influence(network.taps, pairs, solved))
    return torch.cat(scores)


def kronfluence(network: nn.Module, data: Data) -> Tensor:
    """Scores [N, m] of kronfluence's EK-FAC with its automatic damping."""
    from kronfluence.analyzer import Analyzer, prepare_model  # noqa: PLC0415 - a benchmark's extra
    from kronfluence.arguments import ScoreArguments  # noqa: PLC0415
    from kronfluence.task import Task as PeerTask  # noqa: PLC0415

    class Margins(PeerTask):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            logits = model(batch[0])
            labels = torch.multinomial(logits.detach().softmax(dim=1), 1)[:, 0] if sample else batch[1]
            return nn.functional.cross_entropy(logits, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return -margin(model(batch[0]), batch[1]).sum()

    torch.manual_seed(0)
    train, targets = TensorDataset(data.train, data.labels), TensorDataset(data.targets, data.target_labels)
    with tempfile.TemporaryDirectory() as folder:
        peer = Analyzer(
            "digits", prepare_model(network, Margins()), Margins(), cpu=True, output_dir=folder, disable_tqdm=True
        )
        peer.fit_all_factors("factors", train, per_device_batch_size=100)
        peer.compute_pairwise_scores(
            *("scores", "factors", targets, train, 300),
            per_device_train_batch_size=100,
            score_args=ScoreArguments(damping_factor=None),
        )
        return peer.load_pairwise_scores("scores")["all_modules"].T.float()


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result and its CPU seconds."""
    began = time.process_time()
    return work(), time.process_time() - began


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits-cnn", choices=list(TASKS))
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    task = TASKS[chosen.task]
    data, nets, known = task.data(), checkpoints(task, 10), truth(task, repeats=chosen.repeats)
    rows, graph = timed(lambda: Features(nets[0], data, WIDTH))
    wide, network = Features(nets[0], data, 2048), tapped(nets[0], data)
    print(f"graph: {graph:.1f} CPU s, once")
    (points, ridge, scores), seconds = timed(lambda: attributed(rows, nets))
    full = linear_datamodelling_score(scores, *known, torch.Generator().manual_seed(0), draws=200)
    print(
        f"truth {full.subsets} × {full.retrainings}, repeatability {full.repeatability:.3f}, ceiling {full.ceiling:.3f}"
    )
    print("targets: .50 with 10 checkpoints, .36 with one; traker 8 times slower, kronfluence 3 times")
    interval = f"[{full.low:.3f}, {full.high:.3f}]"
    print(
        f"ours, 10 checkpoints, k = {WIDTH}: LDS {full.value:.3f} {interval}, ridge {ridge:.2f}, in {seconds:.1f} CPU s"
    )
    (_, ridge, scores), longer = timed(lambda: attributed(wide, nets))
    print(f"ours, 10 checkpoints, k = 2,048: LDS {lds(scores, known):.3f} in {longer:.1f} CPU s; ridge {ridge:.2f}")
    one, single = timed(lambda: trak_scores(ours(wide, nets[:1])))
    print(f"ours, one checkpoint, k = 2,048: LDS {lds(one, known):.3f} in {single:.1f} CPU s")
    near = knn_shapley(
        _penultimate(nets[0], data.train), data.labels, _penultimate(nets[0], data.targets), data.target_labels
    )
    print(f"KNN-Shapley: LDS {lds(near, known):.3f}")
    before, _ = rows.of(nets[0], 0, data.train, data.labels)
    exact = lds(whole_rows(points[0], before), known)
    print(f"int8 rows: LDS {lds(trak_scores(points[:1]), known):.4f} against {exact:.4f} in float32 (target .002)")
    own, cost = timed(lambda: own_ekfac(network, data))
    print(f"EK-FAC, ours: LDS {lds(own, known):.3f} in {cost:.1f} CPU s", flush=True)
    if "kronfluence" in chosen.peers:
        other, more = timed(lambda: kronfluence(checkpoints(task, 1)[0], data))
        print(
            f"EK-FAC, kronfluence: LDS {lds(other, known):.3f} in {more:.1f} CPU s; ratio {more / cost:.1f}",
            flush=True,
        )
    if "traker" in chosen.peers:
        other, more = timed(lambda: traker(task, nets, float(quantise(before).rows().square().sum()), ridge))
        print(f"traker, 10 checkpoints: LDS {lds(other, known):.3f} in {more:.1f} CPU s; ratio {more / seconds:.1f}")


def _penultimate(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return nn.Sequential(*list(network.children())[:-1])(images)


if __name__ == "__main__":
    main()
