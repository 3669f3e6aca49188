"""What every audit kind in the registry keeps to, shown on the example that lies in its folder."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from app.audits import kinds
from app.audits.base import AuditKind, Result, StageSpec

from .planted_inputs import after, planted_inputs, with_second

ALL = sorted(kinds().values(), key=lambda kind: kind.name)
every_kind = pytest.mark.parametrize("kind", ALL, ids=[kind.name for kind in ALL])


def folder_of(kind: AuditKind) -> Path:
    return Path(str(sys.modules[f"app.audits.{kind.name}"].__file__)).parent


def computed(kind: AuditKind) -> list[StageSpec]:
    """The stages that are functions; retraining is the worker's."""
    return [stage for stage in kind.stages if isinstance(stage, StageSpec)]


def resolved(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


@every_kind
def test_names_are_plain_and_unique(kind: AuditKind) -> None:
    assert kind.name.isidentifier()
    assert folder_of(kind).name == kind.name
    for names in ([s.name for s in kind.stages], [a.name for a in kind.actions]):
        assert len(set(names)) == len(names)


@every_kind
def test_stages_and_actions_name_functions_of_the_kind(kind: AuditKind) -> None:
    for entry in (*computed(kind), *kind.actions):
        assert entry.function.startswith(f"app.audits.{kind.name}.")
        assert callable(resolved(entry.function))


@every_kind
def test_a_stage_needs_only_earlier_ones(kind: AuditKind) -> None:
    seen: set[str] = set()
    for stage in kind.stages:
        assert set(stage.needs) <= seen
        seen.add(stage.name)


@every_kind
def test_params_and_payloads_have_a_json_schema_and_defaults(kind: AuditKind) -> None:
    for model in (kind.params, kind.summary, *(action.payload for action in kind.actions)):
        jsonschema.Draft202012Validator.check_schema(model.model_json_schema())
    assert kind.params() == kind.params.model_validate(kind.params().model_dump(mode="json"))


@every_kind
def test_the_example_runs_and_its_summary_is_as_declared(kind: AuditKind, tmp_path: Path) -> None:
    params = kind.params.model_validate(json.loads((folder_of(kind) / "example.json").read_text()))
    inputs = replace(planted_inputs(rows=160), params=params)
    inputs = with_second(inputs) if kind.second_set else inputs
    summary: dict[str, Any] = {}
    for stage in computed(kind):
        needed = {name: tmp_path / name for name in stage.needs if (tmp_path / name).exists()}
        result: Result = resolved(stage.function)(replace(inputs, earlier=needed))
        after(inputs, stage.name, result, tmp_path)
        assert all(len(column.values) == inputs.audited.manifest.num_rows for column in result.scores)
        assert len({finding.key for finding in result.findings}) == len(result.findings)
        summary |= result.summary
    kind.summary.model_validate(summary)
    json.dumps(summary, allow_nan=False)


@every_kind
def test_a_second_data_set_is_named_by_a_parameter_that_is_chosen_from_splits(kind: AuditKind) -> None:
    if kind.second_set:
        extra = kind.params.model_fields[kind.second_set].json_schema_extra
        assert isinstance(extra, dict)
        assert extra["choice"] == "split"


@every_kind
def test_pages_import_no_torch(kind: AuditKind) -> None:
    code = f"import sys, app.audits.{kind.name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@every_kind
def test_templates_lie_in_the_kind_s_folder(kind: AuditKind) -> None:
    sources = "".join(path.read_text() for path in folder_of(kind).glob("page*.py"))
    named = {part.split('"')[0] for part in sources.split(f'"{kind.name}/')[1:]}
    named = {name for name in named if name.endswith(".html")}
    assert named
    assert {name for name in named if not (folder_of(kind) / "templates" / name).is_file()} == set()
