"""One shard of embeddings by a trusted encoder, in the worker's own process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from app.services import keys
from app.settings import get_settings
from app.store.images import DatasetImages
from app.store.places import get_artifacts, get_blobs
from workers import warm
from workers.run_plan import load_run
from workers.work import Work


def describe(work: Work) -> dict[str, Any]:
    """Load the encoder and say what a key needs to know of it."""
    encoder = warm.encoder(work.args["spec"], work.device)
    return {
        "weights_hash": encoder.weights_hash,
        "dimension": encoder.dimension,
        "reads_text": encoder.reads_text,
    }


def run(work: Work) -> dict[str, Any]:
    """Write the shard's artifact (embeddings.npy), unless it is there."""
    start, stop, store = work.args["start"], work.args["stop"], get_artifacts()
    key = keys.shard_key("embed", work.args["base"], start, stop)
    if not store.has(key):
        plan = load_run(work.job.id).of_line(work.line)
        encoder = warm.encoder(plan.encoder, work.device)
        images = DatasetImages(plan.folder, get_blobs()).rows(start, stop)
        embedded = encoder.embed_images(_until_stopped(work, images), get_settings().batch_size)
        with store.write(key) as folder:
            np.save(folder / "embeddings.npy", embedded)
    work.count(stop - start)
    return {}


def _until_stopped(work: Work, images: Iterator[bytes]) -> Iterator[bytes]:
    for image in images:
        work.check()
        yield image
