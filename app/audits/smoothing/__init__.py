"""Smoothing: at which radius the answer of a model is certified, when noisy copies of the image vote."""

from app.audits.base import AuditKind, ModelStageSpec, RetrainStageSpec, StageSpec
from app.audits.pixels import ALL_FORMATS
from app.audits.smoothing.budgets import networks, passes
from app.audits.smoothing.headlines import group_columns, headlines
from app.audits.smoothing.page import panels
from app.audits.smoothing.page_files import files
from app.audits.smoothing.schema import Params, SmoothingSummary

AUDIT = AuditKind(
    name="smoothing",
    title="Randomised smoothing",
    description=(
        "Lets many noisy copies of an image vote and proves, from the share of the winning class, how far the pixels "
        "may change without changing the answer: a radius for each image, for any model that predicts."
    ),
    params=Params,
    summary=SmoothingSummary,
    model_stages=(
        ModelStageSpec(
            "smooth",
            "Vote on noisy copies",
            1,
            "app.audits.smoothing.measure:measure",
            params=("sigmas", "radii", "alpha", "budget"),
            formats=ALL_FORMATS,
            reads="pixels",
            shard_rows=256,
            slow=True,
        ),
    ),
    stages=(
        StageSpec("plan", "Choose copies to train", 1, "app.audits.smoothing.copies:plan"),
        RetrainStageSpec(
            "copy",
            "Train copies with noise",
            1,
            plan="plan",
            switch="train_copy",
            measure="app.audits.smoothing.measure:measure_copy",
            params=("radii", "alpha", "budget"),
        ),
        StageSpec(
            "summarise",
            "Sum up certificates",
            1,
            "app.audits.smoothing.summarise:summarise",
            needs=("plan", "copy"),
        ),
    ),
    by_default=False,
    reads_sentences=False,
    panels=panels,
    files=files,
    headlines=headlines,
    group_columns=group_columns,
    needs_embeddings=False,
    needs_predictions=True,
    passes=passes,
    networks=networks,
)
