"""Stage `captions`: names slices in words, and turns candidates into findings."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from app.audits.base import FindingDraft, Inputs, Result
from app.audits.slices.caption import Captioner
from app.audits.slices.causes import Explainer
from app.audits.slices.compute import read_candidates
from app.audits.slices.ranking import Measured, behind, mark_same, ranked
from app.audits.slices.rows import Rows, load
from app.audits.slices.schema import ClassSummary, MethodSummary, Params
from app.audits.slices.untitled import Untitled

PER_SLICE = 8
PER_CLASS = 4
SIDE_SHARE = 0.25
LISTED = 12


def describe(inputs: Inputs) -> Result:
    """Caption every candidate and every class's direction; return the findings."""
    folder = inputs.earlier["slices"]
    rows = load(inputs, folder)
    summary = json.loads((folder / "summary.json").read_text())
    captioner = _captioner(inputs, rows) if inputs.encode_text else None
    findings = _findings(inputs, rows, folder, captioner)
    classes = [_with_slices(ClassSummary.model_validate(c), findings) for c in summary["classes"]]
    if captioner:
        decision = np.load(folder / "decision.npy", mmap_mode="r")
        classes = [_captioned(c, captioner, _sides(rows, decision, c.index)) for c in classes]
    return Result(
        summary={
            "classes": [c.model_dump(mode="json") for c in classes],
            "captions_available": captioner is not None,
            "caption_bank": captioner.size if captioner else 0,
            "notes": summary["notes"] + _notes(captioner, inputs.params),
        },
        findings=findings,
    )


def _captioner(inputs: Inputs, rows: Rows) -> Captioner:
    assert inputs.encode_text is not None
    return Captioner(rows, inputs.params, inputs.encode_text, inputs.encoder_words)


def _findings(inputs: Inputs, rows: Rows, folder: Path, captioner: Captioner | None) -> list[FindingDraft]:
    found = read_candidates(pq.read_table(folder / "candidates.parquet"))
    names = _names(found, captioner, inputs.progress)
    last = behind(_calibration(inputs))
    mark_same([found[i] for i in ranked(found, last)], inputs.params.methods, last, names)
    explain = Explainer(inputs, rows, folder)
    drafts, untitled = [], Untitled(rows.classes)
    for rank, i in enumerate(ranked(found, last)):
        if found[i].confirmed:
            found[i].metrics.causes = explain.causes(i, found[i])
        title = names[found[i].key] or untitled.name(found[i].class_index, found[i].metrics)
        drafts.append(_draft(rank, title, found[i]))
    return drafts


def _names(
    found: Sequence[Measured], captioner: Captioner | None, progress: Callable[[float, str], None]
) -> dict[str, str]:
    """Caption every candidate; return what each is called, by key: its method's own words, else its best caption."""
    names = {}
    for i, candidate in enumerate(found):
        progress(0.8 * i / len(found), "Describing slices")
        title = ""
        if captioner:
            candidate.metrics.captions = captioner.describe(candidate.rows, candidate.class_index, PER_SLICE)
            title = captioner.title(candidate.metrics.captions)
        names[candidate.key] = candidate.note or title
    return names


def _calibration(inputs: Inputs) -> list[MethodSummary]:
    if "trust" not in inputs.earlier:
        return []
    summary = json.loads((inputs.earlier["trust"] / "summary.json").read_text())
    return [MethodSummary.model_validate(m) for m in summary["methods"]]


def _draft(rank: int, title: str, found: Measured) -> FindingDraft:
    return FindingDraft(
        subject="slice",
        key=found.key,
        method=found.method,
        title=title,
        evidence="confirmed" if found.confirmed else "insufficient",
        metrics=found.metrics.model_dump(mode="json"),
        class_index=found.class_index,
        rank=rank,
        rows=found.rows,
    )


def _with_slices(entry: ClassSummary, findings: list[FindingDraft]) -> ClassSummary:
    return entry.model_copy(update={"slices": [f.key for f in findings if f.class_index == entry.index]})


def _captioned(entry: ClassSummary, captioner: Captioner, sides: tuple[np.ndarray, np.ndarray]) -> ClassSummary:
    if not entry.fitted:
        return entry
    return entry.model_copy(
        update={
            "hard_captions": captioner.describe(sides[0], entry.index, PER_CLASS, failing=False),
            "easy_captions": captioner.describe(sides[1], entry.index, PER_CLASS, failing=False),
        }
    )


def _sides(rows: Rows, decision: np.ndarray, class_index: int) -> tuple[np.ndarray, np.ndarray]:
    """The hardest and the easiest quarter of the class's fit rows, as positions."""
    positions = rows.of_class(class_index)
    fit = positions[rows.fit[positions]]
    order = fit[np.argsort(decision[fit], kind="stable")]
    quarter = int(SIDE_SHARE * len(order))
    return order[:quarter], order[len(order) - quarter :]


def _notes(captioner: Captioner | None, params: Params) -> list[str]:
    if captioner is None:
        return ["This encoder reads no text, so slices have no captions. Choose a vision/language encoder for words."]
    notes = []
    if captioner.words.dropped:
        notes.append(f"Left out of the vocabulary because they name a label: {_listed(captioner.words.dropped)}.")
    if captioner.ungrounded:
        told = f"{len(captioner.ungrounded)} words of the vocabulary are not used: this encoder sees no difference "
        notes.append(f"{told}between these images along them ({_listed(captioner.ungrounded)}).")
    return notes


def _listed(words: Sequence[str]) -> str:
    more = ", …" if len(words) > LISTED else ""
    return ", ".join(f"“{word}”" for word in words[:LISTED]) + more
