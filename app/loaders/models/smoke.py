"""A first inference over a few images, right after upload; called in the sandboxed child."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from app.errors import UserError
from app.loaders.decoding import pace
from app.loaders.images import MAX_PIXELS
from app.loaders.models import doubts, outputs
from app.loaders.models.explain import Search, Tried, count_right, proposal
from app.loaders.models.packed import PackedImages, prepared_batches
from app.loaders.models.predict import cached_model
from app.loaders.models.preprocess import to_input
from app.loaders.models.runtime import LoadedModel
from app.loaders.models.spec import ModelSpec, Preprocessing

MAX_SAMPLE = 1000
_SYNTHETIC = 8
_TIMED_RUNS = 3
_SHOWN = 12
_TRIED_SHOWN = 20
_VARIANTS = 30
_FEWEST = 64


class SmokeRequest(BaseModel):
    """What `smoke` needs; paths are absolute and readable in the sandbox. Without `images`, noise is used."""

    model_config = ConfigDict(extra="forbid")

    file: Path
    spec: ModelSpec
    images: list[Path] = Field(default_factory=list, description="Packs of image files laid end to end.")
    ranges: Path | None = Field(None, description=".npy, as for predict_shard; at most 1,000 rows are used.")
    labels: list[str] = Field(default_factory=list, description="Class name of each row; an empty one: unlabelled.")
    dataset_classes: list[str] = Field(default_factory=list, description="The data set's classes in its own order.")
    claimed_accuracy: float | None = Field(None, ge=0, le=1, description="What the model's owner says it reaches.")
    search_seconds: float = Field(25.0, gt=0, description="Time for finding what explains a wrong accuracy.")
    batch_size: int = Field(16, ge=1)
    device: str = "auto"
    dtype: str = "auto"
    max_pixels: int = MAX_PIXELS


def smoke(payload: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the model once and report what the page shows.

    `payload` is a `SmokeRequest`. Progress: `stage`.

    Returns `input_shape`, `output_shape`, `features` (d or None), `classes`, `outputs` (found from the numbers),
    `milliseconds` (per image), `fixed_batch`, `device`, `warnings`, `doubts` (what misleads stress tests),
    `predictions` (row, class, confidence of the first images), `unreadable`; and, of a labelled sample, `accuracy`
    (accuracy, correct, n, interval), `claimed`, `agrees`, `tried` (variants, best first, on a part of the sample),
    `search_finished` (in time) and `proposal` (see `explain.proposal`) or None.

    Raises:
        UserError: the model cannot be loaded or run, returns NaN, or as many outputs as there are no classes.
    """
    request = SmokeRequest.model_validate(payload)
    progress({"stage": "loading the model"})
    model = cached_model(request.file, request.spec, request.device, request.dtype)
    model.batch_size = request.batch_size
    sample = _Sample(request, model)
    progress({"stage": f"running {len(sample)} images"})
    scores, features = model.raw(sample.inputs(request.spec.preprocessing))
    outputs.check_finite(scores)
    found = "probabilities" if outputs.are_probabilities(scores) else "logits"
    report = _shapes(request, model, scores, features) | {"outputs": found, "unreadable": sample.unreadable}
    report["warnings"] = _warnings(request, model, scores, found)
    report["predictions"] = _first_predictions(request.spec, sample.rows, scores, found)
    report["milliseconds"] = _milliseconds(model, sample.inputs(request.spec.preprocessing)[: request.batch_size])
    progress({"stage": "looking for what misleads stress tests"})
    report["doubts"] = doubts.of_network(
        request.file, request.spec, model, sample.inputs(request.spec.preprocessing)[:_SYNTHETIC]
    )
    if request.labels:
        progress({"stage": "comparing with the labels"})
        report |= _compare(request, sample, model, scores, report["milliseconds"])
        report["doubts"] += _normalisation(request, sample, model, report)
    return report


