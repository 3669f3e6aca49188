"""Datamodels: what many networks, each trained on a random part of the data, say of every training image."""

from dataclasses import replace

from app.audits.base import AuditKind, RetrainStageSpec, StageSpec
from app.audits.datamodels.page import panels
from app.audits.datamodels.page_lists import training_lists
from app.audits.datamodels.schema import DatamodelsSummary, Params, networks
from app.audits.gradients import GRADIENTS

AUDIT = AuditKind(
    name="datamodels",
    title="Datamodels",
    description=(
        "Trains many networks on random parts of the training split and reads from them which images a prediction "
        "needs, which images are memorised, and what an image is worth. Needs a model version with a training recipe."
    ),
    params=Params,
    summary=DatamodelsSummary,
    model_stages=(replace(GRADIENTS, switch="retrain"),),
    stages=(
        StageSpec("plan", "Choose random subsets", 2, "app.audits.datamodels.subsets:plan"),
        RetrainStageSpec("retrain", "Retrain on random subsets", 1, plan="plan", switch="retrain"),
        StageSpec("fit", "Fit datamodels", 2, "app.audits.datamodels.fit:fit", needs=("plan", "retrain")),
        StageSpec("choose", "Choose removals", 1, "app.audits.datamodels.removal:choose", needs=("fit",)),
        RetrainStageSpec("without", "Retrain without them", 1, plan="choose", switch="counterfactuals"),
        StageSpec(
            "prove",
            "Compare with predicted counterfactuals",
            1,
            "app.audits.datamodels.proof:prove",
            needs=("fit", "choose", "without"),
        ),
        StageSpec(
            "memorise", "Measure memorisation", 2, "app.audits.datamodels.memory:memorise", needs=("plan", "retrain")
        ),
        StageSpec("value", "Value training images", 1, "app.audits.datamodels.value:value"),
    ),
    by_default=False,
    reads_sentences=False,
    panels=panels,
    training_lists=training_lists,
    networks=networks,
    needs_embeddings=False,
    needs_predictions=True,
)
