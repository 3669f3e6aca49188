"""How many CPU threads one tensor operation may use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let operations inside the block use `count` threads each (of the whole process), then restore the number.

    Many small operations run best on one: with two, the threads spend most of their time waiting for each other, and
    on a busy machine the CPU time of the SVM batches rose tenfold.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
