"""Parts of a slice: made from fit rows and embeddings alone, complete, and told apart where clusters are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.audits.base import Inputs
from app.audits.slices.compute import find
from app.audits.slices.parts import LEAST_FIT, parts
from app.audits.slices.parts_schema import PartsAnswer, PartsPayload
from app.audits.slices.schema import Params
from tests.unit.audits.planted_inputs import after, as_inputs

EACH = 80


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """A class of three clusters far apart, and one of none."""
    generator = np.random.default_rng(3)
    centres = 4 * generator.normal(size=(3, 24))
    blobs = np.concatenate([centre + generator.normal(scale=0.3, size=(EACH, 24)) for centre in centres])
    embeddings = np.concatenate([blobs, generator.normal(size=(EACH, 24))])
    labels = np.repeat([0, 1], [3 * EACH, EACH])
    wrong = generator.random(len(labels)) < 0.3
    bare = as_inputs(embeddings, labels, wrong, generator, Params(permutations=2, methods=["confidence"]))
    return after(bare, "slices", find(bare), tmp_path_factory.mktemp("parts"))


def ask(inputs: Inputs, rows: np.ndarray) -> tuple[PartsAnswer, dict[int, np.ndarray]]:
    result = parts(inputs, PartsPayload(rows=rows.tolist(), finding_id=7))
    answer = PartsAnswer.model_validate(result.result)
    return answer, {k: np.asarray(result.arrays[f"labels_{k}"]) for k in answer.counts}


def fit_of(inputs: Inputs) -> np.ndarray:
    return np.load(Path(inputs.earlier["slices"]) / "fit.npy")


def test_the_clearest_split_is_that_of_the_clusters(inputs: Inputs) -> None:
    rows = np.arange(3 * EACH)
    answer, labels = ask(inputs, rows)
    assert (answer.best, answer.finding_id) == (3, 7)
    truth = np.repeat([0, 1, 2], EACH)
    assert {len(set(truth[labels[3] == part])) for part in range(3)} == {1}
    assert {len(set(labels[3][truth == blob])) for blob in range(3)} == {1}


def test_parts_hold_every_image_once_and_say_how_many_measure_them(inputs: Inputs) -> None:
    rows = np.arange(3 * EACH)
    answer, labels = ask(inputs, rows)
    fit = fit_of(inputs)
    for k, proposal in zip(answer.counts, answer.proposals, strict=True):
        sizes = [part.n for part in proposal.parts]
        assert sizes == np.bincount(labels[k], minlength=k).tolist() == sorted(sizes, reverse=True)
        assert sum(sizes) == len(rows)
        for number, part in enumerate(proposal.parts):
            members = rows[labels[k] == number]
            assert (part.fit, part.confirm) == (int(fit[members].sum()), int((~fit[members]).sum()))
            assert set(part.exemplars) <= set(members[fit[members]])


def test_outcomes_and_confirm_images_do_not_move_a_part(inputs: Inputs) -> None:
    """Other outcomes leave the split as it is; other embeddings of confirm rows leave the parts of fit rows."""
    rows, fit = np.arange(3 * EACH), fit_of(inputs)
    before = ask(inputs, rows)[1]
    assert inputs.audited.embeddings is not None
    moved = np.array(inputs.audited.embeddings)
    moved[~fit] = np.random.default_rng(1).normal(size=moved[~fit].shape)
    other = replace(inputs, audited=replace(inputs.audited, embeddings=moved, logits=-inputs.audited.logits))
    then = ask(other, rows)[1]
    inside = fit[rows]
    for k in before:
        assert len({*zip(before[k][inside].tolist(), then[k][inside].tolist(), strict=True)}) == k


def test_too_few_images_are_not_split(inputs: Inputs) -> None:
    few = np.flatnonzero(fit_of(inputs))[: 2 * LEAST_FIT - 1]
    with pytest.raises(ValueError, match="do not fall into parts"):
        ask(inputs, few)


def test_the_same_question_has_the_same_answer(inputs: Inputs) -> None:
    rows = np.arange(20, 3 * EACH)
    first, second = ask(inputs, rows), ask(inputs, rows)
    assert first[0] == second[0]
    assert all(np.array_equal(first[1][k], second[1][k]) for k in first[1])
