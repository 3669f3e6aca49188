"""A run as its workers see it: read from the database, the same for every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from app.audits import kind as kind_named
from app.audits.base import AuditKind, ModelStageSpec, RetrainStageSpec, StageSpec
from app.audits.splits import NamedSplit, named_split
from app.errors import UserError
from app.loaders.models.spec import ModelSpec
from app.services import fit, keys, second_set
from app.services.second_set import SecondSet
from app.settings import get_settings
from app.store.models import DatasetSplit
from app.store.places import get_artifacts
from app.store.repositories import subjects
from app.store.repositories import workers as worker_rows
from app.store.repositories.subjects import Audited
from app.store.session import reading
from workers.device import device_class

Role = Literal["audited", "train"]
ROLES: tuple[Role, ...] = ("audited", "train")
Embeddings = Literal["encoder", "given", "penultimate", "none"]


@dataclass(frozen=True)
class RunPlan:
    """Everything that a run's stages need to know of it."""

    rows: Audited
    spec: ModelSpec
    device: str
    shard_rows: int
    seconds: Mapping[str, RunPlan] = field(default_factory=dict)
    """Of each kind that reads a second data set, the plan as that set's rows see it."""
    split: str = ""
    """Of a second set: its split in place of the run's."""
    names: tuple[str, ...] = ()
    """Of a second set: the audited data set's classes, for a model that names none."""
    reader: str = ""
    """Of a second set: the kind that reads it."""

    @property
    def kinds(self) -> list[AuditKind]:
        """The kinds that the run audits; those that read stages of other kinds after these."""
        chosen = [kind_named(name) for name in ([self.reader] if self.reader else self.rows.run.kinds)]
        return sorted(chosen, key=lambda kind: any(isinstance(s, StageSpec) and s.reads for s in kind.stages))

    def of_line(self, line: str) -> RunPlan:
        """The plan as a line of progress sees it: of "<stage>@<kind>" that of the kind's second data set."""
        kind = line.partition("@")[2]
        return self.seconds[kind] if kind else self

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The stages of all kinds, in order, without retraining that nobody asked for."""
        return [
            {
                "kind": kind.name,
                "name": stage.name,
                "title": stage.title,
                "retrains": isinstance(stage, RetrainStageSpec),
            }
            for kind in self.kinds
            for stage in kind.stages
            if not isinstance(stage, RetrainStageSpec) or self._asked(kind, stage)
        ]

    @property
    def retrains(self) -> bool:
        """Whether the run trains networks anew."""
        return any(stage["retrains"] for stage in self.stages)

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The version's training recipe, if it carries one."""
        found: dict[str, Any] | None = self.rows.version.claim.get("recipe")
        return found

    def _asked(self, kind: AuditKind, stage: RetrainStageSpec) -> bool:
        return self.range("train") is not None and bool(self.kind_params(kind)[stage.switch])

    @property
    def model_stages(self) -> dict[str, str]:
        """Title of the work on the network itself that the kinds ask for and the model's format allows, by line."""
        return {
            f"{kind.name}:{stage.name}": stage.title
            for kind in self.kinds
            for stage in kind.model_stages
            if self.spec.format in stage.formats
            and (not stage.switch or self.kind_params(kind)[stage.switch])
            and (stage.fit is None or self.range("train") is not None)
        }

    def kind_params(self, kind: AuditKind) -> dict[str, Any]:
        """A kind's parameters, defaults filled in."""
        given = self.rows.run.params.get(kind.name, {})
        params: dict[str, Any] = kind.params.model_validate(given).model_dump(mode="json")
        return params

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the model's outputs."""
        return list(self.spec.classes) or list(self.names or self.rows.dataset.classes)

    @property
    def encoder(self) -> str:
        """The encoder's name."""
        return self.rows.run.encoder

    @property
    def predicts(self) -> bool:
        """Whether the run needs the model's outputs."""
        return any(kind.needs_predictions for kind in self.kinds)

    @property
    def embeddings(self) -> Embeddings:
        """Where the embeddings come from."""
        wanted = any(kind.wants_embeddings for kind in self.kinds)
        wanted = wanted and fit.can_embed(self.encoder, self.rows.version, self.rows.dataset)
        if not wanted and not any(kind.needs_embeddings for kind in self.kinds):
            return "none"
        return "given" if self.encoder == "given" else "penultimate" if self.encoder == "penultimate" else "encoder"

    @property
    def data_hash(self) -> str:
        """Hash of the data set's content."""
        return self.rows.dataset.data_hash

    @property
    def model_hash(self) -> str:
        """Hash of the model's weights and of how it is fed and read."""
        return keys.model_hash(self.rows.version.spec, [row.sha256 for row in self.rows.checkpoints])

    @property
    def folder(self) -> Path:
        """The data set's artifact."""
        return get_artifacts().local(self.rows.dataset.artifact_key)

    def range(self, role: Literal["audited", "train"]) -> tuple[int, int] | None:
        """The rows [start, stop) of a split, None when the run has no training split.

        Raises:
            UserError: the data set has no split of that name.
        """
        if not (name := self.split_name(role)):
            return None
        for split in self.rows.splits:
            if split.name == name:
                return split.start, split.stop
        there = ", ".join(f"“{split.name}”" for split in self.rows.splits)
        raise UserError(f"The data set “{self.rows.dataset.name}” has no split “{name}”; it has {there}.")

    def split_name(self, role: Role) -> str:
        """The name of the split that plays a role; empty where the run has none."""
        if self.split:
            return self.split if role == "audited" else ""
        return self.rows.run.split if role == "audited" else self.rows.run.train_split

    def shards(self, line: str) -> list[list[int]]:
        """The shards [start, stop) of a line over the audited and the training split, or over the second set.

        A table of predictions is read once for each split, whatever its size.
        """
        stage = stage_of(line)
        if stage != line:
            return self.of_line(line).shards(stage)
        whole = stage == "predict" and self.spec.format == "predictions"
        found: list[list[int]] = []
        roles = model_stage_roles(stage) if ":" in stage else ROLES
        for rows in dict.fromkeys(self.range(role) for role in roles):
            if rows is not None:
                size = rows[1] - rows[0] if whole else self._rows_of_a_shard(stage)
                found += [[start, min(start + size, rows[1])] for start in range(*rows, max(size, 1))]
        return found

    def _rows_of_a_shard(self, stage: str) -> int:
        most = model_stage(stage)[1].shard_rows if ":" in stage else 0
        return min(most or self.shard_rows, self.shard_rows)

    def require_runnable(self) -> None:
        """Raise a `UserError` that says what is missing before anything is computed."""
        require(self.rows.dataset.status == "succeeded", f"The data set “{self.rows.dataset.name}” is not imported.")
        require(self.rows.version.status == "succeeded", "The model version has not passed its check.")
        require(bool(self.kinds), "The run names no kind of audit; choose at least one.")
        audited = self.range("audited")
        require(audited is not None and audited[1] > audited[0], "The audited split has no rows.")
        self.range("train")
        self._require_sources()

    def _require_sources(self) -> None:
        version, dataset, kinds = self.rows.version, self.rows.dataset, self.rows.run.kinds
        fit.require_embeddings(self.encoder, version, dataset, kinds)
        fit.require_images(self.encoder, version, dataset, kinds)
        for kind in (kind for kind in self.kinds if kind.second_set):
            require(kind.name in self.seconds, f"“{kind.title}” needs a second data set; start the audit with one.")
            self.seconds[kind.name].require_comparable(self)

    def spoken(self, line: str) -> str:
        """A line as sentences name it."""
        own = self.of_line(line)
        return f"{stage_of(line)} of “{own.rows.dataset.name}” / {own.split}" if own.split else line

    def require_comparable(self, audited: RunPlan) -> None:
        """Raise a `UserError` unless this second data set can be compared with the audited split."""
        own = second_set.Wanted(
            self.rows.version, self.rows.checkpoints, audited.rows.dataset, audited.split_row, self.encoder
        )
        second_set.require(kind_named(self.reader), self.second, own)

    @property
    def second(self) -> SecondSet:
        """Of a second set: its data set and split."""
        return SecondSet(self.rows.dataset, self.split_row)

    @property
    def rows_of_split(self) -> tuple[int, int]:
        """The rows [start, stop) of the audited split, or of the second set."""
        return self.split_row.start, self.split_row.stop

    @property
    def split_row(self) -> DatasetSplit:
        """The audited split's row."""
        self.range("audited")
        return next(split for split in self.rows.splits if split.name == self.split_name("audited"))


