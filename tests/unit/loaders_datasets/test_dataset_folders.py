"""Folders and archives of class folders come in as users have them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from dataset_files import class_folders, picture, write_folder, write_tar, write_zip
from dataset_import import Import

from app.errors import UserError


def test_a_folder_of_class_folders(tmp_path: Path, run_import: Import) -> None:
    files = class_folders()
    done = run_import(write_folder(tmp_path / "pets", files))
    assert done.result.format == "class_folders"
    assert done.result.classes == ["cat", "dog"]
    assert done.labels == {path: path.split("/")[0] for path in files}
    assert [done.images.original(row["row"]) for row in done.rows] == [files[row["path"]] for row in done.rows]
    assert [row["row"] for row in done.rows] == [0, 1, 2, 3]
    assert {row["example_id"] for row in done.rows} == files.keys()


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
@pytest.mark.parametrize("prefix", ["", "top/", "top/deeper/"])
def test_archives_of_class_folders_are_the_same_data(
    tmp_path: Path, run_import: Import, ending: str, prefix: str
) -> None:
    plain = run_import(write_folder(tmp_path / "plain", class_folders()))
    files = {f"{prefix}{path}": data for path, data in class_folders().items()}
    archive = tmp_path / f"pets.{ending}"
    if ending == "zip":
        write_zip(archive, files)
    elif ending == "tar.zst":
        tar = write_tar(tmp_path / "plain.tar", files).read_bytes()
        with pa.output_stream(str(archive), compression="zstd") as stream:
            stream.write(tar)
    else:
        write_tar(archive, files, {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}[ending])
    done = run_import(archive)
    assert done.result.classes == plain.result.classes
    assert {(path.removeprefix(prefix), label) for path, label in done.labels.items()} == set(plain.labels.items())
    assert (done.result.data_hash == plain.result.data_hash) is (prefix == "")


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "Test"), ("train", "dev")])
def test_split_folders(tmp_path: Path, run_import: Import, names: tuple[str, ...]) -> None:
    files = {path: data for name in names for path, data in class_folders(f"data/{name}/").items()}
    done = run_import(write_zip(tmp_path / "x.zip", files))
    assert [split.name for split in done.result.splits] == list(names)
    assert done.result.classes == ["cat", "dog"]
    assert done.splits == {path: path.split("/")[1] for path in files}


def test_splits_are_ranges_of_rows_sorted_by_label(tmp_path: Path, run_import: Import) -> None:
    files = {**class_folders("test/", 3), **class_folders("train/", 5), **class_folders("extra train/", 0)}
    done = run_import(write_zip(tmp_path / "x.zip", files))
    assert [(split.name, split.start, split.stop) for split in done.result.splits] == [
        ("train", 0, 10),
        ("test", 10, 16),
    ]
    assert [split.label_counts for split in done.result.splits] == [[5, 5], [3, 3]]
    for split in done.result.splits:
        rows = done.rows[split.start : split.stop]
        assert {row["split"] for row in rows} == {split.name}
        assert [row["label"] for row in rows] == sorted(row["label"] for row in rows)


def test_classes_named_like_splits_are_classes(tmp_path: Path, run_import: Import) -> None:
    done = run_import(write_folder(tmp_path / "x", class_folders(classes=("bus", "train"))))
    assert done.result.classes == ["bus", "train"]


def test_one_class_in_a_subfolder_each(tmp_path: Path, run_import: Import) -> None:
    files = {"cat/indoors/1.png": picture(1), "cat/2.png": picture(2), "dog/a/b/3.png": picture(3)}
    done = run_import(write_folder(tmp_path / "x", files))
    assert done.labels == {path: path.split("/")[0] for path in files}


def test_mixed_folders_are_asked_about(tmp_path: Path, run_import: Import) -> None:
    files = {**class_folders("train/"), **class_folders("more/")}
    archive = write_zip(tmp_path / "x.zip", files)
    with pytest.raises(UserError, match=r"splits \('train'\) with other folders of images \('more'\).*layout"):
        run_import(archive)
    assert run_import(archive, layout="class").result.classes == ["more", "train"]
    assert [s.name for s in run_import(archive, layout="split/class").result.splits] == ["train", "more"]


def test_split_folders_without_classes_are_explained(tmp_path: Path, run_import: Import) -> None:
    files = {"train/1.png": picture(1), "test/2.png": picture(2)}
    with pytest.raises(UserError, match="without folders of classes inside"):
        run_import(write_zip(tmp_path / "x.zip", files))


def test_images_without_any_label_are_explained(tmp_path: Path, run_import: Import) -> None:
    with pytest.raises(UserError, match="2 images and nothing that gives their classes"):
        run_import(write_folder(tmp_path / "x", {"1.png": picture(1), "2.png": picture(2)}))


def test_an_empty_class_folder_is_a_class(tmp_path: Path, run_import: Import) -> None:
    for source in (
        write_folder(tmp_path / "x", {**class_folders(), "emu/": b""}),
        write_zip(tmp_path / "x.zip", {**class_folders(), "emu/": b""}),
        write_tar(tmp_path / "x.tar", {**class_folders(), "emu/": b""}),
    ):
        done = run_import(source)
        assert done.result.classes == ["cat", "dog", "emu"]
        assert done.items["empty_class"].examples == ["emu"]


def test_stray_images_and_files_are_reported(tmp_path: Path, run_import: Import) -> None:
    files = {
        **class_folders(),
        "stray.png": picture(9),
        "README.md": b"# Pets",
        "__MACOSX/._x.png": b"x",
        ".DS_Store": b"",
    }
    done = run_import(write_zip(tmp_path / "x.zip", files))
    assert done.aside == {"stray.png": "The file lies outside of the class folders."}
    assert done.items["file_passed_over"].examples == ["README.md"]
    assert done.result.rows == 4


def test_several_archives_keep_their_names(tmp_path: Path, run_import: Import) -> None:
    train = write_zip(tmp_path / "train.zip", class_folders())
    test = write_tar(tmp_path / "test.tar.gz", class_folders(per_class=1, classes=("cat",)), "w:gz")
    done = run_import(train, test)
    assert [(split.name, split.rows) for split in done.result.splits] == [("train", 4), ("test", 1)]


def test_two_uploads_of_one_name_are_refused(tmp_path: Path, run_import: Import) -> None:
    first = write_zip(tmp_path / "a.zip", class_folders())
    (tmp_path / "b").mkdir()
    second = write_zip(tmp_path / "b" / "a.zip", class_folders())
    with pytest.raises(UserError, match="named 'a'"):
        run_import(first, second)
