"""What an audit kind is made of. Imports no torch: the web process reads kinds through this module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from app.audits import splits, stage_specs
from app.audits.pieces import GroupColumn, Headline, Marks, OtherRun, SliceCard, Thumb

Split: TypeAlias = splits.Split
Second: TypeAlias = splits.Second
StageSpec: TypeAlias = stage_specs.StageSpec
FitSpec: TypeAlias = stage_specs.FitSpec
ModelStageSpec: TypeAlias = stage_specs.ModelStageSpec
RetrainStageSpec: TypeAlias = stage_specs.RetrainStageSpec
ModelBatch: TypeAlias = stage_specs.ModelBatch
ModelShard: TypeAlias = stage_specs.ModelShard
SubjectType = Literal[
    "run", "class", "slice", "image", "map", "report", "training", "training_image", "cell", "robustness"
]


@dataclass(frozen=True)
class Inputs:
    """What a stage reads."""

    audited: Split
    train: Split | None
    classes: Sequence[str]
    """Class names in the order of the logits' columns and of the labels."""
    params: Any
    """An instance of the kind's `params` model."""
    seed: int
    device: str
    encode_text: Callable[[Sequence[str]], np.ndarray] | None
    """Sentences → float32 [m, d] in the space of `embeddings`; absent when the encoder reads no text."""
    earlier: Mapping[str, Path]
    """Folder of each earlier stage's artifact, by stage name."""
    progress: Callable[[float, str], None]
    """`progress(share_done, "what is going on")`; raises when the run was cancelled."""
    encoder_words: Mapping[str, Sequence[str]] | None = None
    """Words that the encoder was trained on, by facet, where it says so: a small encoder knows no others."""
    second: Second | None = None
    """The second data set's split that the kind's parameter `AuditKind.second_set` names."""


@dataclass(frozen=True)
class ScoreColumn:
    """A per-example column of the score table."""

    name: str
    values: np.ndarray
    """[n], aligned with the audited split."""
    description: str
    direction: str = "0 is worst"


@dataclass(frozen=True)
class FindingDraft:
    """A statement about a subject; a slice also names its rows."""

    subject: SubjectType
    key: str
    method: str
    title: str
    evidence: Literal["confirmed", "insufficient"]
    metrics: Mapping[str, Any]
    class_index: int | None = None
    rank: int = 0
    rows: np.ndarray | None = None
    """Sorted int64 positions within the audited split; becomes the column `slices` of the score table."""


@dataclass(frozen=True)
class Result:
    """The three things that every stage returns, and its findings."""

    summary: dict[str, Any]
    scores: Sequence[ScoreColumn] = ()
    details: Mapping[str, np.ndarray] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    findings: Sequence[FindingDraft] = ()


@dataclass(frozen=True)
class Subject:
    """What a panel is about."""

    type: SubjectType
    run_id: int
    class_index: int | None = None
    finding_id: int | None = None
    row: int | None = None
    """Data set row of an image, of either split."""
    key: str = ""
    """Of a cell: "<kind>/<key>", a part of that kind's results with a page of its own."""


@dataclass(frozen=True)
class Panel:
    """A block of a page, rendered with the kind's own template."""

    key: str
    title: str
    template: str
    """`<kind>/<file>.html`, found in the kind's `templates` folder."""
    context: BaseModel
    order: int = 100


class RunReader(Protocol):
    """How a kind's page reads what its stages wrote; the web process gives one, with membership already checked."""

    run_id: int
    dataset_id: int
    classes: Sequence[str]
    split_start: int
    """Data set row of the audited split's first row."""

    def summary(self, kind: str) -> dict[str, Any]:
        """Return the kind's merged stage summaries."""

    def array(self, kind: str, stage: str, name: str) -> np.ndarray:
        """Return a detail array, memory-mapped."""

    def table(self, kind: str, stage: str, name: str) -> pa.Table:
        """Return a detail table."""

    def findings(self, kind: str, *, limit: int | None = None, **where: Any) -> Sequence[Any]:
        """Return findings (`app.store.models.Finding`), confirmed first; `where` compares columns, a list means any."""

    def scores(self, sql_where: str = "", params: Sequence[Any] = (), **page: Any) -> list[dict[str, Any]]:
        """Return rows of the score table; see `app.store.score_reader.ScoreReader.rows`."""

    def count(self, sql_where: str = "", params: Sequence[Any] = ()) -> int:
        """Count rows of the score table."""

    def memberships(self, rows: Sequence[int]) -> Mapping[int, Sequence[str]]:
        """Return the keys of the slices that hold each of these data set rows; only of confirm rows in some slice."""

    def thumbs(self, positions: Sequence[int], *, named: bool = False) -> list[Thumb | None]:
        """Return a picture for each position in the split, marked wrong or right; none where there is no picture.

        `named`: the line below says the label, and below it what a wrong one was taken for.
        """

    def asked(self, kind: str, action: str, about: int, by: str = "position") -> Any | None:
        """Return the latest question of that name about an image (`app.store.models.Query`); none: nobody asked.

        `by` names the field of the payload that `about` is compared with: an image's position, or a `finding_id`.
        """

    def marks(self, finding_ids: Sequence[int]) -> Mapping[int, Marks]:
        """Return the tags of findings and who is to look at them; those without either may be left out."""

    def picture(self, row: int, dataset_id: int | None = None) -> str:
        """Return the path of any data set row's picture, of the run's data set where none is named.

        Empty where there is none, as in a report.
        """

    def kept_picture(self, kind: str, stage: str, number: int) -> str:
        """Return the path of a picture that a stage left, see `app.audits.pixels`; empty where there is none."""

    def link(self, subject: Subject) -> str:
        """Return the path of a subject's page; empty where there is none, as in a report."""

    def others(self, dataset_id: int, split: str) -> Sequence[OtherRun]:
        """Return the finished runs of the project's other model versions on a split, newest first; none in a report."""


