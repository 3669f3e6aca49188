"""The rows of an imaginary audited split, and all that an audit would count from them.

A scene has a class, a colour and a setting; the imaginary model fails on planted pairs. Every rate, p-value and
interval is counted from the rows, so that a page that shows a wrong number can be caught.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.numerics.intervals import wilson_interval
from app.numerics.significance import benjamini_hochberg, slice_excess_p_value

CLASSES = ["boat", "car", "cat", "dog", "house"]
COLOURS = ["white", "black", "red", "blue"]
SETTINGS = ["grass", "snow", "sand", "night", "indoors"]
PLANTED = {("cat", "white", "grass"): 0.68, ("car", None, "night"): 0.55, ("dog", "black", "indoors"): 0.5}
CONFUSED = {"cat": "dog", "dog": "cat", "car": "boat", "boat": "car", "house": "boat"}
BASE_ERROR = 0.07


@dataclass
class Rows:
    """The audited split, row by row; arrays of shape [n]."""

    label: np.ndarray
    colour: np.ndarray
    setting: np.ndarray
    wrong: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray
    p_true: np.ndarray
    decision: np.ndarray
    confirm: np.ndarray
    logits: np.ndarray
    xy: np.ndarray
    slices: list[list[str]] = field(default_factory=list)

    def where(self, class_index: int, colour: str | None = None, setting: str | None = None) -> np.ndarray:
        """Bool [n]: the rows of a class with a colour and a setting."""
        mask = self.label == class_index
        if colour:
            mask &= self.colour == COLOURS.index(colour)
        if setting:
            mask &= self.setting == SETTINGS.index(setting)
        return np.asarray(mask)


def rate(k: int, n: int) -> dict[str, Any]:
    """A proportion as the pages get it."""
    low, high = wilson_interval(k, n)
    return {"k": int(k), "n": int(n), "value": k / n if n else 0.0, "low": float(low), "high": float(high)}


def draw_rows(rng: np.random.Generator, per_class: int) -> Rows:
    """Draw scenes, failures and scores."""
    n = per_class * len(CLASSES)
    label = rng.permutation(np.repeat(np.arange(len(CLASSES)), per_class))
    colour, setting = rng.integers(len(COLOURS), size=n), rng.integers(len(SETTINGS), size=n)
    more = (label == 2) & (rng.random(n) < 0.16)
    colour[more], setting[more] = 0, 0
    chance = np.full(n, BASE_ERROR)
    rows = Rows(label, colour, setting, *[np.zeros(n)] * 8)  # type: ignore[arg-type]
    for (name, hue, place), error in PLANTED.items():
        chance[rows.where(CLASSES.index(name), hue, place)] = error
    rows.wrong = rng.random(n) < chance
    usual = np.array([CLASSES.index(CONFUSED[name]) for name in CLASSES])[label]
    other = (label + rng.integers(1, len(CLASSES), size=n)) % len(CLASSES)
    rows.prediction = np.where(rows.wrong, np.where(rng.random(n) < 0.75, usual, other), label)
    rows.decision = 1.6 - 3.4 * (chance > BASE_ERROR) + rng.normal(0, 0.8, n)
    rows.logits = rng.normal(0, 0.6, (n, len(CLASSES))).astype(np.float32)
    rows.logits[np.arange(n), label] = 2.2 + np.clip(rows.decision, -1, 2)
    rows.logits[np.arange(n), rows.prediction] = rows.logits.max(1) + rng.gamma(2, 0.4, n)
    probabilities = np.exp(rows.logits) / np.exp(rows.logits).sum(1, keepdims=True)
    rows.confidence, rows.p_true = probabilities.max(1), probabilities[np.arange(n), label]
    rows.confirm = rng.random(n) < 0.5
    centre = np.stack([np.cos(label * 1.257), np.sin(label * 1.257)], 1) * 6
    offset = np.stack([np.cos(setting * 1.9), np.sin(setting * 1.9)], 1) * 1.7
    rows.xy = (centre + offset + rng.normal(0, 0.55, (n, 2))).astype(np.float32)
    return rows


def slice_drafts(rows: Rows) -> list[dict[str, Any]]:
    """The slices that an audit of these rows would report, with counted statistics."""
    wanted = [
        ("direction-cat-0", "direction", "cat", "a photo of a white cat on grass", rows.where(2, "white", "grass")),
        ("direction-car-0", "direction", "car", "a photo of a car at night", rows.where(1, None, "night")),
        ("direction-dog-0", "direction", "dog", "a photo of a black dog indoors", rows.where(3, "black", "indoors")),
        ("mixture-boat-0", "mixture", "boat", "a photo of a red boat on snow", rows.where(0, "red", "snow")),
        ("confidence-cat-0", "confidence", "cat", "least confident cat images", rows.where(2) & (rows.p_true < 0.5)),
    ]
    drafts = [_draft(rows, *entry) for entry in wanted]
    q_values = benjamini_hochberg([d["metrics"]["p_value"] for d in drafts])
    for rank, (draft, q) in enumerate(zip(drafts, q_values, strict=True)):
        errors = draft["metrics"]["errors"]["k"]
        enough = q <= 0.05 and errors >= 10
        draft |= {"rank": rank, "evidence": "confirmed" if enough else "insufficient"}
        draft["metrics"]["q_value"] = float(q)
        if not enough:
            draft["metrics"]["missing"] = (
                f"{errors} errors on confirm rows; at least 10 are needed, "
                f"or about {max(40 - errors, 10)} more images like these."
            )
    return drafts


def _draft(rows: Rows, key: str, method: str, name: str, title: str, member: np.ndarray) -> dict[str, Any]:
    c = CLASSES.index(name)
    of_class, inside = (rows.label == c) & rows.confirm, member & rows.confirm
    k, n = int((rows.wrong & inside).sum()), int(inside.sum())
    bad, total = int((rows.wrong & of_class).sum()), int(of_class.sum())
    by_decision = np.argsort(rows.decision, kind="stable")
    names, counts = np.unique(rows.prediction[inside & rows.wrong], return_counts=True)
    metrics = {
        "errors": rate(k, n),
        "rest": rate(bad - k, total - n),
        "class_errors": rate(bad, total),
        "p_value": float(slice_excess_p_value(k, n, bad, total)),
        "q_value": 1.0,
        "prevalence": n / total,
        "size": int(member.sum()),
        "missing": "",
        "mistaken_for": sorted(
            ({"class_index": int(i), "name": CLASSES[i], "n": int(m)} for i, m in zip(names, counts, strict=True)),
            key=lambda entry: -entry["n"],
        ),
        "hard_rows": [int(i) for i in by_decision if inside[i]][:60],
        "easy_rows": [int(i) for i in by_decision[::-1] if rows.label[i] == c and rows.confirm[i]][:60],
        "captions": [caption(rows, c, title, member), caption(rows, c, f"a photo of a small {name}", rows.where(c))],
        "causes": [
            {
                "type": "rare in training",
                "value": 0.012,
                "n": 4,
                "sentence": "4 of 332 training images of the class are like these (1.2 %).",
            },
            {"type": "label noise", "value": 0.02, "n": n, "sentence": "2 % of the confirm images look mislabelled."},
        ],
    }
    return {
        "key": key,
        "method": method,
        "title": title,
        "class_index": c,
        "metrics": metrics,
        "members": set(np.flatnonzero(member).tolist()),
    }


def caption(rows: Rows, c: int, text: str, match: np.ndarray) -> dict[str, Any]:
    """A caption with the error rate of the confirm rows of the class that match it best."""
    rng = np.random.default_rng(len(text))
    candidates = np.flatnonzero((rows.label == c) & rows.confirm)
    order = candidates[np.argsort(-(match[candidates] + rng.normal(0, 0.2, len(candidates))), kind="stable")]
    top = {k: rate(int(rows.wrong[order[:k]].sum()), len(order[:k])) for k in (20, 50, 100)}
    return {"text": text, "z": float(2 + 2 * top[20]["value"]), "facet": "setting", "top": top}


def summary(rows: Rows, drafts: list[dict[str, Any]]) -> dict[str, Any]:
    """`run.summary`."""
    classes = [_class_summary(rows, drafts, c) for c in range(len(CLASSES))]
    confirmed = sum(d["evidence"] == "confirmed" for d in drafts)
    planted = {"precision_at_25": 0.71, "average_precision": 0.66, "planted": 12, "note": ""}
    methods = [
        {"method": "direction", "candidates": 3, "confirmed": 2, "precision_at_10": 0.92, **planted},
        {"method": "mixture", "candidates": 1, "confirmed": 0, "precision_at_10": 0.63, **planted},
        {"method": "confidence", "candidates": 1, "confirmed": confirmed - 2, "precision_at_10": 0.41, **planted},
    ]
    slices = {
        "fit_rows": int((~rows.confirm).sum()),
        "confirm_rows": int(rows.confirm.sum()),
        "fdr": 0.05,
        "min_errors": 10,
        "candidates": len(drafts),
        "confirmed": confirmed,
        "classes": classes,
        "methods": methods,
        "encoders": [
            {"encoder": "scenes", "strength": 0.78, "classes": 5},
            {"encoder": "penultimate", "strength": 0.69, "classes": 5},
        ],
        "captions_available": True,
        "caption_bank": 480,
        "map_points": len(rows.label),
        "map_left_out": 0,
        "map_trustworthiness": 0.94,
        "notes": [],
    }
    return {"slices": slices, "card": card(rows)}


def card(rows: Rows) -> dict[str, Any]:
    """Accuracy and calibration over the audited split."""
    right = int((~rows.wrong).sum())
    edges = np.linspace(0, 1, 11)
    place = np.clip(np.digitize(rows.confidence, edges) - 1, 0, 9)
    bins = [
        {
            "low": float(edges[b]),
            "high": float(edges[b + 1]),
            "confidence": float(rows.confidence[place == b].mean()),
            "accuracy": rate(int((~rows.wrong[place == b]).sum()), int((place == b).sum())),
        }
        for b in range(10)
        if (place == b).any()
    ]
    n = len(rows.label)
    error = sum(b["accuracy"]["n"] / n * abs(b["accuracy"]["value"] - b["confidence"]) for b in bins)
    return {"accuracy": rate(right, n), "calibration": {"ece": error, "n": n, "bins": bins}}


def _class_summary(rows: Rows, drafts: list[dict[str, Any]], c: int) -> dict[str, Any]:
    of_class = rows.label == c
    keys = [d["key"] for d in drafts if d["class_index"] == c]
    hard = [d["metrics"]["captions"][0] for d in drafts if d["class_index"] == c][:1]
    strength = (0.58, 0.81, 0.86, 0.71, 0.52)[c]
    return {
        "index": c,
        "name": CLASSES[c],
        "n": int(of_class.sum()),
        "errors": rate(int(rows.wrong[of_class].sum()), int(of_class.sum())),
        "fitted": True,
        "reason": "",
        "strength": strength,
        "strength_null_95": 0.62,
        "strength_p": 0.0099 if strength > 0.62 else 0.4,
        "chosen_c": 0.001,
        "slices": keys,
        "hard_captions": hard,
        "easy_captions": [caption(rows, c, f"a photo of a {CLASSES[c]} on sand", rows.where(c, None, "sand"))],
    }


def hypothesis_answer(rows: Rows, c: int, member: np.ndarray, sentence: str) -> dict[str, Any]:
    """What a worker answers: error rates in and out of a group on the class's confirm rows."""
    pool = (rows.label == c) & rows.confirm
    inside, outside = pool & member, pool & ~member
    counts = [int(v.sum()) for v in (rows.wrong & inside, inside, rows.wrong & pool, pool)]
    return {
        "inside": rate(counts[0], counts[1]),
        "outside": rate(int((rows.wrong & outside).sum()), int(outside.sum())),
        "p_value": float(slice_excess_p_value(*counts)),
        "rows": [int(i) for i in np.flatnonzero(inside)[:60]],
        "overlap": [{"key": "direction-cat-0", "title": "a photo of a white cat on grass", "share": 0.41}],
        "sentence": sentence,
    }
