"""Batches decoded in threads: order, failures, and how far ahead they run."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.loaders import decoding
from app.loaders.decoding import Pace, decoded_batches, pace
from app.loaders.images import BadImage

SHAPE = (2, 3, 1)
CORES = len(os.sched_getaffinity(0))


def number(value: int) -> NDArray[np.uint8]:
    if value % 7 == 3:
        raise BadImage(f"{value} is bad.")
    time.sleep(0.0005 * (value % 3))
    return np.full(SHAPE, value, np.uint8)


@pytest.mark.parametrize("batch_size", [1, 4, 30, 100])
@pytest.mark.parametrize("chosen", [Pace(1, 0), Pace(3, 0), Pace(2, 2)])
def test_items_come_in_order_and_failures_by_row(batch_size: int, chosen: Pace) -> None:
    batches = list(decoded_batches(iter(range(30)), number, SHAPE, batch_size, chosen))
    assert [batch.start for batch in batches] == list(range(0, 30, batch_size))
    assert np.concatenate([batch.pixels for batch in batches])[:, 0, 0, 0].tolist() == [
        0 if value % 7 == 3 else value for value in range(30)
    ]
    failures = {row: message for batch in batches for row, message in batch.failures.items()}
    assert failures == {row: f"{row} is bad." for row in (3, 10, 17, 24)}


def test_nothing_gives_no_batch() -> None:
    assert list(decoded_batches([], number, SHAPE, 4, Pace(2, 2))) == []


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_no_more_batches_are_begun_than_the_pace_says(ahead: int) -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def noted(value: int) -> NDArray[np.uint8]:
        with lock:
            begun.append(value)
        return np.zeros(SHAPE, np.uint8)

    batches = decoded_batches(range(40), noted, SHAPE, 5, Pace(2, ahead))
    next(batches)
    for _ in range(200):
        if len(begun) == 5 * (1 + ahead):
            break
        time.sleep(0.005)
    time.sleep(0.02)
    assert sorted(begun) == list(range(5 * (1 + ahead)))


def test_other_errors_are_raised_to_the_consumer() -> None:
    with pytest.raises(ZeroDivisionError):
        list(decoded_batches([1, 0], lambda value: number(1 // value), SHAPE, 1, Pace(1, 1)))


@pytest.mark.parametrize(
    ("threads", "cores", "expected"),
    [(2, 2, Pace(2, 0)), (4, 2, Pace(2, 0)), (1, 2, Pace(1, 2)), (8, 32, Pace(24, 2))],
)
def test_decoding_takes_turns_with_a_network_that_uses_every_core(
    monkeypatch: pytest.MonkeyPatch, threads: int, cores: int, expected: Pace
) -> None:
    monkeypatch.setattr(decoding.os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert pace(torch.device("cpu")) == expected


def test_an_accelerator_leaves_every_core_to_decoding() -> None:
    assert pace(torch.device("cuda")) == Pace(CORES, 2)
