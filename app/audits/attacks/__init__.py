"""Attacks: how little an image must change for the model to be wrong, and how far that figure can be trusted."""

from app.audits.attacks.budgets import passes
from app.audits.attacks.headlines import group_columns, headlines
from app.audits.attacks.page import panels
from app.audits.attacks.page_files import files
from app.audits.attacks.schema import AttacksSummary, Params, unfit
from app.audits.base import AuditKind, ModelStageSpec, StageSpec
from app.audits.pixels import ALL_FORMATS

AUDIT = AuditKind(
    name="attacks",
    title="Adversarial attacks",
    description=(
        "Changes the pixels of audited images within a small distance until the model is wrong, with gradients and "
        "without: how many images withstand every attack, for which classes and slices, and whether to believe it."
    ),
    params=Params,
    summary=AttacksSummary,
    model_stages=(
        ModelStageSpec(
            "attack",
            "Attack images",
            3,
            "app.audits.attacks.measure:measure",
            params=("norm", "radii", "budget"),
            formats=ALL_FORMATS,
            reads="pixels",
            shard_rows=64,
            slow=True,
        ),
    ),
    stages=(StageSpec("summarise", "Sum up attacks", 2, "app.audits.attacks.summarise:summarise"),),
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
