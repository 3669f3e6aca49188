"""The audit kinds on the form of a new audit: under which heading each stands, and what each budget of it costs."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from app.audits import kind as kind_named
from app.audits import kinds
from app.audits.base import AuditKind
from app.services.budgets import budgets, has_budget
from app.web.generic_form import FormField, form_fields

NOMINAL_ROWS = 10_000
"""Images by which kinds are ordered; all quick budgets draw fewer."""


class BudgetCost(BaseModel):
    """What a budget of a kind costs."""

    budget: str
    images: int = Field(description="Images that the network is shown at most; a gradient counts as three.")


class KindForm(BaseModel):
    """An audit kind with the form of its parameters."""

    name: str
    title: str
    description: str
    by_default: bool = Field(description="Whether the form comes with it chosen.")
    stress_test: bool = Field(description="Whether its results stand on the robustness page.")
    costs: list[BudgetCost] = Field(description="The cheapest first; empty where it costs little beside prediction.")
    must: list[FormField] = Field(description="Parameters that must be chosen, such as a second data set.")
    fields: list[FormField] = Field(description="Parameters that have a default.")


class KindSection(BaseModel):
    """Kinds that answer one question."""

    title: str
    about: str
    stress_tests: bool
    kinds: list[KindForm]


def sections(rows: int) -> list[KindSection]:
    """Return every kind under its heading, the cheapest first; `rows` is the size of the audited split."""
    ordered = sorted(kinds().values(), key=lambda kind: (not kind.by_default, _quick(kind), kind.name))
    tests = [kind for kind in ordered if kind.stress_test]
    training = [kind for kind in ordered if kind.about_training and not kind.stress_test]
    failures = [kind for kind in ordered if kind not in tests and kind not in training]
    found = [
        _section("Failures", "On which images does the model fail together, and what do they share?", failures, rows),
        _section("Training data", "Which training images made it so?", training, rows),
        _section(
            "Stress tests",
            "How easily does it break, where, and what is proven not to? All stand on one page of the run. They are "
            "told for each slice too where “Error slices” is ticked.",
            tests,
            rows,
        ),
    ]
    return [section for section in found if section.kinds]


def _section(title: str, about: str, chosen: Sequence[AuditKind], rows: int) -> KindSection:
    tests = any(kind.stress_test for kind in chosen)
    return KindSection(
        title=title, about=about, stress_tests=tests, kinds=[_kind_form(kind.name, rows) for kind in chosen]
    )


def _kind_form(name: str, rows: int) -> KindForm:
    kind = kind_named(name)
    fields = form_fields(kind.params, name)
    must = [field for field in fields if field.name == f"{name}.{kind.second_set}"]
    return KindForm(
        name=name,
        title=kind.title,
        description=kind.description,
        by_default=kind.by_default,
        stress_test=kind.stress_test,
        costs=_costs(kind, rows),
        must=must,
        fields=[field for field in fields if field not in must],
    )


def _costs(kind: AuditKind, rows: int) -> list[BudgetCost]:
    if not has_budget(kind.name):
        return []
    costs = [BudgetCost(budget=name, images=_passes(kind, name, rows)) for name in budgets()]
    return costs if any(cost.images for cost in costs) else []


def _quick(kind: AuditKind) -> int:
    return _passes(kind, budgets()[0], NOMINAL_ROWS) if has_budget(kind.name) else 0


def _passes(kind: AuditKind, budget: str, rows: int) -> int:
    return kind.passes(kind.params.model_validate({"budget": budget}), rows)
