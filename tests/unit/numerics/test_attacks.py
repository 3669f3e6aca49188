"""Adversarial attacks against closed forms, exhaustive search and the region's own bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from app.numerics.attacks.apgd import apgd_cross_entropy, apgd_targeted, checkpoints
from app.numerics.attacks.ensemble import UNBROKEN, WRONG, Attack, Verdict, black_box, ensemble, standard
from app.numerics.attacks.fab import fab_targeted, nearest_adversarial
from app.numerics.attacks.hyperplane import to_hyperplane
from app.numerics.attacks.losses import margin, nearest_classes, targeted_dlr, towards
from app.numerics.attacks.pgd import pgd
from app.numerics.attacks.problem import Found, Network, Problem
from app.numerics.attacks.region import Ball, Norm, Region
from app.numerics.attacks.square import square, square_share

SHAPE = (1, 3, 4)
NORMS: tuple[Norm, ...] = ("Linf", "L2")


class Linear(nn.Module):
    """Logits that are linear in the pixels."""

    def __init__(self, classes: int, seed: int = 0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(classes, math.prod(SHAPE), generator=draw)
        self.bias = torch.randn(classes, generator=draw) * 0.2

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - 0.5) @ self.weight.T + self.bias


def nearest_boundary(network: Linear, images: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    """The closed form: of all other classes, the least difference of logits by the dual norm of its gradient."""
    logits, dual = network(images), 1 if norm == "Linf" else 2
    gaps = logits.gather(1, labels[:, None]) - logits
    sizes = (network.weight[labels][:, None] - network.weight).norm(p=dual, dim=2)
    return (gaps / sizes).scatter(1, labels[:, None], torch.inf).amin(1)


def points(network: Network, count: int = 30, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images far from black and white, and what the network says of them."""
    images = 0.35 + 0.3 * torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return images, network(images).argmax(1)


def small_net(classes: int, seed: int = 2) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), 24), nn.ReLU(), nn.Linear(24, classes))
    with torch.no_grad():
        net[1].weight.mul_(4)
        net[1].bias.copy_(-net[1].weight.sum(1) / 2)
        net[3].bias.zero_()
    return net.requires_grad_(False)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_every_attack_with_gradients_breaks_a_linear_network_exactly_where_it_can(norm: Norm, classes: int) -> None:
    network = Linear(classes)
    images, labels = points(network)
    least = nearest_boundary(network, images, labels, norm)
    radius = float(least.median())
    keys = torch.arange(len(images))
    problem = Problem.of(network, images, labels, Ball(norm, radius), keys, 0)
    possible, clear = least < radius, (least / radius - 1).abs() > 0.02
    for attack in (pgd, apgd_cross_entropy, apgd_targeted, fab_targeted):
        found = attack(problem, steps=40)
        assert not bool((found.broken & ~possible).any())
        if classes == 2 or attack in (apgd_targeted, fab_targeted):  # cross-entropy mixes the other classes' gradients
            assert bool((found.broken == possible)[clear].all()), attack.__name__
        judged = margin(network(found.images), labels)[found.broken]
        assert torch.allclose(found.margin[found.broken], judged, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 4])
def test_fab_finds_the_distance_of_the_nearest_boundary(norm: Norm, classes: int) -> None:
    network = Linear(classes)
    images, labels = points(network)
    problem = Problem.of(network, images, labels, Ball(norm, 0.01), torch.arange(len(images)), 0)
    found = nearest_adversarial(problem)
    least = nearest_boundary(network, images, labels, norm).double()
    assert bool((found.distance >= least * (1 - 1e-4)).all())
    assert bool((found.distance <= least * 1.02 + 1e-5).all())
    assert bool((network(found.images).argmax(1) != labels).all())


