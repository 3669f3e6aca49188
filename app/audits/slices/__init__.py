"""Error slices: consistent failures as directions in a vision/language space."""

from app.audits.base import Action, AuditKind, StageSpec
from app.audits.slices.page import panels
from app.audits.slices.page_answer import answer
from app.audits.slices.page_cards import cards, report_rows
from app.audits.slices.parts_schema import PartsPayload
from app.audits.slices.schema import (
    ClimbPayload,
    HypothesisPayload,
    NeighboursPayload,
    Params,
    RemeasurePayload,
    SlicesSummary,
)

AUDIT = AuditKind(
    name="slices",
    title="Error slices",
    description=(
        "Finds groups of images on which the model fails together, describes them in words, "
        "and tests each on rows that no step of the search saw."
    ),
    params=Params,
    summary=SlicesSummary,
    stages=(
        StageSpec("slices", "Find slices", 2, "app.audits.slices.compute:find"),
        StageSpec("trust", "Calibrate on planted slices", 2, "app.audits.slices.trust:trust", ("slices",)),
        StageSpec("captions", "Describe slices", 4, "app.audits.slices.describe:describe", ("slices", "trust")),
        StageSpec("map", "Draw the map", 2, "app.audits.slices.map:draw", ("slices",)),
    ),
    panels=panels,
    cards=cards,
    answer=answer,
    report_rows=report_rows,
    actions=(
        Action("hypothesis", "Test a hypothesis", HypothesisPayload, "app.audits.slices.actions:hypothesis"),
        Action("climb", "Find more like these", ClimbPayload, "app.audits.slices.actions:climb", False),
        Action("remeasure", "Measure a slice", RemeasurePayload, "app.audits.slices.actions:remeasure"),
        Action("parts", "Propose parts of a slice", PartsPayload, "app.audits.slices.parts:parts", False),
        Action("neighbours", "Nearest images", NeighboursPayload, "app.audits.slices.actions:neighbours", False),
    ),
)
