"""Randomised smoothing against closed forms, scipy, brute-force integration and simulated nulls."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from app.numerics.smoothing.certify import ESTIMATE, SELECT, ask, certify, most_frequent
from app.numerics.smoothing.copies import NO_CLASS, Copies, Wanted, run_tasks
from app.numerics.smoothing.evidence import (
    CERTIFIED,
    OPEN,
    REFUTED,
    RadiusTest,
    farthest_asked,
    log_evidence,
)
from app.numerics.smoothing.radius import certified_radius, farthest_radius, share_at_least, share_needed

DIM = 12
WEIGHTS = torch.linspace(-1, 1, DIM) + 0.3


def half_space(x: Tensor) -> Tensor:
    """Two classes on either side of a plane, of which the exact smoothed class and radius are known."""
    score = x.flatten(1) @ WEIGHTS - 1.0
    return torch.stack([score, -score], dim=1)


def images(count: int, spread: float = 0.25) -> Tensor:
    """Points at chosen signed distances of the plane."""
    generator = torch.Generator().manual_seed(5)
    unit = WEIGHTS / WEIGHTS.norm()
    on = torch.randn(count, DIM, generator=generator)
    on -= (on @ WEIGHTS - 1.0)[:, None] / WEIGHTS.norm() * unit
    return (on + torch.linspace(-spread, spread, count)[:, None] * unit).view(count, 1, 3, 4)


def exact(x: Tensor) -> tuple[list[int], np.ndarray]:
    """The smoothed classifier's class and its exact radius: the distance of the plane."""
    score = (x.flatten(1) @ WEIGHTS - 1.0) / WEIGHTS.norm()
    return (score < 0).long().tolist(), score.abs().double().numpy()


def copies(x: Tensor, sigma: float, keys: Sequence[int] | None = None, seed: int = 0) -> Copies:
    return Copies(half_space, x, range(len(x)) if keys is None else keys, sigma, seed)


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (10, 10), (7, 12), (990, 1000), (99_900, 100_000)])
def test_lower_bounds_are_those_of_the_exact_test(hits: int, n: int, alpha: float) -> None:
    proper = stats.binomtest(hits, n, alternative="greater").proportion_ci(1 - alpha, method="exact").low
    assert float(share_at_least(hits, n, alpha)) == pytest.approx(proper, rel=1e-9, abs=1e-12)


def test_radii_are_those_of_the_theorem_and_abstain_at_one_half() -> None:
    bound = stats.beta.ppf(0.001, 950, 51)
    assert float(certified_radius(950, 1000, 0.001, 0.5)) == pytest.approx(0.5 * stats.norm.ppf(bound))
    assert np.isnan(certified_radius([500, 530], 1000, 0.001, 0.5)).all()
    assert farthest_radius(100_000, 0.001, 1.0) == pytest.approx(3.8115, abs=1e-3), "the paper's 4σ, about"
    assert farthest_radius(1000, 0.001, 0.25) == pytest.approx(float(certified_radius(1000, 1000, 0.001, 0.25)))


@pytest.mark.parametrize(("hits", "misses", "bound"), [(0, 0, 0.5), (9, 3, 0.6), (40, 1, 0.84), (20, 30, 0.9)])
def test_evidence_is_the_integral_that_it_stands_for(hits: int, misses: int, bound: float) -> None:
    prior = stats.beta(0.5, 0.5)

    def averaged(low: float, high: float) -> float:
        def integrand(p: float) -> float:
            ratio = (p / bound) ** hits * ((1 - p) / (1 - bound)) ** misses
            return float(ratio * prior.pdf(p))

        found, _ = integrate.quad(integrand, low, high, limit=200)
        return float(found / (prior.cdf(high) - prior.cdf(low)))

    above, below = log_evidence(hits, misses, bound)
    assert math.exp(float(above)) == pytest.approx(averaged(bound, 1), rel=1e-6)
    assert math.exp(float(below)) == pytest.approx(averaged(0, bound), rel=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 1.0, 2.0])
