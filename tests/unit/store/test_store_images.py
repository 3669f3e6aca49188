"""Images of a data set are read by row, and packed for a shard."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from app.errors import NotFound
from app.store.blobs import BlobStore
from app.store.images import DatasetImages

FILES = [b"first", b"second image", b"", b"the fourth"]
THUMBNAILS = [b"t0", b"t1", b"", b"t3"]


@pytest.fixture
def images(blobs: BlobStore, tmp_path: Path) -> DatasetImages:
    """Four rows; originals in two packs, thumbnails in a third; the third row has no image."""
    packs = [[FILES[1], FILES[0]], THUMBNAILS, [FILES[3]]]
    hashes = [blobs.put(pack).sha256 for pack in packs]
    index = [[0, 12, 5, 1, 0, 2], [0, 0, 12, 1, 2, 2], [0, 0, 0, 0, 0, 0], [2, 0, 10, 1, 4, 2]]
    np.save(tmp_path / "index.npy", np.array(index, np.uint64))
    (tmp_path / "packs.json").write_text(json.dumps(hashes))
    return DatasetImages(tmp_path, blobs)


def test_rows_are_read_one_by_one(images: DatasetImages) -> None:
    assert [images.original(row) for row in range(4)] == FILES
    assert [images.thumbnail(row) for row in range(4)] == THUMBNAILS
    assert [images.has_image(row) for row in range(len(images))] == [True, True, False, True]
    assert list(images.rows(1, 3)) == FILES[1:3]


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 3), (2, 3), (2, 2)])
def test_a_shard_is_packed(images: DatasetImages, tmp_path: Path, start: int, stop: int) -> None:
    packed, offsets_path = images.pack_rows(start, stop, tmp_path)
    offsets = np.load(offsets_path)
    data = packed.read_bytes()
    assert offsets.dtype == np.uint64
    assert offsets.shape == (stop - start + 1,)
    assert [data[a:b] for a, b in pairwise(offsets)] == FILES[start:stop]
    assert (packed.name, offsets_path.name) == ("images.bin", "offsets.npy")


@pytest.mark.parametrize("row", [-1, 4])
def test_a_row_outside_the_data_set(images: DatasetImages, row: int) -> None:
    with pytest.raises(NotFound, match="4 rows"):
        images.original(row)