def stage_of(line: str) -> str:
    """The stage that a line "<stage>" or, over a second data set, "<stage>@<kind>" speaks of."""
    return line.partition("@")[0]


def model_stage(line: str) -> tuple[str, ModelStageSpec]:
    """The kind's name and the stage that a line "<kind>:<stage>" speaks of."""
    kind, _, name = line.partition(":")
    return kind, next(stage for stage in kind_named(kind).model_stages if stage.name == name)


def model_stage_roles(line: str) -> tuple[Role, ...]:
    """The splits over which a kind's work on the network runs; on pixels it is the audited one."""
    return ("audited",) if model_stage(line)[1].reads == "pixels" else ROLES


def fit_line(line: str) -> str:
    """The line of progress of what a kind's work on the network ("<kind>:<stage>") fits first."""
    return f"{line}:fit"


def load_run(run_id: int) -> RunPlan:
    """Read a run.

    Raises:
        NotFound: it, its data set or its model is gone.
    """
    settings = get_settings()
    with reading() as session:
        rows = subjects.audited(session, run_id)
        device = device_class(settings, gpu_workers=worker_rows.count_alive(session, "gpu"))
        plan = RunPlan(rows, ModelSpec.model_validate(rows.version.spec), device, settings.shard_rows)
        seconds = {name: subjects.second(session, rows, named.dataset_id) for name, named in _named(plan).items()}
    return replace(plan, seconds={name: _second(plan, name, found) for name, found in seconds.items()})


def _named(plan: RunPlan) -> dict[str, NamedSplit]:
    """The second data sets that the run's kinds name."""
    found = {k.name: named_split(str(plan.kind_params(k).get(k.second_set) or "")) for k in plan.kinds if k.second_set}
    return {name: named for name, named in found.items() if named is not None}


def _second(plan: RunPlan, kind: str, rows: Audited) -> RunPlan:
    named = _named(plan)[kind]
    return replace(plan, rows=rows, split=named.split, names=tuple(plan.rows.dataset.classes), reader=kind)


def require(condition: bool, sentence: str) -> None:
    """Raise a `UserError` unless the condition holds."""
    if not condition:
        raise UserError(sentence)