class _Sample:
    """The images of the sample that can be read, decoded once for each geometry."""

    def __init__(self, request: SmokeRequest, model: LoadedModel) -> None:
        self._request, self._device = request, model.device
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self.unreadable: list[dict[str, Any]] = []
        self._images = _packed(request)
        self.rows = np.arange(_SYNTHETIC if self._images is None else len(self._images))
        self._decode(request.spec.preprocessing, first=True)

    def __len__(self) -> int:
        return len(self.rows)

    def labels(self) -> NDArray[np.object_]:
        """Class names of the rows in use."""
        return np.asarray(self._request.labels, dtype=object)[self.rows]

    def use(self, rows: NDArray[np.intp]) -> None:
        """Go on with these rows only."""
        self.rows, self._pixels = rows, {}

    @staticmethod
    def spread(rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        """About `count` of `rows`, evenly spread, and never less than a few dozen."""
        count = min(max(count, _FEWEST), len(rows))
        return rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(np.intp))]

    def inputs(self, steps: Preprocessing) -> torch.Tensor:
        """float32 [n, channels, height, width] on the model's device."""
        pixels = torch.from_numpy(self._decode(steps)).to(self._device)
        return to_input(pixels, steps)

    def _decode(self, steps: Preprocessing, *, first: bool = False) -> NDArray[np.uint8]:
        key = repr((steps.size, steps.resize, steps.resize_to, steps.crop, steps.interpolation))
        if key not in self._pixels:
            pixels, failures = self._read(steps)
            if first:
                self._set_aside(failures, len(pixels))
            self._pixels = {key: pixels[self.rows]}
        return self._pixels[key]

    def _read(self, steps: Preprocessing) -> tuple[NDArray[np.uint8], dict[int, str]]:
        if self._images is None:
            shape = (_SYNTHETIC, *steps.size, steps.channels)
            return np.random.default_rng(0).integers(0, 256, shape, np.uint8), {}
        batches = list(prepared_batches(self._images, steps, 64, pace(self._device), self._request.max_pixels))
        failures = {row: message for batch in batches for row, message in batch.failures.items()}
        return np.concatenate([batch.pixels for batch in batches]), failures

    def _set_aside(self, failures: dict[int, str], total: int) -> None:
        self.unreadable = [{"row": row, "message": message} for row, message in sorted(failures.items())]
        self.rows = np.array([row for row in range(total) if row not in failures], dtype=np.intp)
        if not len(self.rows):
            raise UserError(f"None of the {total} sample images can be used: {next(iter(failures.values()))}")


def _packed(request: SmokeRequest) -> PackedImages | None:
    if not request.images or request.ranges is None:
        return None
    images = PackedImages(request.images, np.load(request.ranges, allow_pickle=False))
    if len(images) == 0:
        raise UserError("The sample holds no image.")
    if request.labels and len(request.labels) != len(images):
        raise UserError(f"The sample has {len(images)} images and {len(request.labels)} labels.")
    return images.first(MAX_SAMPLE)


def _shapes(
    request: SmokeRequest, model: LoadedModel, scores: torch.Tensor, features: torch.Tensor | None
) -> dict[str, Any]:
    steps = request.spec.preprocessing
    return {
        "input_shape": [len(scores), steps.channels, *steps.size],
        "output_shape": list(scores.shape),
        "features": None if features is None else features.shape[1],
        "classes": list(request.spec.classes) or [str(index) for index in range(scores.shape[1])],
        "fixed_batch": model.fixed_batch,
        "device": str(model.device),
    }


def _warnings(request: SmokeRequest, model: LoadedModel, scores: torch.Tensor, found: str) -> list[str]:
    warnings = [model.wrapping] if model.wrapping else []
    if found != request.spec.outputs:
        warnings.append(f"The outputs look like {found}, but {request.spec.outputs} are declared.")
    if len(scores) > 1 and bool((scores == scores[0]).all()):
        warnings.append("The network returns the same scores for every image: are the weights trained and loaded?")
    if not request.spec.classes:
        warnings.append("No class names are given: outputs are numbered.")
    return warnings


def _first_predictions(
    spec: ModelSpec, rows: NDArray[np.intp], scores: torch.Tensor, found: str
) -> list[dict[str, Any]]:
    probabilities = scores if found == "probabilities" else scores.softmax(1)
    confidence, index = probabilities[:_SHOWN].max(1)
    names = spec.classes or tuple(str(i) for i in range(scores.shape[1]))
    guesses = zip(rows[:_SHOWN], index.tolist(), confidence.tolist(), strict=True)
    return [{"row": int(row), "class": names[i], "confidence": share} for row, i, share in guesses]


