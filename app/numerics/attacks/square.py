"""Square: a search without gradients that repaints random squares and keeps what lowers the margin.

Source: Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial attack via
random search", ECCV 2020, algorithms 1 to 3.
"""

from __future__ import annotations

import math

import torch

from app.numerics.attacks.draws import Draws
from app.numerics.attacks.losses import margin
from app.numerics.attacks.problem import Found, Problem, judged
from app.numerics.attacks.square_windows import begin, propose

FIRST_SHARE = 0.8
_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_OF_QUERIES = 10_000
_BLOCK = 200


def square(problem: Problem, *, queries: int = 5000, share: float = FIRST_SHARE) -> Found:
    """Ask the network `queries` times about each example; an example ends when it is broken.

    Images are [n, channels, height, width]; `share` is the share of the pixels in the first square.
    """
    found = Found.nothing(problem)
    part, rows = problem, torch.arange(len(problem), device=problem.labels.device)
    if not len(rows):
        return found
    channels = problem.images.shape[1]
    draws = Draws(problem.seed, "square", 0, problem.keys)
    best = begin(part, draws)
    logits = judged(part, best)
    known, going = margin(logits, part.labels), ~found.offer(rows, best, logits, part.labels)
    numbers = torch.zeros(0)
    for query in range(1, queries):
        if not bool(going.all()):
            part, rows, best, known = part.take(going), rows[going], best[going], known[going]
            draws.take(going)
            numbers = numbers[going.to(numbers.device)] if len(numbers) else numbers
        if not len(rows):
            break
        turn = (query - 1) % _BLOCK
        if turn == 0:
            numbers = draws.uniform(_BLOCK, 5 + channels)
        new = propose(part, best, square_share(query, queries, share), numbers[:, turn].to(best))
        logits = judged(part, new)
        better = (there := margin(logits, part.labels)) < known
        going = torch.ones_like(better)
        if bool(better.any()):
            best = torch.where(better.view(-1, 1, 1, 1), new, best)
            known = torch.where(better, there, known)
            found.offer(rows[better], new[better], logits[better], part.labels[better])
            going = ~found.sure[rows]
    return found


def square_share(query: int, queries: int, first: float) -> float:
    """The share of the pixels that a query repaints: halved nine times, at fixed shares of all queries."""
    place = math.floor(query / queries * _OF_QUERIES)
    return float(first / 2 ** sum(place > bound for bound in _HALVED_AT))
