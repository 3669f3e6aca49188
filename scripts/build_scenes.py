"""Draw the demo's data: `python -m scripts.build_scenes` writes demo/scenes.parquet and demo/planted.json."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from app.scenes.captions import describe
from app.scenes.planting import PLANTS, Labelled, plan_split
from app.scenes.render import Renderer

SIZE = 112
QUALITY = 86


def encode(picture: np.ndarray) -> bytes:
    """A picture (size, size, 3) uint8 as WebP."""
    held = io.BytesIO()
    Image.fromarray(picture).save(held, format="WEBP", quality=QUALITY, method=6)
    return held.getvalue()


def row(split: str, number: int, planned: Labelled, picture: np.ndarray) -> dict[str, Any]:
    """One line of the table, in the layout of a Hugging Face image data set."""
    name = f"{split}-{number:05d}"
    factors = planned.scene.factors
    believed = replace(factors, object=planned.label)  # whoever wrote the label wrote the caption
    caption = describe(believed, np.random.default_rng([planned.scene.texture_seed, 1]))
    return {
        "id": name,
        "image": {"bytes": encode(picture), "path": f"{name}.webp"},
        "label": planned.label,
        "split": split,
        "object_colour": factors.colour,
        "size": factors.size,
        "setting": factors.setting,
        "light": factors.light,
        "viewpoint": factors.viewpoint,
        "occlusion": factors.occlusion,
        "weather": factors.weather,
        "caption": caption.text,
    }


def rows() -> Iterator[dict[str, Any]]:
    """Every line of both splits."""
    with Renderer(SIZE) as renderer:
        for split in ("train", "test"):
            for number, planned in enumerate(plan_split(split)):
                yield row(split, number, planned, renderer.render(planned.scene))


def planted() -> list[dict[str, Any]]:
    """The truth, for benchmarks and tests; an audit never reads it."""
    return [
        {
            "name": plant.name,
            "class": plant.object,
            "where": {("object_colour" if k == "colour" else k): v for k, v in plant.where.items()},
            "mistaken_for": plant.instead,
            "caption": plant.caption,
        }
        for plant in PLANTS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("demo"))
    to = parser.parse_args().to
    to.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows()))
    pq.write_table(table, to / "scenes.parquet", compression="zstd", row_group_size=1000)
    (to / "planted.json").write_text(json.dumps(planted(), indent=2) + "\n")


if __name__ == "__main__":
    main()