def _milliseconds(model: LoadedModel, images: torch.Tensor) -> float:
    """Fastest of a few passes, per image: the first ones still tune themselves."""
    seconds = []
    for _ in range(_TIMED_RUNS):
        began = time.perf_counter()
        model.raw(images)
        seconds.append(time.perf_counter() - began)
    return 1000 * min(seconds) / len(images)


def _compare(
    request: SmokeRequest, sample: _Sample, model: LoadedModel, scores: torch.Tensor, milliseconds: float
) -> dict[str, Any]:
    labels, claimed = sample.labels(), request.claimed_accuracy
    labelled = np.flatnonzero(labels != "")
    if not request.spec.classes or not len(labelled):
        return {"accuracy": None, "claimed": claimed, "agrees": None, "proposal": None, "tried": []}
    _check_names(labels[labelled].tolist(), request.spec)
    guesses = scores.argmax(1).numpy()[labelled]
    declared = count_right("as declared", request.spec, guesses, labels[labelled].tolist())
    agrees = None if claimed is None else declared.agrees_with(claimed)
    report: dict[str, Any] = {
        "accuracy": declared.as_json(),
        "claimed": claimed,
        "agrees": agrees,
        "proposal": None,
        "tried": [],
    }
    if agrees is False or _by_chance(declared):
        affordable = int(500 * request.search_seconds / milliseconds)
        rows = sample.spread(sample.rows[labelled], affordable)
        report |= _explain(request, sample, model, declared, rows, affordable // _VARIANTS)
    return report


def _explain(
    request: SmokeRequest, sample: _Sample, model: LoadedModel, declared: Tried, rows: NDArray[np.intp], few: int
) -> dict[str, Any]:
    """Half of the time for all variants on a `few` of `rows`, the other half for the best of them on all."""
    sample.use(sample.spread(rows, few))
    search = Search(
        request.spec,
        sample.labels().tolist(),
        request.dataset_classes,
        lambda steps: _scores(sample, model, steps),
        time.monotonic() + request.search_seconds / 2,
    )
    best = search.run()
    sample.use(rows)
    scores = _scores(sample, model, best.spec.preprocessing)
    if scores is not None:
        best = count_right(best.name, best.spec, scores.argmax(1), sample.labels().tolist())
    found = proposal(search, best, declared, request.claimed_accuracy)
    best_first = sorted(search.tried, key=lambda one: -one.correct)[:_TRIED_SHOWN]
    return {"proposal": found, "tried": [one.as_json() for one in best_first], "search_finished": search.finished}


def _normalisation(request: SmokeRequest, sample: _Sample, model: LoadedModel, report: dict[str, Any]) -> list[str]:
    """Whether another normalisation fits better, on a few labelled images, where no search has asked before.

    Not asked of a network that would take more than a fifth of the time for a search to look at them once.
    """
    slow = report["milliseconds"] * _FEWEST > 1000 * request.search_seconds / 5
    if not report.get("accuracy") or report["tried"] or slow:
        return []
    rows = np.flatnonzero(np.asarray(request.labels, dtype=object)[sample.rows] != "")
    sample.use(sample.spread(sample.rows[rows], _FEWEST))
    deadline = time.monotonic() + request.search_seconds / 5
    return doubts.of_normalisation(
        request.spec.preprocessing,
        lambda steps: doubts.count_right(_scores(sample, model, steps), request.spec.classes, sample.labels()),
        len(sample),
        lambda: time.monotonic() > deadline,
    )


def _by_chance(declared: Tried) -> bool:
    """Whether the accuracy is hardly better than guessing: then something is wrong, claimed or not."""
    return declared.interval[0] < 1.2 / len(declared.spec.classes)


def _check_names(labels: list[str], spec: ModelSpec) -> None:
    strangers = sorted(set(labels) - set(spec.classes))
    if len(strangers) == len(set(labels)):
        raise UserError(
            f"None of the sample's classes ({', '.join(strangers[:3])}, …) is a class of the model "
            f"({', '.join(spec.classes[:3])}, …). Give the model's classes the data set's names."
        )


def _scores(sample: _Sample, model: LoadedModel, steps: Preprocessing) -> NDArray[np.float32] | None:
    """Scores of one variant; None where images cannot be brought to size, or the network overflows."""
    try:
        scores: NDArray[np.float32] = model.raw(sample.inputs(steps))[0].numpy()
    except UserError:
        return None
    return scores if np.isfinite(scores).all() else None
