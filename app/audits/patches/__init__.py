"""Patches: which predictions no sticker on the image can turn, by defences that prove it."""

from app.audits.base import AuditKind, ModelStageSpec, StageSpec
from app.audits.patches.budgets import passes
from app.audits.patches.headlines import group_columns, headlines
from app.audits.patches.page import panels
from app.audits.patches.page_files import files
from app.audits.patches.schema import Params, PatchesSummary, unfit
from app.audits.pixels import ALL_FORMATS

AUDIT = AuditKind(
    name="patches",
    title="Patch certificates",
    description=(
        "Defends the model against a square patch anywhere on the image, by masking or by votes of pieces, and counts "
        "the images of which it is proven that no patch of that size turns the defended prediction."
    ),
    params=Params,
    summary=PatchesSummary,
    model_stages=(
        ModelStageSpec(
            "certify",
            "Certify against patches",
            2,
            "app.audits.patches.measure:measure",
            params=("sizes", "methods", "budget", "band", "stride", "threshold", "fill"),
            formats=ALL_FORMATS,
            reads="pixels",
            shard_rows=128,
            slow=True,
        ),
    ),
    stages=(StageSpec("summarise", "Sum up patch certificates", 1, "app.audits.patches.summarise:summarise"),),
    by_default=False,
    reads_sentences=False,
    panels=panels,
    files=files,
    headlines=headlines,
    group_columns=group_columns,
    needs_embeddings=False,
    needs_predictions=True,
    passes=passes,
    unfit=unfit,
)
