"""The integrity report, the hash of the data, and the order of the rows."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_files import class_folders, encode, picture, write_folder, write_zip
from dataset_import import Import
from PIL import Image

from app.loaders.datasets import rows as rows_module
from app.loaders.datasets.ingest import ingest
from app.loaders.datasets.report import IntegrityReport, compare_classes


def recoded(data: bytes, form: str, **options: object) -> bytes:
    return encode(Image.open(io.BytesIO(data)), form, **options)


# Duplicates


def test_duplicates_within_and_across_splits_and_conflicting_labels(tmp_path: Path, run_import: Import) -> None:
    same, other = picture(1), picture(2)
    files = {
        **class_folders("train/", 3),
        **class_folders("test/", 3),
        "train/cat/copy a.png": same,
        "train/cat/copy b.png": same,
        "test/cat/copy c.bmp": recoded(same, "BMP"),
        "train/dog/wrong.png": other,
        "train/cat/right.webp": recoded(other, "WEBP", lossless=True),
    }
    done = run_import(write_zip(tmp_path / "x.zip", files))
    groups: dict[int, set[str]] = {}
    for row in done.rows:
        groups.setdefault(row["group"], set()).add(row["path"].split("/")[-1])
    assert sorted(len(paths) for paths in groups.values()) == [1] * 12 + [2, 3]
    assert {"copy a.png", "copy b.png", "copy c.bmp"} in groups.values()
    assert done.items["duplicates_across_splits"].count == 1
    assert done.items["duplicates_across_splits"].examples == [
        "train/cat/copy a.png (train, cat) = train/cat/copy b.png (train, cat) = test/cat/copy c.bmp (test, cat)"
    ]
    assert done.items["duplicates_within_split"].count == 2
    assert done.items["conflicting_labels"].count == 1
    assert "train/dog/wrong.png (train, dog)" in done.items["conflicting_labels"].examples[0]
    assert {done.items[kind].severity for kind in ("duplicates_across_splits", "conflicting_labels")} == {"warning"}


def test_different_images_are_no_duplicates(tmp_path: Path, run_import: Import) -> None:
    wide = Image.new("RGB", (20, 10), (90, 20, 10))
    files = {"cat/wide.png": encode(wide, "PNG"), "cat/tall.png": encode(wide.rotate(90, expand=True), "PNG")}
    done = run_import(write_folder(tmp_path / "x", files))
    assert len({row["group"] for row in done.rows}) == 2
    assert not [kind for kind in done.items if "duplicate" in kind]


def test_duplicates_among_embeddings(tmp_path: Path, run_import: Import) -> None:
    table = pa.table({"id": list("abc"), "label": list("xyx"), "embedding": [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]})
    pq.write_table(table, tmp_path / "t.parquet")
    done = run_import(tmp_path / "t.parquet")
    assert done.items["conflicting_labels"].examples == ["a (all, x) = b (all, y)"]


# Other items


def test_a_clean_data_set_has_no_item_but_its_size(tmp_path: Path, run_import: Import) -> None:
    done = run_import(write_zip(tmp_path / "x.zip", class_folders(per_class=3)))
    assert done.items.keys() == {"tiny_split"}
    large = run_import(write_zip(tmp_path / "y.zip", class_folders(per_class=50)))
    assert large.items == {}
    assert large.result.integrity.worst() is None


def test_classes_missing_in_one_split(tmp_path: Path, run_import: Import) -> None:
    files = {**class_folders("train/", classes=("cat", "dog", "emu")), **class_folders("test/", classes=("cat",))}
    done = run_import(write_zip(tmp_path / "x.zip", files))
    assert done.items["class_missing_in_split"].examples == ["dog (test)", "emu (test)"]
    assert [split.label_counts for split in done.result.splits] == [[2, 2, 2], [2, 0, 0]]


def test_near_constant_images(tmp_path: Path, run_import: Import) -> None:
    flat = Image.new("RGB", (30, 30), (200, 200, 200))
    faint = Image.fromarray(np.random.default_rng(0).integers(100, 104, (30, 30), np.uint8))
    files = {**class_folders(), "cat/flat.png": encode(flat, "PNG"), "dog/faint.png": encode(faint, "PNG")}
    done = run_import(write_zip(tmp_path / "x.zip", files))
    assert done.items["near_constant"].examples == ["cat/flat.png", "dog/faint.png"]


def test_unlabelled_rows(tmp_path: Path, run_import: Import) -> None:
    (tmp_path / "t.csv").write_text("id,label\na,x\nb,\nc,\n")
    done = run_import(tmp_path / "t.csv", images="none")
    assert (done.items["unlabelled"].severity, done.items["unlabelled"].count) == ("warning", 2)
    assert (done.result.splits[0].unlabelled, done.result.splits[0].label_counts) == (2, [1])
    (tmp_path / "t.csv").write_text("path\na.png\nb.png\n")
    done = run_import(tmp_path / "t.csv", images="none")
    assert (done.items["unlabelled"].severity, done.result.classes) == ("error", [])


def test_many_unreadable_files_are_an_error_and_come_first(tmp_path: Path, run_import: Import) -> None:
    files = {**class_folders(per_class=50), **{f"cat/bad{i}.png": b"" for i in range(10)}}
    done = run_import(write_folder(tmp_path / "x", files))
    first = done.result.integrity.items[0]
    assert (first.kind, first.severity, first.count) == ("unreadable", "error", 10)
    few = run_import(write_folder(tmp_path / "y", {**class_folders(per_class=50), "cat/bad.png": b""}))
    assert few.items["unreadable"].severity == "warning"


def test_the_report_on_disk_is_the_report(tmp_path: Path, run_import: Import) -> None:
    done = run_import(
        write_folder(tmp_path / "x", {**class_folders(), "cat/bad.png": b""}), model_classes=["cat", "eel"]
    )
    on_disk = IntegrityReport.model_validate_json((done.folder / "integrity.json").read_bytes())
    assert on_disk == done.result.integrity
    assert on_disk.items[0].kind == "class_unknown_to_model"
    assert on_disk.worst() == "error"


# Classes of a model


@pytest.mark.parametrize(
    ("dataset", "model", "mapping", "kinds"),
    [
        (["cat", "dog"], ["cat", "dog"], [0, 1], []),
        (["cat", "dog"], ["dog", "cat"], [1, 0], ["class_order"]),
        (["Golden Retriever", "T-Shirt"], ["t_shirt", "golden_retriever"], [1, 0], ["class_order"]),
        (["cat", "dog"], ["cat", "dog", "emu"], [0, 1], ["class_without_rows_in_dataset"]),
        (["cat", "dog"], ["cat"], [0, -1], ["class_unknown_to_model"]),
        (["cat", "dog"], ["eel", "fly"], [-1, -1], ["class_unknown_to_model", "class_without_rows_in_dataset"]),
        (["0", "1"], ["cat", "dog"], [0, 1], ["class_by_position"]),
        (["1", "0", "7"], ["cat", "dog"], [-1, -1, -1], ["class_unknown_to_model", "class_without_rows_in_dataset"]),
        (["cat"], ["Cat", "CAT"], [-1], ["class_unknown_to_model", "class_without_rows_in_dataset"]),
        (["CAT"], ["Cat", "CAT"], [1], ["class_without_rows_in_dataset"]),
        ([], ["cat"], [], ["class_without_rows_in_dataset"]),
    ],
)
def test_classes_are_compared(dataset: list[str], model: list[str], mapping: list[int], kinds: list[str]) -> None:
    found = compare_classes(dataset, model)
    assert found.mapping == mapping
    assert [item.kind for item in found.items] == kinds
    assert found.same_order is (mapping == list(range(len(model))))
    assert found.usable is any(index >= 0 for index in mapping)
    assert found.missing_in_model == [name for name, index in zip(dataset, mapping, strict=True) if index < 0]
    assert found.missing_in_dataset == [name for i, name in enumerate(model) if i not in mapping]


# Ids and hashes


def test_the_data_hash_is_that_of_the_sorted_rows(tmp_path: Path, run_import: Import) -> None:
    files = {**class_folders("train/"), **class_folders("test/")}
    done = run_import(write_zip(tmp_path / "x.zip", files))
    lines = [
        json.dumps([path, hashlib.sha256(data).hexdigest(), path.split("/")[1], path.split("/")[0]]) + "\n"
        for path, data in sorted(files.items())
    ]
    assert done.result.data_hash == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert {row["path"]: row["sha256"] for row in done.rows} == {
        p: hashlib.sha256(d).hexdigest() for p, d in files.items()
    }


def test_the_data_hash_depends_on_data_alone(tmp_path: Path, run_import: Import) -> None:
    files = class_folders(per_class=3)
    first = run_import(write_zip(tmp_path / "x.zip", files)).result.data_hash
    assert run_import(write_zip(tmp_path / "y.zip", dict(reversed(files.items())))).result.data_hash == first
    moved = {("dog/m.png" if path == "cat/0.png" else path): data for path, data in files.items()}
    changed = {**files, "cat/0.png": picture(99)}
    others = {run_import(write_zip(tmp_path / f"{i}.zip", f)).result.data_hash for i, f in enumerate((moved, changed))}
    assert len(others | {first}) == 3


def test_rows_that_share_a_path_are_told_apart_by_content(tmp_path: Path, run_import: Import) -> None:
    images = [{"bytes": picture(i // 2), "path": "same.png"} for i in range(4)]
    pq.write_table(pa.table({"image": images, "label": ["x"] * 4}), tmp_path / "t.parquet")
    ids = [row["example_id"] for row in run_import(tmp_path / "t.parquet").rows]
    short = [hashlib.sha256(picture(i)).hexdigest()[:12] for i in range(2)]
    assert ids == [f"same.png#{short[0]}", f"same.png#{short[0]}#2", f"same.png#{short[1]}", f"same.png#{short[1]}#2"]


def test_batches_of_rows_join_without_seams(
    tmp_path: Path, run_import: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batches of 3 rows and packs of 2 kilobytes the same data set comes out."""
    meta = {f"m{i % 4}": (i if i < 5 else float(i) if i < 8 else f"t{i}") for i in range(12)}
    files = {}
    for i in range(12):
        files[f"{i:02d}.png"] = picture(i)
        files[f"{i:02d}.json"] = json.dumps(
            {"label": f"c{i % 5}", "v": i if i < 6 else f"t{i}", f"m{i % 4}": i}
        ).encode()
    archive = write_zip(tmp_path / "x.zip", files)
    whole = run_import(archive)
    monkeypatch.setattr(rows_module, "_BATCH_ROWS", 3)
    monkeypatch.setattr("app.loaders.datasets.packs.PackWriter.__init__.__defaults__", (2048,))
    parts = run_import(archive)
    assert parts.result.packs > whole.result.packs == 2
    assert parts.result.data_hash == whole.result.data_hash
    assert parts.rows == whole.rows
    assert [parts.images.original(i) for i in range(12)] == [whole.images.original(i) for i in range(12)]
    assert [row["meta.v"] for row in sorted(parts.rows, key=lambda row: row["path"])][5:7] == ["5", "t6"]
    assert set(parts.result.meta_columns) == {"v", *meta}


def test_progress_is_told(tmp_path: Path, run_import: Import) -> None:
    done = run_import(write_zip(tmp_path / "x.zip", class_folders(per_class=110)))
    assert [news["done"] for news in done.progress] == [0, 200, 220]
    assert done.progress[1]["total"] == 220
    assert all(isinstance(news["message"], str) for news in done.progress)


def test_threads_change_nothing_and_end(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", class_folders(per_class=20))
    before = threading.active_count()
    results = []
    for threads in (1, 4):
        output = tmp_path / f"o{threads}"
        payload = {"sources": [{"path": str(archive), "name": "x.zip"}], "output": str(output), "threads": threads}
        result = ingest(payload, lambda news: None)
        results.append((result, (output / "manifest.parquet").read_bytes(), (output / "index.npy").read_bytes()))
    assert results[0] == results[1]
    assert threading.active_count() == before


def test_the_import_needs_no_torch() -> None:
    modules = "app.loaders.datasets.ingest, app.loaders.datasets.publish, app.loaders.uploads, app.store.images"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
