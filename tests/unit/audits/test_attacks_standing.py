"""The model's place among published rows."""

from __future__ import annotations

import numpy as np
import pytest

from app.audits.attacks.boards import _text, boards, known_as, same
from app.audits.attacks.schema import AttacksSummary, Level, Sign
from app.audits.attacks.standing import place, standing
from app.audits.drawn import share

CIFAR10 = ["truck", "Airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship"]
CIFAR100 = _text("cifar100.txt").split()


def summary(right: int, n: int = 200, epsilon: str = "8/255", **given: object) -> AttacksSummary:
    outcome = np.arange(n) < right
    level = Level(text=epsilon, radius=8 / 255, robust=share(outcome), broken_by={})
    clean = share(np.arange(n) < (right + n) // 2)
    return AttacksSummary.model_validate({"levels": [level], "clean": clean, "rows": n, **given})


def test_rows_are_those_of_the_leaderboard() -> None:
    counts = {(board.data_set, board.norm, board.epsilon): len(board.rows) for board in boards()}
    assert counts == {
        ("cifar10", "Linf", "8/255"): 99,
        ("cifar10", "L2", "0.5"): 21,
        ("cifar100", "Linf", "8/255"): 38,
        ("imagenet", "Linf", "4/255"): 30,
    }
    best = boards()[0].rows[0]
    assert (best.model, best.clean, best.robust) == ("Bartoldson 2024", 0.9368, 0.7371)
    for board in boards():
        assert [row.robust for row in board.rows] == sorted((row.robust for row in board.rows), reverse=True)
        assert all(0 <= row.robust <= row.clean <= 1 and row.source.startswith("https://") for row in board.rows)


@pytest.mark.parametrize(
    ("classes", "key"),
    [
        (CIFAR10, "cifar10"),
        ([*CIFAR10[:9], "boat"], "cifar10"),
        ([*CIFAR10[:9], "lorry"], ""),
        (CIFAR10[:9], ""),
        ([name.replace("_", " ").title() for name in reversed(CIFAR100)], "cifar100"),
        ([f"n{number:08d}" for number in range(1000)], "imagenet"),
        (["tench, Tinca tinca", *(f"class {number}" for number in range(999))], "imagenet"),
        ([str(number) for number in range(10)], ""),
        ([], ""),
    ],
)
def test_data_sets_are_known_by_the_names_of_their_classes(classes: list[str], key: str) -> None:
    assert known_as(classes) == key


def test_hundred_class_names_are_hundred() -> None:
    assert len(set(CIFAR100)) == len(CIFAR100) == 100


def test_place_counts_the_published_rows_above() -> None:
    board = boards()[0]
    assert place(board, 0.99) == 1
    assert place(board, 0.7371) == 1
    assert place(board, 0.0) == 1 + sum(row.robust > 0 for row in board.rows)
    assert same(board, "Linf", "0.031372549")
    assert not same(board, "Linf", "0.031")
    assert not same(board, "L2", "8/255")


def test_the_place_is_said_with_its_range_and_shown_among_its_neighbours() -> None:
    found = standing(summary(110), CIFAR10)
    assert found is not None
    low, high = share(np.arange(200) < 110).low, share(np.arange(200) < 110).high
    rows = boards()[0].rows
    ends = [1 + sum(row.robust > end for row in rows) for end in (high, 0.55, low)]
    assert f"55.0 % under attack would stand at place {ends[1]} of 100 among RobustBench’s 99 rows" in found.place
    assert f"from {ends[0]} to {ends[2]} over its interval" in found.place
    assert [row.place for row in found.rows] == [1, *range(ends[1] - 3, ends[1] + 4)]
    ours = next(row for row in found.rows if row.ours)
    assert (ours.place, ours.robust) == (ends[1], 0.55)
    above, below = found.rows[3], found.rows[5]
    assert above.robust > 0.55 >= below.robust


@pytest.mark.parametrize(("right", "expected"), [(200, 1), (0, 98)])
def test_the_best_and_the_worst_have_a_place(right: int, expected: int) -> None:
    found = standing(summary(right), CIFAR10)
    assert found is not None
    assert next(row for row in found.rows if row.ours).place == expected
    assert len({row.place for row in found.rows}) == len(found.rows)


def test_what_stands_against_the_comparison_is_said() -> None:
    def notes(**given: object) -> str:
        found = standing(summary(110, **given), CIFAR10)
        assert found is not None
        return " ".join(found.notes)

    assert "AutoAttack on 10,000 test images of CIFAR-10" in notes()
    assert "here 200 images of this run’s split" in notes()
    assert "“quick” leaves out targeted FAB" in notes()
    assert "leaves out" not in notes(budget="standard")
    assert "an upper bound" in notes(no_gradients="TorchScript gives none.")
    assert "Signs speak against" in notes(signs=[Sign(ok=False, title="Random outputs", text="")])


def test_another_radius_is_told_which_one_could_be_compared() -> None:
    found = standing(summary(110, epsilon="2/255"), CIFAR10)
    assert found is not None
    assert (found.place, found.rows) == ("", [])
    assert "L∞ ε = 8/255 and L2 ε = 0.5: ask for that ε" in found.notes[0]


def test_other_data_sets_are_not_compared() -> None:
    assert standing(summary(110), ["cat", "dog"]) is None
