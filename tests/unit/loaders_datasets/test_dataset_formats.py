"""Data sets come in as users have them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from dataset_files import picture, write_folder, write_tar, write_zip
from dataset_import import Import

from app.errors import UserError


def csv_bytes(columns: dict) -> bytes:
    target = io.BytesIO()
    pacsv.write_csv(pa.table(columns), target)
    return target.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, row_group_size=3)
    return target.getvalue()


# Manifests


TABLE = {
    "path": ["images/a.png", "images/b.png", "images/c.png"],
    "label": ["cat", "dog", "cat"],
    "split": ["test", "train", "train"],
    "age": ["3", None, "12"],
    "code": ["007", "1", "2"],
    "weight": ["1.5", "2", None],
    "indoor": ["true", "false", "true"],
}
IMAGES = {f"images/{name}.png": picture(i) for i, name in enumerate("abc")}


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolon", "parquet", "utf-16"])
@pytest.mark.parametrize("container", ["folder", "zip", "tar", "beside"])
def test_a_manifest_beside_its_images(tmp_path: Path, run_import: Import, kind: str, container: str) -> None:
    text = csv_bytes(TABLE)
    name, table = {
        "csv": ("labels.csv", text),
        "tsv": ("labels.tsv", text.replace(b",", b"\t")),
        "semicolon": ("labels.csv", b"\xef\xbb\xbf" + text.replace(b",", b";")),
        "parquet": ("labels.parquet", parquet_bytes(pa.table(TABLE))),
        "utf-16": ("labels.csv", text.decode().encode("utf-16")),
    }[kind]
    if container == "beside":
        loose = tmp_path / name
        loose.write_bytes(table)
        done = run_import(write_zip(tmp_path / "images.zip", IMAGES), loose)
    else:
        files = {**IMAGES, name: table}
        writer = {"folder": write_folder, "zip": write_zip, "tar": write_tar}[container]
        done = run_import(writer(tmp_path / f"x.{container}", files))
    assert done.result.format == "manifest"
    assert done.labels == dict(zip(TABLE["path"], TABLE["label"], strict=True))
    assert done.splits == dict(zip(TABLE["path"], TABLE["split"], strict=True))
    assert done.result.meta_columns == ["age", "code", "weight", "indoor"]
    by_path = {row["path"]: row for row in done.rows}
    assert [by_path[path]["meta.code"] for path in TABLE["path"]] == TABLE["code"]
    if kind != "parquet":
        assert [by_path[path]["meta.age"] for path in TABLE["path"]] == [3, None, 12]
        assert [by_path[path]["meta.weight"] for path in TABLE["path"]] == [1.5, 2.0, None]
        assert [by_path[path]["meta.indoor"] for path in TABLE["path"]] == [True, False, True]


def test_names_without_folder_or_ending_are_found(tmp_path: Path, run_import: Import) -> None:
    table = csv_bytes({"image": ["a", "c"], "label": ["x", "y"]})
    done = run_import(write_zip(tmp_path / "x.zip", {**IMAGES, "meta/labels.csv": table}))
    assert done.labels == {"a": "x", "c": "y"}
    assert done.images.original(0) == IMAGES["images/a.png"]
    assert done.items["image_without_row"].examples == ["images/b.png"]


def test_chosen_columns_win(tmp_path: Path, run_import: Import) -> None:
    table = csv_bytes({"label": ["u", "v"], "photo": ["images/a.png", "images/b.png"], "species": ["cat", "dog"]})
    source = write_zip(tmp_path / "x.zip", {**IMAGES, "t.csv": table})
    done = run_import(source, columns={"path": "photo", "label": "species"})
    assert done.result.classes == ["cat", "dog"]
    assert done.result.meta_columns == ["label"]
    with pytest.raises(UserError, match="no column 'foto'; it has label, photo, species"):
        run_import(source, columns={"path": "foto"})


def test_a_table_per_split(tmp_path: Path, run_import: Import) -> None:
    tables = {
        "train.csv": csv_bytes({"path": ["images/a.png", "images/b.png"], "label": ["x", "y"]}),
        "test.csv": csv_bytes({"path": ["images/c.png"], "label": ["x"]}),
    }
    done = run_import(write_zip(tmp_path / "x.zip", {**IMAGES, **tables}))
    assert done.splits == {"images/a.png": "train", "images/b.png": "train", "images/c.png": "test"}
    assert "image_without_row" not in done.items


@pytest.mark.parametrize(
    "tables",
    [
        {"one.csv": b"path,label\nimages/a.png,x\n", "two.csv": b"path,class,n\nimages/b.png,x,1\n"},
        {"labels.csv": b"path,label\nimages/a.png,x\n", "labels backup.csv": b"path,label\nimages/a.png,x\n"},
        {"train.csv": b"path,label\nimages/a.png,x\n", "train old.csv": b"path,label\nimages/b.png,x\n"},
    ],
)
def test_tables_that_may_contradict_are_asked_about(tmp_path: Path, run_import: Import, tables: dict) -> None:
    with pytest.raises(UserError, match=r"several tables that may list the images.*Keep one, or name one per split"):
        run_import(write_zip(tmp_path / "x.zip", {**IMAGES, **tables}))


def test_numbered_parts_of_one_table(tmp_path: Path, run_import: Import) -> None:
    tables = {f"part-{i}.csv": f"path,label\nimages/{name}.png,x\n".encode() for i, name in enumerate("abc")}
    done = run_import(write_zip(tmp_path / "x.zip", {**IMAGES, **tables}))
    assert [row["path"] for row in done.rows] == list(IMAGES)


def test_a_row_without_its_image_is_set_aside(tmp_path: Path, run_import: Import) -> None:
    table = b"path,label\nimages/a.png,x\nimages/lost.png,y\n,z\nimages/b.png,\n"
    done = run_import(write_zip(tmp_path / "x.zip", {**IMAGES, "t.csv": table}))
    assert done.aside == {
        "images/lost.png": "No such file came with the table.",
        "row-2": "The row names no image.",
    }
    assert done.labels == {"images/a.png": "x", "images/b.png": None}
    assert done.items["unlabelled"].count == 1


def test_a_manifest_without_its_images_is_explained(tmp_path: Path, run_import: Import) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(b"path,label\nphotos/1.jpg,x\n")
    with pytest.raises(UserError, match=r"'photos/1\.jpg', and none of them came with it; no images lie beside it"):
        run_import(table)
    with pytest.raises(UserError, match=r"beside it lie 'images/a\.png'"):
        run_import(table, write_zip(tmp_path / "i.zip", IMAGES))


def test_numbers_as_labels_are_sorted_as_numbers(tmp_path: Path, run_import: Import) -> None:
    images = {f"{i}.png": picture(i) for i in range(12)}
    table = csv_bytes({"path": list(images), "label": [float(i) for i in range(12)]})
    source = write_zip(tmp_path / "x.zip", {**images, "t.csv": table})
    assert run_import(source).result.classes == [str(i) for i in range(12)]
    names = [f"class {i}" for i in range(12)]
    assert run_import(source, classes=names).labels["3.png"] == "class 3"


@pytest.mark.parametrize("given", ["list", "columns", "npy"])
def test_embeddings_without_images(tmp_path: Path, run_import: Import, given: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    table = pa.table(
        {"example_id": [f"e{i}" for i in range(6)], "label": list("abcabc"), "split": ["test", "train"] * 3}
    )
    files = {}
    if given == "list":
        kind = pa.list_(pa.float32())
        table = table.append_column("embedding", pa.array(vectors.tolist(), kind))
    elif given == "columns":
        for i in reversed(range(4)):
            table = table.append_column(f"emb_{i}", pa.array(vectors[:, i]))
    else:
        buffer = io.BytesIO()
        np.save(buffer, vectors.astype(np.float64))
        files["embeddings.npy"] = buffer.getvalue()
    done = run_import(write_zip(tmp_path / "x.zip", {"t.parquet": parquet_bytes(table), **files}))
    assert done.result.embedding_dim == 4
    assert done.embeddings.dtype == np.float32
    for row in done.rows:
        np.testing.assert_array_equal(done.embeddings[row["row"]], vectors[int(row["example_id"][1:])])
        assert (row["width"], row["height"]) == (0, 0)
        assert done.images.original(row["row"]) == done.images.thumbnail(row["row"]) == b""
    assert "near_constant" not in done.items


def test_embeddings_beside_images(tmp_path: Path, run_import: Import) -> None:
    table = pa.table(
        {"path": list(IMAGES), "label": ["x", "y", "x"], "embedding": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}
    )
    done = run_import(write_zip(tmp_path / "x.zip", {**IMAGES, "t.parquet": parquet_bytes(table)}))
    assert [row["path"] for row in done.rows] == ["images/a.png", "images/c.png", "images/b.png"]
    np.testing.assert_array_equal(done.embeddings, [[1, 2], [5, 6], [3, 4]])
    assert all(done.images.has_image(row) for row in range(3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 4)), "2 rows, the table at least 3"),
        (np.zeros((5, 4)), "5 rows, the table 3"),
        (np.zeros(3), "shape"),
        (np.zeros((3, 4), np.int64), "type int64"),
        (np.array([{"a": 1}], object), "pickled objects are not read"),
    ],
)
def test_arrays_that_do_not_fit_the_table(tmp_path: Path, run_import: Import, values: np.ndarray, message: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values)
    table = csv_bytes({"id": ["a", "b", "c"], "label": ["x", "y", "x"]})
    with pytest.raises(UserError, match=message):
        run_import(write_zip(tmp_path / "x.zip", {"t.csv": table, "embeddings.npy": buffer.getvalue()}))


def test_embeddings_that_are_not_numbers_or_too_short(tmp_path: Path, run_import: Import) -> None:
    vectors = [[1.0, 2.0], [1.0], None, [float("nan"), 1.0], [3.0, 4.0]]
    table = pa.table({"id": list("abcde"), "label": ["x"] * 5, "embedding": pa.array(vectors, pa.list_(pa.float64()))})
    source = tmp_path / "t.parquet"
    pq.write_table(table, source)
    done = run_import(source)
    assert done.aside == {
        "b": "The embedding has 1 numbers; others have 2.",
        "c": "The row has no embedding.",
        "d": "The embedding holds NaN or infinity.",
    }
    np.testing.assert_array_equal(done.embeddings, [[1, 2], [3, 4]])


def test_rows_alone_for_predictions(tmp_path: Path, run_import: Import) -> None:
    table = tmp_path / "rows.csv"
    table.write_bytes(b"path,label,site\na.jpg,cat,north\nb.jpg,dog,south\n")
    done = run_import(table, images="none")
    assert done.labels == {"a.jpg": "cat", "b.jpg": "dog"}
    assert done.result.embedding_dim is None
    assert not (done.folder / "embeddings.npy").exists()


# WebDataset and Parquet with bytes


def shard(start: int, count: int) -> dict[str, bytes]:
    files = {}
    for i in range(start, start + count):
        files[f"{i:06d}.jpg"] = picture(i, form="JPEG")
        files[f"{i:06d}.cls"] = str(i % 3).encode()
        files[f"{i:06d}.json"] = json.dumps({"camera": f"c{i}", "n": i, "tags": ["a", i]}).encode()
        files[f"{i:06d}.txt"] = f"caption {i} ü".encode()
    return files


def test_webdataset_shards(tmp_path: Path, run_import: Import) -> None:
    shards = [
        write_tar(tmp_path / "train-000.tar", shard(0, 4)),
        write_tar(tmp_path / "train-001.tar.gz", shard(4, 4), "w:gz"),
        write_tar(tmp_path / "val-000.tar", shard(8, 2)),
    ]
    done = run_import(*shards, classes=["ant", "bee", "cow"])
    assert done.result.format == "webdataset"
    assert [(split.name, split.rows) for split in done.result.splits] == [("train", 8), ("val", 2)]
    by_id = {row["example_id"]: row for row in done.rows}
    assert by_id["train-001/000005"]["meta.caption"] == "caption 5 ü"
    assert by_id["train-001/000005"]["meta.n"] == 5
    assert json.loads(by_id["val-000/000008"]["meta.tags"]) == ["a", 8]
    assert done.labels["train-001/000005.jpg"] == "cow"
    assert done.images.original(by_id["train-001/000005"]["row"]) == picture(5, form="JPEG")


def test_a_folder_of_shards_is_the_same_data(tmp_path: Path, run_import: Import) -> None:
    write_folder(tmp_path / "shards" / "x", {})
    (tmp_path / "shards").mkdir(exist_ok=True)
    paths = [write_tar(tmp_path / "shards" / f"test-{i}.tar", shard(i * 3, 3)) for i in range(2)]
    assert run_import(tmp_path / "shards").result.data_hash == run_import(*paths).result.data_hash


def test_labels_in_the_json(tmp_path: Path, run_import: Import) -> None:
    files = {}
    for i, (label, split) in enumerate([("cat", "test"), ("dog", "train")]):
        files[f"a/{i}.png"] = picture(i)
        files[f"a/{i}.json"] = json.dumps({"label": label, "split": split}).encode()
    files["a/2.png"], files["a/2.json"] = picture(2), b"{broken"
    done = run_import(write_tar(tmp_path / "x.tar", files))
    assert done.labels == {"a/0.png": "cat", "a/1.png": "dog"}
    assert done.splits == {"a/0.png": "test", "a/1.png": "train"}
    assert "JSON cannot be read" in done.aside["a/2.png"]


def hugging_face(labels: list[int], first: int = 0, names: tuple[str, ...] = ("cat", "dog", "emu")) -> pa.Table:
    images = [{"bytes": picture(first + i, form="JPEG"), "path": f"{i}.jpg"} for i in range(len(labels))]
    table = pa.table({"image": images, "label": labels, "source": [f"s{i}" for i in range(len(labels))]})
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_hugging_face_parquet(tmp_path: Path, run_import: Import) -> None:
    files = {
        "data/train-00000-of-00002.parquet": parquet_bytes(hugging_face([0, 1, 1, 0])),
        "data/train-00001-of-00002.parquet": parquet_bytes(hugging_face([1, 0], 10)),
        "data/test-00000-of-00001.parquet": parquet_bytes(hugging_face([1, -1], 20)),
        "README.md": b"---\nlicense: mit\n---",
    }
    done = run_import(write_folder(tmp_path / "hub", files))
    assert done.result.format == "parquet_images"
    assert done.result.classes == ["cat", "dog", "emu"]
    assert [(s.name, s.label_counts, s.unlabelled) for s in done.result.splits] == [
        ("train", [3, 3, 0], 0),
        ("test", [0, 1, 0], 1),
    ]
    assert done.items["empty_class"].examples == ["emu"]
    assert done.result.meta_columns == ["source"]
    assert len({row["example_id"] for row in done.rows}) == 8
    row = next(row for row in done.rows if row["split"] == "test" and row["label"] == 1)
    assert done.images.original(row["row"]) == picture(20, form="JPEG")


def test_plain_binary_and_split_columns(tmp_path: Path, run_import: Import) -> None:
    table = pa.table(
        {
            "image_bytes": [picture(1), picture(2), None],
            "label": ["x", "y", "y"],
            "split": ["test", "train", "train"],
            "id": ["one", "two", "three"],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    done = run_import(tmp_path / "t.parquet")
    assert [(row["example_id"], row["split"]) for row in done.rows] == [("two", "train"), ("one", "test")]
    assert list(done.aside.values()) == ["The row holds no image bytes."]


def test_classes_that_differ_between_files_are_refused(tmp_path: Path, run_import: Import) -> None:
    files = {
        "train-0.parquet": parquet_bytes(hugging_face([0])),
        "test-0.parquet": parquet_bytes(hugging_face([0], 1, ("dog", "cat"))),
    }
    with pytest.raises(UserError, match="name their classes differently"):
        run_import(write_folder(tmp_path / "hub", files))


# What fits nothing, and what fits twice


def test_a_source_of_two_formats_is_asked_about(tmp_path: Path, run_import: Import) -> None:
    files = {**IMAGES, "t.csv": csv_bytes(TABLE), "data.parquet": parquet_bytes(hugging_face([0, 1]))}
    source = write_folder(tmp_path / "both", files)
    with pytest.raises(UserError, match=r"parquet_images or manifest\. Choose the format"):
        run_import(source)
    assert run_import(source, format="manifest").result.rows == 3
    assert run_import(source, format="parquet_images").result.rows == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.md": b"hello"}, "holds no images; it holds 'notes.md'"),
        ({"t.csv": b"a,b\n1,2\n"}, "holds the table 't.csv', whose columns do not say"),
        ({".hidden": b"x"}, "holds no files"),
    ],
)
def test_what_fits_nothing_is_explained(tmp_path: Path, run_import: Import, files: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"{message}.*one folder of images per class"):
        run_import(write_folder(tmp_path / "x", files))
