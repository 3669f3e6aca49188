"""Two-sample tests: time of the MMD against alibi-detect, and false alarms over many pairs that do not differ.

`python -m benchmarks.shift_mmd [--nulls 1000] [--rows 300] [--dimensions 64] [--permutations 1000]` prints the CPU
seconds of one test with each, on one thread, with their statistics and p-values on the same rows, and the ratio. Where
alibi-detect is not installed (its licence, BSL 1.1, is no open one, so that it is no dependency), the peer is a plain
reference: permuted rows and columns of the same kernel matrix, one after another. Then come the shares of false alarms
at 5 % of the MMD and of the classifier test, and what MMD finds of three small shifts.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from app.numerics.shift.mmd import mmd_test
from app.numerics.shift.two_sample import classifier_test

Rows = NDArray[np.float32]
Answer = tuple[float, float]


def main() -> None:
    """Time, compare, count false alarms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nulls", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--permutations", type=int, default=1000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pair = _pair(0, chosen.rows, chosen.dimensions, 0.05)
    _compare(*pair, chosen.permutations)
    _alarms(chosen.nulls, chosen.rows, chosen.dimensions, chosen.permutations)


def _pair(seed: int, rows: int, dimensions: int, move: float = 0.0) -> tuple[Rows, Rows]:
    rng = np.random.default_rng([seed, rows])
    x, y = rng.normal(size=(2, rows, dimensions)).astype(np.float32)
    return x, y + np.float32(move)


def _compare(x: Rows, y: Rows, permutations: int) -> None:
    name, peer = _peer(x, permutations)
    ours, mine = _timed(lambda: mmd_test(x, y, permutations, seed=0)[:2], 5)
    theirs, other = _timed(lambda: peer(y), 3)
    print(f"MMD, {len(x)} × {len(y)} × {x.shape[1]}, {permutations} permutations, one thread")
    print(f"  ours {ours:.4f} s (MMD² {mine[0]:.6f}, p {mine[1]:.4f})")
    print(f"  {name} {theirs:.4f} s (MMD² {other[0]:.6f}, p {other[1]:.4f}); ratio {ours / theirs:.4f}")


def _timed(work: Callable[[], Answer], times: int) -> tuple[float, Answer]:
    """CPU seconds of the fastest of some runs after one to warm up."""
    answer, best = work(), float("inf")
    for _ in range(times):
        began = time.process_time()
        answer = work()
        best = min(best, time.process_time() - began)
    return best, answer


def _peer(x: Rows, permutations: int) -> tuple[str, Callable[[Rows], Answer]]:
    warnings.simplefilter("ignore")
    try:
        from alibi_detect.cd import MMDDrift  # noqa: PLC0415
    except ImportError:
        return "plain reference", lambda y: _plain(x, y, permutations)
    detector = MMDDrift(x, backend="pytorch", n_permutations=permutations)

    def predict(y: Rows) -> Answer:
        found = detector.predict(y)["data"]
        return float(found["distance"]), float(found["p_val"])

    return "alibi-detect", predict


def _plain(x: Rows, y: Rows, permutations: int) -> Answer:
    pooled = torch.from_numpy(np.concatenate([x, y]))
    distance = torch.cdist(pooled, pooled) ** 2
    kernel = torch.exp(-distance / distance[~torch.eye(len(pooled), dtype=torch.bool)].median())
    observed = _mmd(kernel, len(x))
    orders = [torch.randperm(len(pooled)) for _ in range(permutations)]
    return observed, float(np.mean([_mmd(kernel[order][:, order], len(x)) >= observed for order in orders]))


def _mmd(kernel: torch.Tensor, n: int) -> float:
    first, second, between = kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]
    within = [(part.sum() - part.trace()) / (len(part) * (len(part) - 1)) for part in (first, second)]
    return float(sum(within) - 2 * between.mean())


def _alarms(nulls: int, rows: int, dimensions: int, permutations: int) -> None:
    pairs = [_pair(seed, rows, dimensions) for seed in range(1, nulls + 1)]
    p = np.array([mmd_test(*pair, permutations, seed=seed).p_value for seed, pair in enumerate(pairs)])
    print(f"False alarms at 5 %, {nulls} nulls: MMD {(p <= 0.05).mean():.1%}", end=", ", flush=True)
    few = pairs[: max(nulls // 4, 1)]
    p = np.array([classifier_test(*pair, seed=seed, permutations=99).p_value for seed, pair in enumerate(few)])
    print(f"classifier test {(p <= 0.05).mean():.1%} of {len(few)}")
    for move in (0.02, 0.05, 0.1):
        moved = [_pair(seed, rows, dimensions, move) for seed in range(100)]
        found = [mmd_test(*pair, permutations, seed=seed).p_value <= 0.05 for seed, pair in enumerate(moved)]
        print(f"  found where every coordinate moves by {move} deviations: {np.mean(found):.0%} of 100")


if __name__ == "__main__":
    main()
