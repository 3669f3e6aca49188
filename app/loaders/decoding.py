"""Image files decoded in threads, in batches, at the pace that suits the device that consumes them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from app.loaders.images import BadImage

T = TypeVar("T")
_AHEAD = 2
_GROUP = 16


@dataclass(frozen=True)
class Batch:
    """Rows [start, start + n): pixels uint8 [n, height, width, channels], black where `failures` says why by row."""

    start: int
    pixels: NDArray[np.uint8]
    failures: dict[int, str]


@dataclass(frozen=True)
class Pace:
    """How many threads decode, and how many batches they may be ahead of the consumer."""

    threads: int
    ahead: int


def pace(device: torch.device) -> Pace:
    """Return the pace beside a network on `device`.

    An accelerator leaves every core to decoding, ahead of it. A network that computes on every core would be disturbed:
    its threads wait for each other, so that one decoder in the way of one of them stops all. There decoding takes
    turns with the network, on every core too; where the network leaves cores, decoding gets those.
    """
    cores = len(os.sched_getaffinity(0))
    if device.type != "cpu":
        return Pace(cores, _AHEAD)
    left = cores - torch.get_num_threads()
    return Pace(left, _AHEAD) if left > 0 else Pace(cores, 0)


def decoded_batches(
    items: Iterable[T],
    prepare: Callable[[T], NDArray[np.uint8]],
    shape: tuple[int, int, int],
    batch_size: int,
    pace: Pace,
) -> Iterator[Batch]:
    """Yield the items in order, each as the pixels of `shape` that `prepare` makes of it in a thread.

    An item for which `prepare` raises `BadImage` stays black and is named in the batch's failures.
    """
    stream, row = iter(items), 0
    with ThreadPoolExecutor(pace.threads, thread_name_prefix="decode") as pool:
        waiting: deque[_Pending] = deque()
        while True:
            while len(waiting) <= pace.ahead and (chunk := list(islice(stream, batch_size))):
                waiting.append(_Pending(pool, chunk, prepare, shape, row, pace.threads))
                row += len(chunk)
            if not waiting:
                return
            yield waiting.popleft().result()


class _Pending:
    """A batch whose items are being decoded."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        items: Sequence[T],
        prepare: Callable[[T], NDArray[np.uint8]],
        shape: tuple[int, int, int],
        start: int,
        threads: int,
    ) -> None:
        self._start = start
        self._pixels = np.zeros((len(items), *shape), np.uint8)
        group = max(1, min(_GROUP, len(items) // threads))
        self._futures: list[Future[dict[int, str]]] = [
            pool.submit(_fill, items[i : i + group], prepare, self._pixels[i : i + group], start + i)
            for i in range(0, len(items), group)
        ]

    def result(self) -> Batch:
        failures: dict[int, str] = {}
        for future in self._futures:
            failures |= future.result()
        return Batch(self._start, self._pixels, failures)


def _fill(
    items: Sequence[T], prepare: Callable[[T], NDArray[np.uint8]], pixels: NDArray[np.uint8], start: int
) -> dict[int, str]:
    failures: dict[int, str] = {}
    for place, item in enumerate(items):
        try:
            pixels[place] = prepare(item)
        except BadImage as error:
            failures[start + place] = error.message
    return failures
