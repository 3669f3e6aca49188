"""How often is a failure named right that was planted at random? The rule that chooses captions, on other failures than
the demo's own.

`python -m benchmarks.caption_rules [--keep FOLDER] [--rounds 6]`: in each class of the demo's test split, images that
share one value of a factor, or two that one caption can name, are made to fail 70 % of the time, all other images 8 %.
Directions and captions are then found as in an audit. The four failures of the demo are never drawn, so
that the rule can be judged, and changed, without looking at them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from app.audits.base import Inputs
from app.audits.slices.caption import Captioner
from app.audits.slices.rows import load
from app.audits.slices.schema import Params
from app.scenes.spec import LEVELS
from benchmarks.demo_inputs import DEMO, demo_inputs
from benchmarks.planted_captions import MOST, best_finding, planted_rows, run, says_same

ADJECTIVES = ("object_colour", "size")
SETTINGS = ("setting", "light", "weather")
COMMON = ("clear",)
"""Values of nearly every image, which a caption need not name."""
SHARE = (0.05, 0.4)
FAILS, OTHERS = 0.7, 0.08


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder that keeps embeddings and outputs between calls")
    parser.add_argument("--rounds", type=int, default=6)
    args = parser.parse_args()
    params = Params(methods=["direction"], permutations=0, calibrate=False, compare_encoders=False)
    inputs = demo_inputs(params, keep=args.keep)
    results = [found for seed in range(args.rounds) for found in _round(inputs, seed)]
    for length in (1, 2):
        ranks = np.array([rank for plant, rank in results if len(plant["where"]) == length])
        firsts, early = (ranks == 1).sum(), (ranks <= 3).sum()
        print(f"{length} factor(s): named first {firsts}, among the first three {early}, of {len(ranks)}")


def _round(inputs: Inputs, seed: int) -> Iterator[tuple[Mapping[str, Any], float]]:
    """One planted failure a class, and the rank of the first caption that says the same (infinite where none does)."""
    plants = list(_drawn(inputs, np.random.default_rng([7, seed])))
    wrong = np.random.default_rng([8, seed])
    with tempfile.TemporaryDirectory() as folder:
        done, findings = run(_failing(inputs, plants, wrong), Path(folder))
        rows = load(done, done.earlier["slices"])
        assert done.encode_text is not None
        captioner = Captioner(rows, done.params, done.encode_text, done.encoder_words)
        for plant in plants:
            found, _ = best_finding(done, rows, findings, planted_rows(done, plant))
            assert found.rows is not None
            assert found.class_index is not None
            captions = captioner.describe(found.rows, found.class_index, MOST, varied=False)
            same = [i + 1.0 for i, caption in enumerate(captions) if says_same(caption.text, plant)]
            print(f"  {plant['class']} {dict(plant['where'])}: {captions[0].text if captions else '—'} {same[:1]}")
            yield plant, min(same, default=np.inf)


def _drawn(inputs: Inputs, generator: np.random.Generator) -> Iterator[Mapping[str, Any]]:
    planted = [(p["class"], p["where"]) for p in json.loads((DEMO / "planted.json").read_text())]
    labels = inputs.audited.manifest["label"].to_numpy()
    for index, name in enumerate(inputs.classes):
        while True:
            plant = {"class": name, "where": _conjunction(generator)}
            share = planted_rows(inputs, plant).sum() / (labels == index).sum()
            if (name, plant["where"]) not in planted and SHARE[0] <= share <= SHARE[1]:
                yield plant
                break


def _conjunction(generator: np.random.Generator) -> dict[str, str]:
    slots = [(ADJECTIVES,), (SETTINGS,), (ADJECTIVES, SETTINGS)][int(generator.integers(3))]
    factors = [str(generator.choice(slot)) for slot in slots]
    values = {f: [v for v in LEVELS[f.removeprefix("object_")] if v not in COMMON] for f in factors}
    return {factor: str(generator.choice(known)) for factor, known in values.items()}


def _failing(inputs: Inputs, plants: list[Mapping[str, Any]], generator: np.random.Generator) -> Inputs:
    labels = inputs.audited.manifest["label"].to_numpy()
    chance = np.full(len(labels), OTHERS)
    for plant in plants:
        chance[planted_rows(inputs, plant)] = FAILS
    wrong = generator.random(len(labels)) < chance
    logits = np.zeros((len(labels), len(inputs.classes)), np.float32)
    logits[np.arange(len(labels)), np.where(wrong, (labels + 1) % len(inputs.classes), labels)] = 5.0
    return replace(inputs, audited=replace(inputs.audited, logits=logits), earlier={})


if __name__ == "__main__":
    main()