@pytest.mark.parametrize("norm", NORMS)
def test_square_alone_breaks_most_of_what_can_be_broken(norm: Norm) -> None:
    network = Linear(3)
    images, labels = points(network)
    least = nearest_boundary(network, images, labels, norm)
    radius = float(least.median())
    found = square(Problem.of(network, images, labels, Ball(norm, radius), torch.arange(30), 0), queries=400)
    assert not bool((found.broken & (least >= radius)).any())
    easy = least < radius * (0.9 if norm == "Linf" else 0.7)
    assert easy.sum() >= 5
    assert bool(found.broken[easy].all())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_ensemble_breaks_all_that_exhaustive_search_breaks(norm: Norm, classes: int) -> None:
    torch.manual_seed(classes)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, classes))
    with torch.no_grad():
        net[1].weight.mul_(8)
        net[1].bias.copy_(-net[1].weight.sum(1) / 2)
    net.requires_grad_(False)
    images = torch.rand(24, 1, 1, 2)
    labels, radius = net(images).argmax(1), 0.08
    steps = torch.linspace(-radius, radius, 161)
    grid = torch.cartesian_prod(steps, steps)
    if norm == "L2":
        grid = grid[grid.norm(dim=1) <= radius]
    exhaustive = torch.stack(
        [
            (net((image.view(1, 2) + grid).clamp(0, 1)).argmax(1) != y).any()
            for image, y in zip(images, labels, strict=True)
        ]
    )
    verdict = ensemble(net, images, labels, Ball(norm, radius), standard(steps=30, queries=100))
    broken = verdict.broken_by >= 0
    assert 0 < int(exhaustive.sum()) < 24
    assert not bool((exhaustive & ~broken).any())
    assert int((broken & ~exhaustive).sum()) <= 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [1e-3, 0.03137255, 0.3, 2.0])
def test_nothing_leaves_the_ball_or_the_range_of_pixels(norm: Norm, radius: float) -> None:
    net, draw = small_net(4), torch.Generator().manual_seed(3)
    images = torch.rand(16, *SHAPE, generator=draw)
    images[:8] = images[:8].round()
    problem = Problem.of(net, images, net(images).argmax(1), Ball(norm, radius), torch.arange(16), 0)
    for attack in (pgd, apgd_cross_entropy, apgd_targeted, fab_targeted, square):
        settings = {"queries": 60} if attack is square else {"steps": 12}
        found: Found = attack(problem, **settings)  # type: ignore[operator]
        change = (found.images.double() - images.double()).flatten(1)
        size = change.abs().amax(1) if norm == "Linf" else change.norm(dim=1)
        assert float(size.max()) <= radius
        assert float(found.images.min()) >= 0
        assert float(found.images.max()) <= 1


