"""Real photographs, when the folder of real data is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_files import write_tar
from dataset_import import Import

from app.loaders.images import decode_rgb

DATA = Path(os.environ.get("FAULTLINE_REAL_DATA", ""))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not os.environ.get("FAULTLINE_REAL_DATA"),
        reason="SKIPPED, REAL DATA NOT TESTED: set FAULTLINE_REAL_DATA to the folder of real images",
    ),
]


def test_5096_photos_of_clothing(run_import: Import) -> None:
    done = run_import(DATA / "clothing_160.tar", DATA / "clothing.csv")
    assert (done.result.format, done.result.rows, len(done.result.classes)) == ("manifest", 5096, 17)
    counts = dict(zip(done.result.classes, done.result.splits[0].label_counts, strict=True))
    assert (counts["T-Shirt"], counts["Blouse"]) == (1011, 23)
    assert done.result.set_aside == 0
    assert done.items["image_without_row"].count == 660
    assert all(min(row["width"], row["height"]) > 0 for row in done.rows)
    assert decode_rgb(done.images.original(4000)).size == (done.rows[4000]["width"], done.rows[4000]["height"])


def test_the_same_photos_in_a_folder_with_a_truncated_one(tmp_path: Path, run_import: Import) -> None:
    shutil.unpack_archive(DATA / "clothing_160.tar", tmp_path / "photos", filter="data")
    lines = (DATA / "clothing.csv").read_text().splitlines()[:301]
    (tmp_path / "photos" / "labels.csv").write_text("\n".join(lines))
    first = tmp_path / "photos" / lines[1].split(",")[0]
    first.write_bytes(first.read_bytes()[:3000])
    done = run_import(tmp_path / "photos")
    assert done.result.rows == 299
    assert list(done.aside) == [first.name]
    assert "truncated" in done.aside[first.name]


def test_cifar_as_class_folders(tmp_path: Path, run_import: Import) -> None:
    packed = np.load(DATA / "cifar10_test_jpeg.npz")
    data, offsets, labels = packed["bytes"].tobytes(), packed["offsets"], packed["labels"]
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    files = {f"test/{names[labels[i]]}/{i:05d}.jpg": data[offsets[i] : offsets[i + 1]] for i in range(2000)}
    done = run_import(write_tar(tmp_path / "cifar.tar", files), model_classes=names)
    assert (done.result.classes, done.result.rows) == (names, 2000)
    assert done.result.splits[0].label_counts == np.bincount(labels[:2000]).tolist()
    assert {(row["width"], row["height"]) for row in done.rows} == {(32, 32)}
    assert done.items == {}
