"""Corruptions: how accuracy falls under noise, blur, weather and digital processing, and on which images."""

from app.audits.base import AuditKind, ModelStageSpec, StageSpec
from app.audits.corruptions.headlines import group_columns, headlines
from app.audits.corruptions.page import panels
from app.audits.corruptions.page_files import files
from app.audits.corruptions.schema import CorruptionsSummary, Params, passes, unfit
from app.audits.pixels import ALL_FORMATS

AUDIT = AuditKind(
    name="corruptions",
    title="Common corruptions",
    description=(
        "Corrupts audited images in nineteen ways at five severities, with the parameters of ImageNet-C or CIFAR-C, "
        "and asks the model again: where accuracy falls, for which classes and groups, and on which images."
    ),
    params=Params,
    summary=CorruptionsSummary,
    model_stages=(
        ModelStageSpec(
            "measure",
            "Corrupt and predict",
            1,
            "app.audits.corruptions.measure:measure",
            params=("family", "kinds", "severities", "budget"),
            formats=ALL_FORMATS,
            reads="pixels",
        ),
    ),
    stages=(StageSpec("summarise", "Sum up corruptions", 1, "app.audits.corruptions.summarise:summarise"),),
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