def test_looking_at_every_draw_still_errs_at_most_at_alpha(ratio: float) -> None:
    """The null at its very edge, p = Φ(r / σ), looked at after each of 300 draws."""
    alpha, trials, bound = 0.05, 2000, float(share_needed(ratio, 1.0))
    generator = np.random.default_rng(int(10 * ratio))
    hits = np.zeros(trials)
    wrong = np.zeros((2, trials), bool)
    for n in range(1, 301):
        hits += generator.random(trials) < bound
        wrong |= np.stack(log_evidence(hits, n - hits, bound)) >= -math.log(alpha)
    allowed = stats.binom.ppf(0.9999, trials, alpha)
    assert (wrong.sum(axis=1) <= allowed).all()
    assert wrong.any(), "a test that never rejects would pass too"


def test_several_radii_share_one_alpha() -> None:
    """Any wrong "certified" among three radii, the middle of which is the edge."""
    alpha, radii, trials = 0.1, (0.0, 0.5, 1.0), 400
    generator, wrong = np.random.default_rng(0), 0
    for _ in range(trials):
        test = RadiusTest(radii, 1.0, alpha, 800)
        while draws := test.wanted():
            test.tell(int(generator.binomial(draws, float(share_needed(0.5, 1.0)))), draws)
        wrong += bool((test.decided[1:] == CERTIFIED).any())
    assert wrong <= stats.binom.ppf(0.9999, trials, alpha)


def test_answers_follow_from_the_draws_and_are_nested() -> None:
    sure = RadiusTest((0.0, 0.5, 1.0), 0.5, 0.001, 10_000)
    while draws := sure.wanted():
        sure.tell(draws, draws)
    assert sure.decided.tolist() == [CERTIFIED] * 3
    assert sure.n < 500
    middling = RadiusTest((0.0, 0.5, 1.0), 0.5, 0.001, 10_000)
    while draws := middling.wanted():
        middling.tell(round(0.7 * draws), draws)
    assert middling.decided.tolist() == [CERTIFIED, REFUTED, REFUTED]
    edge = RadiusTest((0.0,), 0.5, 0.001, 200)
    while draws := edge.wanted():
        edge.tell(draws // 2, draws)
    assert edge.decided.tolist() == [OPEN]


def test_no_draw_is_spent_on_what_the_most_draws_cannot_certify() -> None:
    reach = farthest_asked(1000, 0.001, 0.25)
    assert reach < farthest_radius(1000, 0.001, 0.25), "looking at any time costs something"
    assert reach > 0.9 * farthest_radius(1000, 0.001, 0.25)
    assert RadiusTest((1.01 * reach,), 0.25, 0.001, 1000).wanted() == 0
    test = RadiusTest((0.99 * reach,), 0.25, 0.001, 1000)
    while draws := test.wanted():
        test.tell(draws, draws)
    assert test.decided.tolist() == [CERTIFIED]


def test_noise_is_gaussian_and_different_for_each_image_copy_and_part() -> None:
    seen: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1)[:, :2]

    some = Copies(keep, torch.full((2, 1, 16, 16), 0.5), [7, 8], 0.25, 3)
    some.votes([(0, Wanted(SELECT, 100)), (1, Wanted(SELECT, 100)), (0, Wanted(ESTIMATE, 100))])
    noise = (torch.cat(seen) - 0.5).flatten(1) / 0.25
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 0.001
    assert float(torch.corrcoef(noise).sub(torch.eye(300)).abs().max()) < 0.4