def test_projection_keeps_what_is_inside_and_is_exact_at_the_rim() -> None:
    images = torch.rand(50, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    far = images + torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    for norm, radius in (("Linf", 8 / 255), ("L2", 0.5)):
        region = Region.around(images, Ball(norm, radius))  # type: ignore[arg-type]
        inside = region.project(far)
        assert float(region.distance(inside).max()) <= radius
        assert torch.allclose(region.project(inside), inside, atol=1e-6)
        assert float(region.distance(inside).min()) > 0.8 * radius
    with pytest.raises(ValueError, match="positive"):
        Region.around(images, Ball("L2", 0.0))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Region.around(images * 255, Ball("L2", 1.0))


@pytest.mark.parametrize("norm", NORMS)
def test_what_happens_to_an_example_does_not_depend_on_its_batch(norm: Norm) -> None:
    net = small_net(3).double()
    images, _ = points(lambda x: net(x.double()), 20)
    images = images.double()
    labels, ball, attacks = net(images).argmax(1), Ball(norm, 0.05), standard(steps=15, queries=60)

    def run(rows: Tensor, size: int) -> Verdict:
        return ensemble(net, images[rows], labels[rows], ball, attacks, keys=rows, seed=5, batch_size=size)

    whole, turned = run(torch.arange(20), 128), run(torch.arange(19, -1, -1), 7)
    single = run(torch.arange(4), 1)
    assert 0 < int((whole.broken_by >= 0).sum()) < 20
    for other in (single, Verdict(*(part.flip(0) for part in vars(turned).values()))):
        same = len(other.taken)
        assert torch.equal(whole.broken_by[:same], other.broken_by)
        assert torch.allclose(whole.images[:same], other.images, atol=1e-9)
    again = ensemble(net, images, labels, ball, attacks, seed=6)
    assert not torch.allclose(whole.images, again.images)


@pytest.mark.parametrize("classes", [2, 3])
def test_two_and_three_classes_are_attacked_by_all_four(classes: int) -> None:
    net = small_net(classes)
    images, labels = points(net, 24)
    attacks = standard(steps=30, queries=150)
    problem = Problem.of(net, images, labels, Ball("Linf", 0.06), torch.arange(24), 0)
    for attack in attacks:
        found = attack.run(problem)
        assert int(found.broken.sum()) > 0, attack.name
    verdict = ensemble(net, images, labels, Ball("Linf", 0.06), attacks)
    assert torch.equal(verdict.taken, net(verdict.images).argmax(1))
    assert torch.equal(verdict.broken_by >= 0, verdict.taken != labels)


def test_wrong_images_are_left_alone_and_later_attacks_get_the_survivors() -> None:
    net = small_net(4)
    images, labels = points(net, 24)
    labels = labels.clone()
    labels[::4] = (labels[::4] + 1) % 4
    seen: list[Tensor] = []
    attacks = [
        type(attack)(attack.name, lambda p, run=attack.run: (seen.append(p.keys), run(p))[1])  # type: ignore[misc]
        for attack in standard(steps=15, queries=40)
    ]
    verdict = ensemble(net, images, labels, Ball("L2", 0.2), attacks)
    assert verdict.broken_by[::4].tolist() == [WRONG] * 6
    assert torch.equal(verdict.images[::4], images[::4])
    assert seen[0].tolist() == [i for i in range(24) if i % 4]
    for place, keys in enumerate(seen[1:], 1):
        left = (verdict.broken_by == UNBROKEN) | (verdict.broken_by >= place)
        assert keys.tolist() == left.nonzero()[:, 0].tolist()


def test_square_needs_no_gradients() -> None:
    net = small_net(3)

    def without(x: Tensor) -> Tensor:
        return torch.from_numpy(net(x).numpy().round(3))

    images, labels = points(without, 20)
    verdict = ensemble(without, images, labels, Ball("Linf", 0.1), black_box(queries=300))
    assert int((verdict.broken_by == 0).sum()) >= 5


def test_an_attack_on_a_flat_network_breaks_nothing_and_does_not_fail() -> None:
    def flat(x: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0, -1.0]]).expand(len(x), 3)

    images = torch.rand(4, *SHAPE)
    verdict = ensemble(flat, images, torch.zeros(4).long(), Ball("L2", 1.0), standard(steps=5, queries=10))
    assert verdict.broken_by.tolist() == [UNBROKEN] * 4
    assert verdict.margin.tolist() == [1.0] * 4


def test_later_attacks_are_not_run_when_nothing_is_left() -> None:
    net = small_net(3)
    images, labels = points(net, 6)

    def fails(_problem: Problem) -> Found:
        raise AssertionError("nothing is left for it")

    attacks = (*standard(steps=10, queries=0), Attack("none", fails))
    verdict = ensemble(net, images, labels, Ball("Linf", 0.9), attacks)
    assert bool((verdict.broken_by >= 0).all())


def test_an_ensemble_refuses_a_network_of_one_class() -> None:
    with pytest.raises(ValueError, match="two classes"):
        ensemble(lambda x: x.flatten(1)[:, :1], torch.rand(2, *SHAPE), torch.zeros(2).long(), Ball("L2", 1.0), [])


