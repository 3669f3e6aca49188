"""Influence: the training images that a prediction leans on."""

from app.audits.base import AuditKind, ModelStageSpec, StageSpec
from app.audits.influence.page import panels
from app.audits.influence.schema import InfluenceSummary, Params

AUDIT = AuditKind(
    name="influence",
    title="Training influence",
    description=(
        "Scores every training image for every audited image: which helped the prediction, which harmed it. "
        "Several methods side by side, and what retraining says of them."
    ),
    params=Params,
    summary=InfluenceSummary,
    model_stages=(
        ModelStageSpec("gradients", "Take gradients", 1, "app.audits.influence.gradients:gradients", ("features",)),
    ),
    stages=(
        StageSpec("attribute", "Attribute to training images", 1, "app.audits.influence.compute:attribute"),
        StageSpec("suspects", "Judge training images", 1, "app.audits.influence.suspects:suspects"),
    ),
    panels=panels,
    needs_embeddings=True,
    needs_predictions=True,
)
