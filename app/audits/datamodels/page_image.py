"""An audited image: its datamodel's most helpful and most harmful training images, and predicted counterfactuals."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader
from app.audits.datamodels.page_ends import all_ends, computed, ends, thumbs
from app.audits.datamodels.page_slice import behind_slices
from app.audits.datamodels.page_what_if import AllWhatIf, groups_of, proved, what_if
from app.audits.datamodels.read import KIND, read_model, read_table, read_train
from app.audits.datamodels.schema import LISTED, DatamodelsSummary, FitSummary
from app.audits.influence.page_ends import AllEnds, Ends


class ImageDatamodel(BaseModel):
    """What the retrained networks say of one image."""

    missing: str = Field(description="Why there is nothing to show; empty where there is.")
    facts: list[str]
    ends: AllEnds | None
    what_if: AllWhatIf | None


def image_panel(row: int, summary: DatamodelsSummary, reader: RunReader) -> Panel:
    """Return the panel of an image by its data set row."""
    context = _context(row, summary, reader)
    return Panel("datamodels-image", "What retrained networks say of it", "datamodels/image.html", context, 42)


def _context(row: int, summary: DatamodelsSummary, reader: RunReader) -> ImageDatamodel:
    assert summary.best is not None
    position, model = row - reader.split_start, read_model(summary.best, summary, reader)
    columns = model.columns_of(np.array([position]))
    if not len(columns):
        return ImageDatamodel(missing=_missing(summary), facts=[], ends=None, what_if=None)
    column, mean, train = int(columns[0]), model.mean(columns), read_train(reader)
    own = int(reader.table(KIND, "fit", "targets")["label"][column].as_py())
    groups = groups_of(mean, train[1], own, reader) + behind_slices(row, model, reader)
    shown = proved(what_if(mean, groups, "this image"), read_table(reader, "prove", "predictions"), position)
    found = [_ends(m, column, summary, train, reader) for m in computed(summary, LISTED)]
    facts = _facts(column, summary, reader)
    return ImageDatamodel(missing="", facts=facts, ends=all_ends(found, summary), what_if=shown)


def _missing(summary: DatamodelsSummary) -> str:
    return (
        f"The retrained networks were asked about {summary.targets:,} of {summary.of_targets:,} audited images, drawn "
        "at random; this one is not among them. An audit with more `targets` asks more of them."
    )


def _facts(column: int, summary: DatamodelsSummary, reader: RunReader) -> list[str]:
    row = reader.table(KIND, "fit", "targets").slice(column, 1).to_pylist()[0]
    name = summary.best
    weights, fewest = row[f"{name}.weights"], row[f"{name}.support"]
    found = [] if name != "plain" else [f"{weights:,} of {summary.train_rows:,} training images have a weight."]
    found += [
        f"Of what {summary.held_out:,} held-out parts of the training data changed in it, {_share(row[f'{name}.r2'])}.",
    ]
    if fewest:
        found.append(f"The prediction is expected to turn without its {fewest:,} most helpful images.")
    return found


def _share(r2: float) -> str:
    return f"the datamodel explains {100 * r2:.0f} %" if r2 > 0 else "the datamodel explains nothing"


def _ends(
    method: FitSummary,
    column: int,
    summary: DatamodelsSummary,
    train: tuple[np.ndarray, np.ndarray],
    reader: RunReader,
) -> Ends:
    places, scores = (reader.array(KIND, "fit", f"{method.method}.{part}")[column] for part in ("rows", "scores"))
    half = len(places) // 2
    sides = []
    for some, sign in ((slice(0, half), 1), (slice(len(places) - 1, half - 1, -1), -1)):
        there = sign * scores[some] > 0
        kept, values = places[some][there], scores[some][there]
        sides.append(thumbs(train[0][kept].tolist(), train[1][kept].tolist(), values.tolist(), reader))
    return ends(method, summary, *sides)