@pytest.mark.parametrize("norm", NORMS)
def test_the_way_to_a_hyperplane_is_the_shortest_in_the_box(norm: Norm) -> None:
    """Against projection by bisection on the multiplier, and where the box does not reach the plane."""
    draw = torch.Generator().manual_seed(4)
    x, normal = torch.rand(40, 9, generator=draw).double(), torch.randn(40, 9, generator=draw).double()
    offset = (normal * torch.rand(40, 9, generator=draw)).sum(1)
    change = to_hyperplane(x, normal, offset, norm)
    assert torch.allclose((normal * (x + change)).sum(1), offset, atol=1e-6)
    assert float((x + change).min()) >= 0
    assert float((x + change).max()) <= 1
    size = change.abs().amax(1) if norm == "Linf" else change.norm(dim=1)
    lack = offset - (normal * x).sum(1)
    low, high = torch.zeros(40).double(), torch.full((40,), 50.0).double()
    for _ in range(80):
        middle = (low + high) / 2
        speed = torch.sign(normal) if norm == "Linf" else normal
        reach = (x + middle[:, None] * speed * lack.sign()[:, None]).clamp(0, 1) - x
        enough = (normal * reach).sum(1).abs() >= lack.abs()
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    speed = torch.sign(normal) if norm == "Linf" else normal
    reach = (x + high[:, None] * speed * lack.sign()[:, None]).clamp(0, 1) - x
    expected = reach.abs().amax(1) if norm == "Linf" else reach.norm(dim=1)
    assert torch.allclose(size, expected, atol=1e-6)
    far = to_hyperplane(x, normal, offset + 1000, norm)
    assert torch.allclose(x + far, (normal > 0).double())


def test_losses_are_those_of_the_paper() -> None:
    logits = torch.tensor([[5.0, 3.0, 1.0, 0.0, -2.0], [0.0, 1.0, 2.0, 4.0, 3.0]])
    labels, targets = torch.tensor([0, 4]), torch.tensor([2, 1])
    assert margin(logits, labels).tolist() == [2.0, -1.0]
    expected = [(1 - 5) / (5 - (1 + 0) / 2), (1 - 3) / (4 - (2 + 1) / 2)]
    assert targeted_dlr(logits, labels, targets).tolist() == pytest.approx(expected)
    assert torch.equal(targeted_dlr(logits[:, :3], labels * 0, targets), towards(logits[:, :3], labels * 0, targets))
    assert nearest_classes(logits, labels, 2).tolist() == [[1, 2], [3, 2]]
    assert nearest_classes(logits[:, :2], labels * 0, 9).tolist() == [[1], [1]]


def test_the_step_is_looked_at_and_squares_shrink_as_published() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    shares = [square_share(query, 5000, 0.8) for query in (1, 6, 26, 101, 251, 501, 1001, 2001, 3001, 4001)]
    assert shares == [0.8 / 2**i for i in range(10)]


@pytest.mark.parametrize("attack", [pgd, apgd_cross_entropy, apgd_targeted, fab_targeted])
def test_further_starts_only_add_to_what_is_broken(attack: Callable[..., Found]) -> None:
    net = small_net(4)
    images, labels = points(net, 20)
    problem = Problem.of(net, images, labels, Ball("Linf", 0.02), torch.arange(20), 0)
    once, again = attack(problem, steps=4), attack(problem, steps=4, restarts=3)
    assert bool((again.broken | ~once.broken).all())
    assert bool((again.margin <= once.margin).all())
    if attack in (pgd, apgd_cross_entropy):  # the others find the same end again, or know no margin of what withstands
        assert bool((again.margin < once.margin)[~once.broken].any())


def test_progress_rises_to_one() -> None:
    net, told = small_net(4), list[float]()
    images, labels = points(net, 20)
    ensemble(net, images, labels, Ball("Linf", 0.02), standard(steps=3, queries=5), batch_size=6, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1, abs=0.1)
