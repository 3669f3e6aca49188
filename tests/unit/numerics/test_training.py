"""The built-in trainer: against scikit-learn, against torch's own schedule, and for what must not matter."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from app.numerics.attribution.outputs import margin
from app.numerics.training.augment import augmented
from app.numerics.training.average import WeightAverage
from app.numerics.training.settings import Optimiser, TrainingSettings, momentum_at, rate_at
from app.numerics.training.train import Rows, outputs, train

CPU = torch.device("cpu")


def small_rows(count: int = 40, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 6, 6, 1), generator=generator).to(torch.uint8)
    labels = torch.randint(0, 3, (count,), generator=generator)
    return rows_of(pixels, labels)


def rows_of(pixels: Tensor, labels: Tensor) -> Rows:
    return Rows(lambda places: pixels[places], labels, lambda batch: batch.float().permute(0, 3, 1, 2) / 255 - 0.5)


def fresh(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(dropout), nn.Flatten(), nn.Linear(64, 3)
        )


def trained(rows: Rows, chosen: Tensor, seed: int = 3, **changed: object) -> dict[str, Tensor]:
    settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "shift": 1, "mirror": True} | changed
    network = fresh(dropout=0.2)
    assert len(list(train(network, rows, chosen, TrainingSettings(**settings), seed, CPU))) == settings["epochs"]  # type: ignore[arg-type]
    assert not network.training
    return network.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_seed_settles_the_weights_whatever_else_draws_numbers() -> None:
    rows, chosen = small_rows(), torch.arange(0, 40, 2)
    first = trained(rows, chosen)
    torch.rand(7)
    before = torch.random.get_rng_state()
    assert same(first, trained(rows, chosen))
    assert torch.equal(before, torch.random.get_rng_state()), "the process's own numbers are left alone"
    assert not same(first, trained(rows, chosen, seed=4))


def test_a_row_that_is_not_chosen_has_no_effect_at_all() -> None:
    rows, chosen = small_rows(), torch.arange(0, 40, 2)
    pixels, labels = rows.fetch(torch.arange(40)).clone(), rows.labels.clone()
    pixels[1::2] = 255 - pixels[1::2]
    labels[1::2] = -1
    assert same(trained(rows, chosen), trained(rows_of(pixels, labels), chosen))


def test_plain_sgd_is_the_textbook_s() -> None:
    """One step on all rows of a linear network: w − rate · (gradient + decay · w), written out."""
    rows, network = small_rows(), nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    settings = TrainingSettings(1, 40, 0.3, momentum=0.0, weight_decay=0.01, schedule="constant", label_smoothing=0.1)
    loss = next(iter(train(network, rows, torch.arange(40), settings, 0, CPU)))
    x = rows.to_input(rows.fetch(torch.arange(40))).flatten(1)
    logits = x @ before[0].T + before[1]
    wanted = nn.functional.one_hot(rows.labels, 3) * 0.9 + 0.1 / 3
    error = (logits.softmax(1) - wanted) / 40
    assert loss == pytest.approx(float(-(wanted * logits.log_softmax(1)).sum(1).mean()), rel=1e-5)
    weight, bias = list(network.parameters())
    torch.testing.assert_close(weight, before[0] - 0.3 * (error.T @ x + 0.01 * before[0]))
    torch.testing.assert_close(bias, before[1] - 0.3 * (error.sum(0) + 0.01 * before[1]))


@pytest.mark.parametrize("steps", [10, 37, 200])
def test_one_cycle_is_torch_s(steps: int) -> None:
    settings = TrainingSettings(1, 1, 0.4, warmup=0.3)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.4, total_steps=steps, pct_start=0.3)
    for step in range(steps):
        assert rate_at(settings, step, steps) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        assert momentum_at(settings, step, steps) == pytest.approx(optimiser.param_groups[0]["momentum"], rel=1e-6)
        optimiser.step()
        if step < steps - 1:
            schedule.step()


def test_steps_are_torch_s_milestones() -> None:
    settings = TrainingSettings(1, 1, 0.4, schedule="step")
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [20, 30], gamma=0.1)
    for step in range(40):
        assert rate_at(settings, step, 40) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_training_is_the_loop_that_torch_s_manual_would_write(optimiser: Optimiser) -> None:
    """Batches in the same order, the same rates, clipping and decay: the same weights."""
    rows, seed = small_rows(), 11
    settings = TrainingSettings(
        3, 8, 0.02, optimiser=optimiser, weight_decay=0.01, schedule="step", clip=0.5, label_smoothing=0.05
    )
    ours, theirs = fresh(), fresh()
    losses = list(train(ours, rows, torch.arange(40), settings, seed, CPU))
    order, made = torch.Generator().manual_seed(seed), theirs.parameters()
    plain = (
        torch.optim.SGD(made, 0.02, momentum=0.9, nesterov=True, weight_decay=0.01)
        if optimiser == "sgd"
        else torch.optim.AdamW(made, 0.02, weight_decay=0.01)
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(plain, [8, 12], gamma=0.1)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    for expected in losses:
        total = 0.0
        for batch in torch.randperm(40, generator=order).split(8):  # type: ignore[no-untyped-call]
            found = loss(theirs.train()(rows.to_input(rows.fetch(batch))), rows.labels[batch])
            plain.zero_grad()
            found.backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            plain.step()
            schedule.step()
            total += found.item() * 8 / 40
        assert expected == pytest.approx(total, rel=1e-4)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_averaged_weights_are_torch_s() -> None:
    network = fresh()
    ours, theirs = WeightAverage(network, 0.05), AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.05))  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(0)
    theirs.update_parameters(network)
    for _ in range(5):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        ours.follow()
        theirs.update_parameters(network)
    ours.settle()
    for mine, other in zip(network.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_average_is_what_the_network_has_at_the_end() -> None:
    rows, chosen = small_rows(), torch.arange(40)
    plain, averaged, again = (trained(rows, chosen, average=value) for value in (0.0, 0.5, 0.5))
    assert same(averaged, again)
    assert not same(plain, averaged)
    assert (averaged["0.weight"] - plain["0.weight"]).abs().max() < 0.5
    assert averaged["1.num_batches_tracked"] == plain["1.num_batches_tracked"]


def test_half_precision_learns_as_well_and_keeps_its_weights_whole() -> None:
    rows, chosen = small_rows(), torch.arange(40)
    found: list[list[float]] = []
    for precision in ("float32", "bfloat16"):
        network, settings = fresh(), TrainingSettings(20, 8, 0.05, precision=precision)
        found.append(list(train(network, rows, chosen, settings, 1, CPU)))
        assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert found[0] != found[1]
    assert found[1][-1] == pytest.approx(found[0][-1], abs=0.05)
    assert found[1][-1] < 0.5 * found[1][0]


@pytest.mark.parametrize("steps", [1, 2, 5, 100])
def test_rates_of_every_schedule_are_positive_and_at_most_the_largest(steps: int) -> None:
    for schedule in ("constant", "cosine", "one_cycle", "step"):
        for warmup in (0.0, 0.3, 0.9):
            settings = TrainingSettings(1, 1, 0.4, schedule=schedule, warmup=warmup)
            rates = [rate_at(settings, step, steps) for step in range(steps)]
            assert all(0 <= momentum_at(settings, step, steps) < 1 for step in range(steps))
            assert all(0 < rate <= 0.4 + 1e-12 for rate in rates)


def test_augmentation_moves_and_mirrors_and_nothing_else() -> None:
    pixels = torch.arange(200 * 5 * 7 * 2).reshape(200, 5, 7, 2)
    found = augmented(pixels, 2, True, torch.Generator().manual_seed(0))
    seen = set()
    for image, moved in zip(pixels, found, strict=True):
        padded = nn.functional.pad(image.permute(2, 0, 1).float()[None], (2, 2, 2, 2), mode="replicate")[0]
        options = {
            (y, x, m): (padded[:, y : y + 5, x : x + 7].flip(2) if m else padded[:, y : y + 5, x : x + 7])
            for y in range(5) for x in range(5) for m in (False, True)
        }  # fmt: skip
        fitting = [key for key, option in options.items() if torch.equal(option.permute(1, 2, 0).long(), moved)]
        assert len(fitting) == 1
        seen.add(fitting[0])
    assert len(seen) > 40, "of 50 moves, most are met in 200 draws"


def test_no_augmentation_returns_the_pixels_themselves() -> None:
    pixels = torch.zeros(2, 3, 3, 1)
    assert augmented(pixels, 0, False, torch.Generator()) is pixels


def test_a_single_row_left_over_does_not_break_batch_norm() -> None:
    assert trained(small_rows(), torch.arange(17))["0.weight"].isfinite().all()


def test_outputs_are_margins_in_evaluation_mode() -> None:
    rows, network = small_rows(), fresh(dropout=0.5).eval()
    found = outputs(network, rows, CPU)
    with torch.no_grad():
        logits = network(rows.to_input(rows.fetch(torch.arange(40))))
    torch.testing.assert_close(found.margins, margin(logits, rows.labels))
    assert torch.equal(found.right, logits.argmax(1) == rows.labels)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="no rows"):
        trained(small_rows(), torch.arange(0))
    with pytest.raises(FloatingPointError, match="not finite after epoch 1"):
        trained(small_rows(), torch.arange(20), learning_rate=1e30, schedule="constant")


def test_a_network_with_more_than_one_output_in_training_is_named() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(36, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.head(x.flatten(1)), x

    with pytest.raises(ValueError, match="something else than one row of scores"):
        next(train(Two(), small_rows(), torch.arange(9), TrainingSettings(1, 8, 0.1), 0, CPU))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_seed_gives_the_same_weights_on_a_gpu() -> None:
    found, rows, settings = [], small_rows(), TrainingSettings(4, 8, 0.05, shift=1, mirror=True)
    for _ in range(2):
        network = fresh(dropout=0.2)
        for _ in train(network, rows, torch.arange(40), settings, 3, torch.device("cuda")):
            pass
        found.append(network.state_dict())
    assert same(*found)


def test_digits_cnn_is_as_good_as_its_peers() -> None:
    """At least 97 %, and no worse (by half a point) than scikit-learn's network and logistic regression."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    pixels = torch.from_numpy((digits.images[order] * 15).astype(np.uint8))[..., None]
    labels = torch.from_numpy(digits.target[order].astype(np.int64))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
    settings = TrainingSettings(epochs=15, batch_size=64, learning_rate=0.1, weight_decay=5e-4)
    for _ in train(network, rows_of(pixels[:1200], labels[:1200]), torch.arange(1200), settings, 0, CPU):
        pass
    accuracy = float(outputs(network, rows_of(pixels[1200:], labels[1200:]), CPU).right.float().mean())
    flat = pixels.flatten(1).numpy() / 255
    peers = [
        LogisticRegression(max_iter=300),
        MLPClassifier((64,), random_state=0, learning_rate_init=0.01, max_iter=60),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = [peer.fit(flat[:1200], labels[:1200]).score(flat[1200:], labels[1200:]) for peer in peers]
    assert accuracy >= max(*(score - 0.005 for score in scores), 0.97)


def test_noise_is_added_to_pixels_and_is_new_for_every_image_and_epoch() -> None:
    """In units of pixels from 0 to 1, whatever normalisation makes of them."""
    seen: list[Tensor] = []
    pixels, labels = torch.full((40, 6, 6, 1), 128, dtype=torch.uint8), torch.zeros(40, dtype=torch.int64)
    unit = torch.full((1, 1, 1), 4.0)
    rows = Rows(lambda places: pixels[places], labels, lambda batch: 4 * batch.float().permute(0, 3, 1, 2) / 255, unit)

    def inputs(**changed: float) -> Tensor:
        network, settings = fresh(), TrainingSettings(2, 8, 0.01, **changed)
        handle = network.register_forward_pre_hook(lambda _network, given: seen.append(given[0].clone()))
        assert len(list(train(network, rows, torch.arange(40), settings, 5, CPU))) == 2
        handle.remove()
        found = torch.cat(seen)
        seen.clear()
        return found

    noise = (inputs(noise=0.25) - 4 * 128 / 255) / 4
    assert float(noise.std()) == pytest.approx(0.25, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    assert len(torch.unique(noise.flatten(1), dim=0)) == 80
    assert torch.equal(noise, (inputs(noise=0.25) - 4 * 128 / 255) / 4)
    assert len(torch.unique(inputs())) == 1
