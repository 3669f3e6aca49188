"""Does the report of the demo name what was planted? Precision, rank and caption of every planted slice.

`python -m benchmarks.planted_captions [--keep FOLDER]` runs the stages on the demo's real files. A caption says the
same as the true one when, leaving the noun aside, its words are just one phrase for each planted factor, by the
phrases that the generator itself has for that value (`app.scenes.captions.WORDS`) or `SYNONYMS`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from app.audits.base import FindingDraft, Inputs
from app.audits.slices.caption import Captioner
from app.audits.slices.compute import find
from app.audits.slices.describe import describe
from app.audits.slices.rows import Rows, load
from app.audits.slices.schema import Params
from app.audits.slices.trust import trust
from app.scenes.captions import WORDS
from benchmarks.demo_inputs import DEMO, demo_inputs
from workers.stages import results

SYNONYMS = {"night": ("dark",), "snow": ("in falling snow",), "grass": ("in a field",)}
MOST = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder that keeps embeddings and outputs between calls")
    parser.add_argument("--permutations", type=int, default=20)
    args = parser.parse_args()
    inputs = demo_inputs(Params(methods=["direction", "confidence"], permutations=args.permutations), keep=args.keep)
    with tempfile.TemporaryDirectory() as folder:
        report(run(inputs, Path(folder)))


def run(inputs: Inputs, folder: Path) -> tuple[Inputs, list[FindingDraft]]:
    """Run the stages as a worker does; return the inputs of the last one and the findings."""
    for name, stage in (("slices", find), ("trust", trust)):
        (folder / name).mkdir()
        results.save(stage(inputs), folder / name)
        inputs = replace(inputs, earlier={**inputs.earlier, name: folder / name})
    return inputs, list(describe(inputs).findings)


def report(done: tuple[Inputs, list[FindingDraft]]) -> None:
    inputs, findings = done
    assert inputs.encode_text is not None
    rows = load(inputs, inputs.earlier["slices"])
    captioner = Captioner(rows, inputs.params, inputs.encode_text, inputs.encoder_words)
    hits = []
    for plant in json.loads((DEMO / "planted.json").read_text()):
        found, precision = best_finding(inputs, rows, findings, planted_rows(inputs, plant))
        metrics = found.metrics
        print(f"\n{plant['name']}: found as “{found.title}” ({found.evidence}, rank {found.rank + 1}, {found.key})")
        print(f"  P@10 {precision[0]:.2f}  P@25 {precision[1]:.2f}  q {metrics['q_value']:.2g}  ", end="")
        print(f"wrong on {metrics['errors']['k']} of {metrics['errors']['n']} confirm rows")
        assert found.rows is not None
        assert found.class_index is not None
        captions = captioner.describe(found.rows, found.class_index, MOST, varied=False)
        texts = [caption.text for caption in captions]
        same = [i + 1 for i, text in enumerate(texts) if says_same(text, plant)]
        exact = [i + 1 for i, text in enumerate(texts) if text.endswith(plant["caption"].split(" ", 1)[1])]
        print(f"  first captions: {', '.join(text.removeprefix('a photo of ') for text in texts[:3])}")
        print(f"  rank of the true caption {exact[:1]}, of one that says the same {same[:1]}, of {len(texts)} listed")
        hits.append(same[:1] == [1])
    print(f"\nnamed first, synonyms included: {sum(hits)} of {len(hits)}")


def planted_rows(inputs: Inputs, plant: Mapping[str, Any]) -> np.ndarray:
    """bool [n], rows of the audited split that belong to a planted group."""
    table = inputs.audited.manifest
    member = table["label"].to_numpy() == list(inputs.classes).index(plant["class"])
    for factor, value in plant["where"].items():
        member &= np.array(table[f"meta.{factor}"].to_pylist()) == value
    return np.asarray(member)


def says_same(text: str, plant: Mapping[str, Any]) -> bool:
    """Whether a caption has a phrase for each planted factor and is no longer than these and its noun."""
    rest = text.removeprefix("a photo of ").removeprefix("an ").removeprefix("a ")
    for factor, value in plant["where"].items():
        phrases = [*WORDS.get(factor, {}).get(value, (value,)), *SYNONYMS.get(value, ())]
        said = [phrase for phrase in phrases if f" {phrase} " in f" {rest} "]
        if not said:
            return False
        rest = f" {rest} ".replace(f" {max(said, key=len)} ", " ").strip()
    return rest == str(plant["class"])


def best_finding(
    inputs: Inputs, rows: Rows, findings: list[FindingDraft], planted: np.ndarray
) -> tuple[FindingDraft, tuple[float, float]]:
    """The finding whose direction ranks the planted confirm rows of its class best, by P@25 and then P@10."""
    index = int(rows.labels[planted][0])
    positions = rows.of_class(index)
    confirm = positions[~rows.fit[positions]]
    folder = inputs.earlier["slices"]
    keys = pq.read_table(folder / "candidates.parquet", columns=["key"])["key"].to_pylist()
    directions = dict(zip(keys, np.load(folder / "slice_directions.npy"), strict=True))
    features = rows.features(confirm).numpy()

    def precision(found: FindingDraft) -> tuple[float, float]:
        ranked = planted[confirm[np.argsort(-(features @ directions[found.key]), kind="stable")]]
        return float(ranked[:10].mean()), float(ranked[:25].mean())

    own = [f for f in findings if f.class_index == index and f.method == "direction"]
    best = max(own, key=lambda f: precision(f)[::-1])
    return best, precision(best)


if __name__ == "__main__":
    main()
