"""Shift: a second set of images of the same classes, how it differs, and what that does to accuracy."""

from app.audits.base import AuditKind, StageSpec
from app.audits.shift.headlines import group_columns, headlines
from app.audits.shift.page import panels
from app.audits.shift.page_files import files
from app.audits.shift.schema import Params, ShiftSummary

AUDIT = AuditKind(
    name="shift",
    title="Shift to a second data set",
    description=(
        "Compares the audited images with a second set of the same classes: how accuracy changes, which slices moved, "
        "whether the images or the classes' shares changed, and what accuracy to expect where labels are missing."
    ),
    params=Params,
    summary=ShiftSummary,
    stages=(
        StageSpec("accuracy", "Compare accuracies", 2, "app.audits.shift.accuracy:compare"),
        StageSpec(
            "groups", "Compare slices and columns", 1, "app.audits.shift.groups:compare", reads=("slices:slices",)
        ),
        StageSpec("space", "Compare embeddings", 2, "app.audits.shift.space:compare"),
    ),
    by_default=False,
    reads_sentences=False,
    panels=panels,
    files=files,
    headlines=headlines,
    group_columns=group_columns,
    needs_embeddings=False,
    wants_embeddings=True,
    needs_predictions=True,
    second_set="second",
)
