"""Where the model's score would stand among the published ones. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from app.audits.attacks.boards import IMAGES, TITLES, Board, boards, known_as, same
from app.audits.attacks.budgets import EFFORTS
from app.audits.attacks.schema import AttacksSummary, Level
from app.audits.attacks.words import NORMS

ABOVE, BELOW = 3, 3


class StandingRow(BaseModel):
    """A published model, or this one."""

    place: int
    model: str
    architecture: str = ""
    clean: float
    robust: float
    href: str = Field("", description="Address of the paper; empty for the model of the run.")
    ours: bool = False


class Standing(BaseModel):
    """The model among the published rows of its data set."""

    place: str = Field("", description="In a sentence; empty where this ε has no published rows.")
    rows: list[StandingRow] = Field([], description="The best, those around the model's place, and the model.")
    notes: list[str] = Field(description="What stands against the comparison, or what would make one possible.")


def standing(summary: AttacksSummary, classes: Sequence[str]) -> Standing | None:
    """Compare the run with the published rows at the same ε; none where the classes are no data set with rows."""
    found = [board for board in boards() if board.data_set == known_as(classes)]
    if not found or summary.clean is None:
        return None
    for board in found:
        for level in summary.levels:
            if same(board, summary.norm, level.text):
                return _placed(board, level, summary)
    at = " and ".join(f"{NORMS[board.norm]} ε = {board.epsilon}" for board in found)
    title = TITLES[found[0].data_set]
    return Standing(notes=[f"The classes are {title}’s, whose published rows are at {at}: ask for that ε to compare."])


def place(board: Board, robust: float) -> int:
    """1 for a share that no published row exceeds."""
    return 1 + sum(row.robust > robust for row in board.rows)


def _placed(board: Board, level: Level, summary: AttacksSummary) -> Standing:
    title, n = TITLES[board.data_set], len(board.rows)
    here, share = place(board, level.robust.value), level.robust
    best, worst = (place(board, end if end is not None else share.value) for end in (share.high, share.low))
    between = f", from {best} to {worst} over its interval" if best != worst else ""
    return Standing(
        place=f"At {NORMS[board.norm]} ε = {board.epsilon}, {100 * share.value:.1f} % under attack would stand at "
        f"place {here} of {n + 1} among RobustBench’s {n} rows for {title}{between}.",
        rows=_rows(board, here, level, summary),
        notes=_notes(board, summary),
    )


def _rows(board: Board, here: int, level: Level, summary: AttacksSummary) -> list[StandingRow]:
    assert summary.clean is not None
    lines = [
        StandingRow(
            place=number + (number >= here), model=row.model, architecture=row.architecture, clean=row.clean,
            robust=row.robust, href=row.source,
        )
        for number, row in enumerate(board.rows, 1)
    ]  # fmt: skip
    ours = StandingRow(place=here, model="This model", clean=summary.clean.value, robust=level.robust.value, ours=True)
    lines.insert(here - 1, ours)
    return [line for line in lines if line.place == 1 or here - ABOVE <= line.place <= here + BELOW]


def _notes(board: Board, summary: AttacksSummary) -> list[str]:
    images = f"Published rows: AutoAttack on {IMAGES[board.data_set]:,} test images of {TITLES[board.data_set]}, and "
    found = [
        images + f"the best attack known since; here {summary.rows:,} images of this run’s split, which are known only "
        "by the names of their classes. Images that the model was trained on would flatter it."
    ]
    if summary.no_gradients:
        found.append("Only the attack without gradients ran here, so that the place is an upper bound.")
    elif summary.budget == "quick":
        found.append(f"The budget “quick” leaves out {EFFORTS['quick'].leaves_out}, and the place no better.")
    if any(not sign.ok for sign in summary.signs):
        found.append("Signs speak against the share itself (“Can it be believed?”), and so against the place.")
    found.append("Many defences that were published above 50 % fell below 2 % under a better attack.")
    return found
