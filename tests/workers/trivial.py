"""A small audit kind: counts errors, calls the wrong rows of each class a finding, answers one question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from app.audits.base import (
    Action,
    ActionResult,
    AuditKind,
    FindingDraft,
    Inputs,
    Panel,
    Result,
    RunReader,
    ScoreColumn,
    StageSpec,
    Subject,
)

HERE = "tests.workers.trivial"


class Params(BaseModel):
    """One knob."""

    least: int = 1


class Summary(BaseModel):
    """Counts."""

    errors: int
    n: int
    doubled: int = 0


class Ask(BaseModel):
    """Which class."""

    class_index: int


def count(inputs: Inputs) -> Result:
    """Count the errors of each class."""
    labels, logits = inputs.audited.manifest["label"].to_numpy(), inputs.audited.logits
    assert logits is not None
    wrong = (np.asarray(logits).argmax(1) != labels) & (labels >= 0)
    inputs.progress(0.5, "half")
    findings = [
        FindingDraft(
            "slice", f"class-{c}", "trivial", f"errors of {name}", "confirmed",
            {"n": int(wrong[labels == c].sum()), "share": np.float32(0.5)}, c, rank=c,
            rows=np.flatnonzero(wrong & (labels == c)),
        )
        for c, name in enumerate(inputs.classes)
        if wrong[labels == c].sum() >= inputs.params.least
    ]  # fmt: skip
    role = np.where(np.arange(len(labels)) % 2, "confirm", "fit")
    return Result(
        summary={"errors": int(wrong.sum()), "n": len(labels)},
        scores=[ScoreColumn("role", role, "even rows fit"), ScoreColumn("margin", wrong * 1.0, "wrong or not")],
        details={"wrong": wrong},
        tables={"labels": pa.table({"label": labels})},
        findings=findings,
    )


def double(inputs: Inputs) -> Result:
    """Read the earlier stage's result."""
    wrong = np.load(inputs.earlier["count"] / "wrong.npy")
    return Result(summary={"doubled": 2 * int(wrong.sum())})


def ask(inputs: Inputs, payload: Ask) -> ActionResult:
    """Answer with the class's errors; the p-value is made up but fixed."""
    if payload.class_index < 0:
        raise ValueError("There is no class −1.")
    wrong = np.load(inputs.earlier["count"] / "wrong.npy")
    labels = inputs.audited.manifest["label"].to_numpy()
    return ActionResult({"errors": int(wrong[labels == payload.class_index].sum())}, p_value=0.01)


def panels(subject: Subject, reader: RunReader) -> Sequence[Panel]:
    """Show nothing."""
    return []


AUDIT = AuditKind(
    name="trivial",
    title="Trivial",
    description="Counts.",
    params=Params,
    summary=Summary,
    stages=(
        StageSpec("count", "Count", 1, f"{HERE}:count"),
        StageSpec("double", "Double", 1, f"{HERE}:double", ("count",)),
    ),
    panels=panels,
    actions=(Action("ask", "Ask", Ask, f"{HERE}:ask"),),
)
