"""Numbers of slices in plain sentences; every one says how many images it rests on."""

from __future__ import annotations

from app.audits.slices.schema import Rate, SliceMetrics

METHOD_NAMES = {
    "direction": "Directions",
    "mixture": "Mixture",
    "confidence": "Least confident",
    "cells": "Map cells",
    "metadata": "Metadata",
}


def percent(value: float) -> str:
    """`0.674` → `67 %`; below 10 % with one decimal where it says more."""
    shown = f"{100 * value:.1f}" if value < 0.0995 else f"{100 * value:.0f}"
    return f"{shown.removesuffix('.0')}\N{NO-BREAK SPACE}%"


def small(value: float) -> str:
    """A p-value after its letter: `= 0.032`, or `< 0.0001`; the exact value is in the page's JSON."""
    if value < 0.0001:
        return "< 0.0001"
    return f"= {value:.4f}" if value < 0.01 else f"= {value:.2f}"


def rate_words(rate: Rate) -> str:
    """`22 of 26 (85 %, 95 % interval 66–94 %)`."""
    return (
        f"{rate.k:,} of {rate.n:,} ({percent(rate.value)}, 95\N{NO-BREAK SPACE}% interval "
        f"{rate.low * 100:.0f}–{rate.high * 100:.0f}\N{NO-BREAK SPACE}%)"
    )


def evidence_words(metrics: SliceMetrics, confirmed: bool) -> list[str]:
    """What the confirm images say of a slice, one fact a sentence."""
    said = [
        f"On {metrics.errors.n:,} confirm images the model is wrong on {rate_words(metrics.errors)}.",
        f"In the rest of the class it is wrong on {rate_words(metrics.rest)}.",
        f"Exact test p {small(metrics.p_value)}; corrected for all slices that were looked at, "
        f"q {small(metrics.q_value)}.",
    ]
    return said if confirmed else [*said, missing_words(metrics)]


def missing_words(metrics: SliceMetrics) -> str:
    """What would be enough evidence."""
    return f"Not enough evidence. {metrics.missing or 'The difference could be chance.'}"


def note_words(metrics: SliceMetrics, confirmed: bool) -> str:
    """The one sentence below a card's numbers."""
    if not confirmed:
        return missing_words(metrics)
    if not metrics.mistaken_for:
        return ""
    most = metrics.mistaken_for[0]
    return f"Mostly taken for {most.name}: {most.n:,} of its {metrics.errors.k:,} errors."


def looked_at_words(candidates: int, confirmed: int, fdr: float, confirm_rows: int) -> str:
    """How many slices were looked at and how many stand, with the false-discovery rate in words."""
    start = f"{candidates:,} candidate slices were tested on {confirm_rows:,} images that no step of the search saw."
    if not confirmed:
        return f"{start} None holds. That is a result: no group of images fails more than chance explains."
    share = f"Of slices confirmed this way, at most {percent(fdr)} are expected to be chance"
    return f"{start} {confirmed:,} {'holds' if confirmed == 1 else 'hold'}. {share}."


def trust_words(precision: float | None, planted: int, baseline: float | None) -> str:
    """How far to trust the list, from the slices that were planted in the user's own data."""
    if precision is None or not planted:
        return "No slices were planted in this run, so nothing says how well these methods find one in your data."
    found = f"We planted {planted:,} slices in your own data. Of the first 10 images that the best method listed, "
    found += f"{10 * precision:.1f} truly belonged to the planted slice. "
    return found + _advice(precision) + _against(precision, baseline)


def _advice(precision: float) -> str:
    if precision >= 0.8:
        return "You can trust the top of the list."
    if precision >= 0.5:
        return "Look at the images before you trust a slice."
    return "Treat each slice as a lead, not as a finding."


def _against(precision: float, baseline: float | None) -> str:
    if baseline is None:
        return ""
    if precision > baseline:
        return f" Listing the least confident images alone reaches {10 * baseline:.1f}."
    return f" Listing the least confident images alone does as well ({10 * baseline:.1f}): start there."