@dataclass(frozen=True)
class TrainingList:
    """Training images that a kind singles out, and what one might do about each."""

    key: str
    title: str
    text: str
    """How the list was made and what it is worth, in sentences."""
    table: pa.Table
    """The worst first: `row` int64 (of the data set), `label` int32, `score` float64, `note` string, `action` (drop,
    relabel or weight), `new_label` int32 (−1: none), `weight` float64."""


@dataclass(frozen=True)
class RunArrays:
    """What an .npz file of a run holds; arrays may be memory-mapped."""

    text: str
    """README.txt: what each array is."""
    arrays: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    """Data set rows int64, which stand in the file as `<name>_rows` and by id."""


@dataclass(frozen=True)
class RunFile:
    """Numbers of a run that a kind hands out as one .npz file; a page that lists it reads nothing of it."""

    name: str
    """Of the file, ending in .npz; unique among the kinds."""
    title: str
    read: Callable[[], RunArrays]


@dataclass(frozen=True)
class Action:
    """An interactive question that a worker answers: `function(Inputs, payload) -> ActionResult`.

    With `other_run` the payload's `other_run_id` names a second run, whose `Inputs` are a third argument.
    """

    name: str
    title: str
    payload: type[BaseModel]
    function: str
    spends_confirm_rows: bool = True
    other_run: bool = False


@dataclass(frozen=True)
class ActionResult:
    """The answer to a question; `p_value` enters the run's online false-discovery control."""

    result: dict[str, Any]
    p_value: float | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def _no_cards(_reader: RunReader, _findings: Sequence[Any]) -> list[SliceCard]:
    return []


def _no_answer(_action: str, _result: Mapping[str, Any], _reader: RunReader) -> Panel | None:
    return None


def _no_lists(_reader: RunReader) -> list[TrainingList]:
    return []


def _no_files(_reader: RunReader) -> list[RunFile]:
    return []


def _no_headlines(_reader: RunReader) -> list[Headline]:
    return []


def _no_columns(_reader: RunReader) -> list[GroupColumn]:
    return []


def _no_networks(_params: Any) -> int:
    return 0


def _no_passes(_params: Any, _rows: int) -> int:
    return 0


def _no_misfit(_params: Any, _height: int, _width: int) -> Mapping[str, str]:
    return {}


def _no_rows(_metrics: Mapping[str, Any]) -> Sequence[int]:
    return ()


@dataclass(frozen=True)
class AuditKind:
    """One audit kind, found in `app/audits/<name>/__init__.py` as `AUDIT`."""

    name: str
    title: str
    description: str
    params: type[BaseModel]
    summary: type[BaseModel]
    stages: tuple[StageSpec | RetrainStageSpec, ...]
    panels: Callable[[Subject, RunReader], list[Panel]]
    model_stages: tuple[ModelStageSpec, ...] = ()
    actions: tuple[Action, ...] = ()
    by_default: bool = True
    """Whether an audit that names no kinds includes it; not where it costs far more than prediction."""
    reads_sentences: bool = True
    """Whether its stages or answers encode sentences; where not, the encoder is not loaded for them."""
    needs_embeddings: bool = True
    wants_embeddings: bool = False
    """Whether it takes embeddings where they can be had, and does without them elsewhere."""
    needs_predictions: bool = True
    second_set: str = ""
    """Name of the kind's parameter (`app.audits.splits.CHOICE`) that names a second data set's split, "<id>/<split>";
    its rows are predicted and embedded as the audited ones are. Empty: the kind reads one data set."""
    networks: Callable[[Any], int] = _no_networks
    """How many networks are trained anew for an instance of `params`, at most; said before an audit starts."""
    passes: Callable[[Any, int], int] = _no_passes
    """How many images the network is shown beside prediction, for an instance of `params` and a split of so many rows;
    said before an audit starts."""
    unfit: Callable[[Any, int, int], Mapping[str, str]] = _no_misfit
    """Why an instance of `params` has no meaning for a network that takes images of that height and width, and what
    would be right, by field; said before an audit starts."""
    report_rows: Callable[[Mapping[str, Any]], Sequence[int]] = _no_rows
    """Positions of the images that a finding with these metrics shows in a report, the most telling first."""
    training_lists: Callable[[RunReader], list[TrainingList]] = _no_lists
    """What the page of training data shows of this kind."""
    files: Callable[[RunReader], list[RunFile]] = _no_files
    """What can be taken away of a run of this kind."""
    cards: Callable[[RunReader, Sequence[Any]], list[SliceCard]] = _no_cards
    """The kind's slices (findings) as cards, one each, in the same order."""
    headlines: Callable[[RunReader], list[Headline]] = _no_headlines
    """What a stress test comes to, one line each, for the report card; its panels stand on the robustness page."""
    group_columns: Callable[[RunReader], list[GroupColumn]] = _no_columns
    """A stress test's figures for every class and slice, which the robustness page joins into one table; see
    `app.audits.drawn.group_column`."""
    answer: Callable[[str, Mapping[str, Any], RunReader], Panel | None] = _no_answer
    """The panel that shows what a worker answered to the question of that name."""

    @property
    def stress_test(self) -> bool:
        """Whether it belongs on the robustness page."""
        return self.headlines is not _no_headlines

    @property
    def about_training(self) -> bool:
        """Whether it belongs on the page of training data."""
        return self.training_lists is not _no_lists
