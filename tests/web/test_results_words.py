"""Numbers in words, and cards on one scale."""

from __future__ import annotations

import pytest

from app.audits.pieces import Estimate, SliceCard, whisker_scale
from app.audits.slices import page_words as words
from app.audits.slices.schema import MistakenFor, Rate, SliceMetrics
from app.web.card import card
from tests.results_rows import rate

RATES = {"errors": rate(41, 61), "rest": rate(9, 100), "class_errors": rate(50, 161)}


def metrics(**fields: object) -> SliceMetrics:
    whole = {"p_value": 3e-14, "q_value": 0.0421, "prevalence": 0.38, "size": 120, **RATES, **fields}
    return SliceMetrics.model_validate(whole)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (0.674, "67"), (0.05, "5"), (0.042, "4.2"), (0.0996, "10"), (1.0, "100"), (0.004, "0.4")],
)
def test_percent(value: float, said: str) -> None:
    assert words.percent(value) == f"{said}\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "< 0.0001"), (9e-5, "< 0.0001"), (0.0023, "= 0.0023"), (0.042, "= 0.04"), (1.0, "= 1.00")]
)
def test_a_p_value_stands_after_its_letter(value: float, said: str) -> None:
    assert words.small(value) == said


def test_evidence_is_stated_with_its_counts() -> None:
    said = [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in words.evidence_words(metrics(), True)]
    assert said == [
        "On 61 confirm images the model is wrong on 41 of 61 (67 %, 95 % interval 55–78 %).",
        "In the rest of the class it is wrong on 9 of 100 (9 %, 95 % interval 5–16 %).",
        "Exact test p < 0.0001; corrected for all slices that were looked at, q = 0.04.",
    ]


def test_without_evidence_the_last_sentence_says_what_would_be_enough() -> None:
    said = words.evidence_words(metrics(missing="Ten more errors are needed."), False)
    assert said[-1] == "Not enough evidence. Ten more errors are needed."
    assert words.evidence_words(metrics(), False)[-1] == "Not enough evidence. The difference could be chance."


def test_a_note_names_what_it_is_taken_for() -> None:
    dog = MistakenFor(class_index=3, name="dog", n=30)
    assert words.note_words(metrics(mistaken_for=[dog]), True) == "Mostly taken for dog: 30 of its 41 errors."
    assert words.note_words(metrics(), True) == ""
    assert words.note_words(metrics(mistaken_for=[dog]), False).startswith("Not enough evidence.")


def test_nothing_found_is_a_result() -> None:
    said = words.looked_at_words(12, 0, 0.05, 4_000)
    assert said.startswith(
        "12 candidate slices were tested on 4,000 images that no step of the search saw. None holds."
    )
    assert "1 holds." in words.looked_at_words(12, 1, 0.05, 4_000)


@pytest.mark.parametrize(
    ("precision", "baseline", "said"),
    [
        (0.92, 0.41, "You can trust the top of the list. Listing the least confident images alone reaches 4.1."),
        (0.6, None, "Look at the images before you trust a slice."),
        (0.3, 0.35, "Treat each slice as a lead, not as a finding. Listing the least confident images alone does as"),
    ],
)
def test_trust_comes_from_planted_slices(precision: float, baseline: float | None, said: str) -> None:
    found = words.trust_words(precision, 12, baseline)
    assert found.startswith("We planted 12 slices in your own data.")
    assert said in found


def test_without_planted_slices_nothing_is_promised() -> None:
    assert "No slices were planted" in words.trust_words(None, 0, 0.4)


def a_card(value: float, high: float | None) -> SliceCard:
    return SliceCard(id=1, title="t", class_name="c", evidence="confirmed", error=Estimate(value=value, high=high, n=5))


def test_whiskers_share_a_scale_that_holds_the_highest() -> None:
    assert whisker_scale([a_card(0.2, 0.31), a_card(0.1, 0.2)]) == (0.0, 0.4)
    assert whisker_scale([a_card(0.9, 0.98)]) == (0.0, 1.0)
    assert whisker_scale([a_card(0.15, None)]) == (0.0, 0.2)
    unmeasured = a_card(0, 0).model_copy(update={"error": None})
    assert whisker_scale([unmeasured]) == (0.0, 1.0)
    assert whisker_scale([]) == (0.0, 1.0)


class Held:
    """A reader that holds one summary."""

    run_id = 1

    def __init__(self, found: dict[str, object]) -> None:
        self.found = found

    def summary(self, kind: str) -> dict[str, object]:
        return self.found if kind == "card" else {}


def calibrated(confidence: float) -> dict[str, object]:
    bins = [{"low": 0.5, "high": 1.0, "confidence": confidence, "accuracy": rate(80, 100)}]
    return {"accuracy": rate(80, 100), "calibration": {"ece": abs(confidence - 0.8), "n": 100, "bins": bins}}


@pytest.mark.parametrize(
    ("confidence", "said"),
    [
        (0.9, "On average it is 10 points more confident than it is right."),
        (0.81, "On average it is 1 point more confident than it is right."),
        (0.6, "On average it is 20 points less confident than it is right."),
        (0.8, "On average it is as right as it is confident."),
    ],
)
def test_calibration_in_words(confidence: float, said: str) -> None:
    found = card(Held(calibrated(confidence)))
    assert found is not None
    assert found.sentence == said
    assert found.accuracy == Estimate(**{name: rate(80, 100)[name] for name in ("value", "low", "high", "n")})


def test_a_run_whose_rows_have_no_labels_has_a_card_without_figures() -> None:
    found = card(Held({"rows": 5, "not_judged": 5}))
    assert found is not None
    assert (found.accuracy, found.error, found.bins, found.not_judged) == (None, None, [], 5)
    assert card(Held({})) is None


def test_rates_are_intervals_of_their_counts() -> None:
    assert Rate.model_validate(rate(0, 0)).high == 1.0
