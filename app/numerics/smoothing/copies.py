"""Noisy copies of images, and what a network takes them for, many images at once in full batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Votes = NDArray[np.int64]
Found = TypeVar("Found")
NO_CLASS = -1
_MOST_COPIES, _NUMBERS = 1024, 2**20


class Wanted(NamedTuple):
    """Further copies of an image, from the stream of random numbers of that name."""

    part: str
    number: int


Task = Generator[Wanted, Votes, Found]
"""What is to be found out of one image: asks for copies, is sent what they were taken for, returns what it found."""


class Copies:
    """Images with Gaussian noise, through a network.

    The k-th copy of an image in a part depends on `seed`, the part, the image's key and k alone: neither batch nor
    shard matters, and fewer copies are the first of more. Different `sigma` scale the same numbers. Pixels are not
    clipped, since the proof is about Gaussian noise.
    """

    def __init__(
        self, forward: Callable[[Tensor], Tensor], images: Tensor, keys: Sequence[int], sigma: float, seed: int
    ) -> None:
        """`images` float32 [n, channels, height, width] on the network's device; `keys` are data set rows."""
        self._forward, self._images, self._sigma = forward, images, sigma
        self._keys, self._seed, self._streams = keys, seed, dict[tuple[int, str], torch.Generator]()
        self.size = max(16, min(_MOST_COPIES, _NUMBERS // max(images[0].numel(), 1))) if len(images) else 1

    @torch.no_grad()
    def votes(self, asked: Sequence[tuple[int, Wanted]]) -> Votes:
        """Classes of copies of the images at these places, in order, `NO_CLASS` where no output is a number."""
        noise = torch.empty(sum(wanted.number for _, wanted in asked), *self._images.shape[1:])
        rows, done = [], 0
        for place, wanted in asked:
            source = self._stream(place, wanted.part)
            # One copy at a time: a longer draw would give other numbers than two shorter ones.
            for copy in noise[done : done + wanted.number].unbind():
                copy.normal_(generator=source)
            rows += [place] * wanted.number
            done += wanted.number
        logits = self._forward(self._images[rows].add_(noise.mul_(self._sigma).to(self._images.device)))
        found = torch.where(logits.isfinite().all(1), logits.argmax(1), NO_CLASS)
        votes: Votes = found.cpu().numpy()
        return votes

    def _stream(self, place: int, part: str) -> torch.Generator:
        found = self._streams.get((place, part))
        if found is None:
            words = [self._seed, *part.encode(), self._keys[place]]
            (number,) = np.random.SeedSequence(words).generate_state(1, np.uint32).tolist()
            found = self._streams[place, part] = torch.Generator().manual_seed(number)
        return found


class _Open(Generic[Found]):
    """A task and what it has been sent of the copies that it asked for."""

    def __init__(self, place: int, task: Task[Found]) -> None:
        self.place, self._task = place, task
        self._ask(next(task))

    def _ask(self, wanted: Wanted) -> None:
        self.part, self._got, self.left = wanted.part, np.empty(wanted.number, np.int64), wanted.number

    def take(self, votes: Votes, found: dict[int, Found]) -> bool:
        """Take in some votes; whether that ended the task, with what it found in `found`."""
        start = len(self._got) - self.left
        self._got[start : start + len(votes)] = votes
        self.left -= len(votes)
        if self.left:
            return False
        try:
            self._ask(self._task.send(self._got))
        except StopIteration as end:
            found[self.place] = end.value
            return True
        return False


def run_tasks(
    copies: Copies, tasks: Sequence[Task[Found]], progress: Callable[[float], None] = lambda _share: None
) -> list[Found]:
    """Run a task for each image; an image that is done makes room for the next, so that batches stay full.

    What is found does not depend on the size of batches.
    """
    found: dict[int, Found] = {}
    waiting, going = deque(enumerate(tasks)), deque[_Open[Found]]()
    while waiting or going:
        while waiting and sum(one.left for one in going) < copies.size:
            place, task = waiting.popleft()
            going.append(_Open(place, task))
        asked = _batch(going, copies.size)
        votes, done = copies.votes([(one.place, Wanted(one.part, count)) for one, count in asked]), 0
        for one, count in asked:
            if not one.take(votes[done : done + count], found):
                going.append(one)
            done += count
        progress(len(found) / len(tasks))
    return [found[place] for place in range(len(tasks))]


def _batch(going: deque[_Open[Found]], size: int) -> list[tuple[_Open[Found], int]]:
    """Take tasks from the queue until their copies fill a batch."""
    asked: list[tuple[_Open[Found], int]] = []
    while going and size:
        one = going.popleft()
        asked.append((one, min(one.left, size)))
        size -= asked[-1][1]
    return asked