def test_neither_batch_nor_shard_nor_how_many_are_drawn_matters() -> None:
    x = images(9)
    tasks = [ask(0.25, (0.0, 0.1, 0.2), 0.01, 20, 300) for _ in x]
    whole = run_tasks(copies(x, 0.25), tasks)
    small = copies(x[4:], 0.25, range(4, 9))
    small.size = 7
    part = run_tasks(small, [ask(0.25, (0.0, 0.1, 0.2), 0.01, 20, 300) for _ in x[4:]])
    for a, b in zip(whole[4:], part, strict=True):
        assert (a.taken, a.hits, a.used, a.decided.tolist()) == (b.taken, b.hits, b.used, b.decided.tolist())
    long, short = copies(x, 0.25), copies(x, 0.25)
    votes = long.votes([(2, Wanted(ESTIMATE, 40))])
    parts = [short.votes([(2, Wanted(ESTIMATE, count))]) for count in (1, 9, 30)]
    assert np.array_equal(votes, np.concatenate(parts))
    assert not np.array_equal(votes, copies(x, 0.25, seed=1).votes([(2, Wanted(ESTIMATE, 40))]))


def test_the_network_gets_full_batches_while_there_is_work() -> None:
    sizes: list[int] = []

    def counted(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return half_space(x)

    x = images(40)
    some = Copies(counted, x, range(40), 0.25, 0)
    some.size = 64
    found = run_tasks(some, [ask(0.25, (0.0, 0.1), 0.001, 50, 1000) for _ in x])
    assert max(sizes) == 64
    assert sum(sizes) == sum(one.used for one in found)
    assert np.mean(sizes) > 50


def test_certificates_of_a_half_space_hold_and_are_tight() -> None:
    """At α = .1 at most about a tenth of the radii may exceed the exact one."""
    x, sigma, alpha = images(200), 0.25, 0.1
    found = run_tasks(copies(x, sigma), [certify(sigma, alpha, 200, 1000) for _ in x])
    classes, distance = exact(x)
    radius = np.array([one.radius for one in found])
    certified = ~np.isnan(radius)
    wrong = certified & ((radius > distance) | (np.array([one.taken for one in found]) != classes))
    assert wrong.sum() <= stats.binom.ppf(0.9999, len(x), alpha)
    far = distance > 0.1
    assert certified[far].all()
    assert np.abs(radius - distance)[far].max() < 0.06
    assert all(one.used == 1200 for one, sure in zip(found, certified, strict=True) if sure)


def test_asking_agrees_with_many_copies_wherever_it_decides() -> None:
    x, sigma, radii = images(60), 0.25, (0.0, 0.05, 0.1, 0.15)
    answers = run_tasks(copies(x, sigma), [ask(sigma, radii, 0.001, 100, 20_000) for _ in x])
    classes, distance = exact(x)
    decided = np.stack([one.decided for one in answers])
    chosen = np.array([one.taken for one in answers]) == classes
    truth = (distance[:, None] > np.array(radii)) & chosen[:, None]
    assert (truth == (decided == CERTIFIED))[decided != OPEN].all()
    assert (decided != OPEN).mean() > 0.9
    assert all(one.taken == label for one, label in zip(answers, classes, strict=True) if one.decided[0] == CERTIFIED)


def test_an_image_that_must_abstain_ends_early_and_one_that_may_not_does_not() -> None:
    some = Copies(lambda x: x.flatten(1), torch.zeros(1, 1, 1, 3), [0], 1.0, 0)
    (found,) = run_tasks(some, [certify(1.0, 0.001, 20, 2000)])
    assert np.isnan(found.radius)
    assert found.used < 2020


def test_outputs_that_are_no_numbers_are_no_class() -> None:
    some = Copies(lambda x: x.flatten(1) * torch.nan, torch.zeros(1, 1, 2, 2), [0], 1.0, 0)
    (found,) = run_tasks(some, [certify(1.0, 0.001, 20, 100)])
    assert (found.taken, found.hits) == (NO_CLASS, 0)
    assert np.isnan(found.radius)
    (answer,) = run_tasks(some, [ask(1.0, (0.0,), 0.001, 20, 100)])
    assert (answer.taken, answer.decided.tolist()) == (NO_CLASS, [REFUTED])


def test_the_smaller_class_wins_a_tie() -> None:
    assert most_frequent(np.array([3, 1, 1, 3, 2])) == 1
