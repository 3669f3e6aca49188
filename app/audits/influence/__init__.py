"""Influence: the training images that a prediction leans on."""

from app.audits.base import Action, AuditKind, RetrainStageSpec, StageSpec
from app.audits.gradients import CURVATURE, GRADIENTS
from app.audits.influence.compare_schema import ComparePayload
from app.audits.influence.group_schema import GroupPayload
from app.audits.influence.page import answer, panels
from app.audits.influence.page_files import run_files
from app.audits.influence.page_lists import training_lists
from app.audits.influence.schema import InfluenceSummary, Params, networks

AUDIT = AuditKind(
    name="influence",
    title="Training influence",
    description=(
        "Scores every training image for every audited image: which helped the prediction, which harmed it. "
        "Several methods side by side, and what retraining says of them."
    ),
    params=Params,
    summary=InfluenceSummary,
    model_stages=(GRADIENTS, CURVATURE),
    stages=(
        StageSpec("plan", "Choose random halves", 1, "app.audits.influence.subsets:plan"),
        RetrainStageSpec("retrain", "Retrain on random halves", 1, plan="plan", switch="retrain"),
        StageSpec(
            "attribute",
            "Attribute to training images",
            6,
            "app.audits.influence.compute:attribute",
            needs=("plan", "retrain"),
        ),
        StageSpec(
            "prove",
            "Compare with retraining",
            2,
            "app.audits.influence.proof:prove",
            needs=("plan", "retrain", "attribute"),
        ),
        StageSpec("choose", "Choose removals", 2, "app.audits.influence.removal:choose", needs=("attribute",)),
        RetrainStageSpec("without", "Retrain without them", 1, plan="choose", switch="counterfactuals"),
        StageSpec(
            "flip",
            "Count flipped predictions",
            1,
            "app.audits.influence.removal:flip",
            needs=("prove", "choose", "without"),
        ),
        StageSpec(
            "effects",
            "Find what acts together",
            2,
            "app.audits.influence.effects:effects",
            needs=("plan", "retrain", "attribute", "prove"),
        ),
        StageSpec(
            "suspects", "Judge training images", 4, "app.audits.influence.suspects:suspects", needs=("attribute",)
        ),
    ),
    actions=(
        Action(
            "behind_slice",
            "Training images behind a slice",
            GroupPayload,
            "app.audits.influence.group:behind_slice",
            spends_confirm_rows=False,
        ),
        Action(
            "compare",
            "Compare with another run",
            ComparePayload,
            "app.audits.influence.compare:compare",
            spends_confirm_rows=False,
            other_run=True,
        ),
    ),
    by_default=False,
    reads_sentences=False,
    panels=panels,
    training_lists=training_lists,
    networks=networks,
    files=run_files,
    answer=answer,
    needs_embeddings=True,
    needs_predictions=True,
)
