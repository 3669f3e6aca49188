"""Server-side folders and URLs are read below the administrator's roots only."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from dataset_files import class_folders, write_folder
from dataset_import import Import

from app.errors import Forbidden, TooLarge, UserError
from app.loaders.datasets.request import Limits
from app.loaders.datasets.roots import Location, fetch, local_roots, locate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path / "root", class_folders("pets é/"))
    write_folder(tmp_path / "rooted", class_folders())
    write_folder(tmp_path / "secret", class_folders())
    (tmp_path / "root" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "root" / "in").symlink_to(tmp_path / "root" / "pets é")
    return tmp_path / "root"


def test_folders_below_a_root_are_allowed(root: Path) -> None:
    pets = Location(root / "pets é", None)
    for name in ("pets é", "in", "pets é/../in"):
        assert locate(f"{root}/{name}", [str(root)]) == pets
    assert locate(f"file://{root}/pets é", [f"file://{root}"]) == pets
    assert locate(str(root), ["/nowhere", str(root)]).path == root
    assert local_roots([str(root), "s3://bucket/x"]) == [root]


@pytest.mark.parametrize("name", ["../secret", "out", "../rooted", "../../etc", "out/cat"])
def test_folders_outside_are_refused(root: Path, name: str) -> None:
    with pytest.raises(Forbidden, match="not below the folders that an administrator allowed"):
        locate(f"{root}/{name}", [str(root)])


def test_no_root_no_folder(root: Path) -> None:
    with pytest.raises(Forbidden, match="none is configured"):
        locate(str(root), [])
    with pytest.raises(Forbidden):
        locate("pets é", [str(root)])


def test_a_folder_that_is_not_there(root: Path) -> None:
    with pytest.raises(UserError, match="There is no folder or file"):
        locate(f"{root}/nothing", [str(root)])


@pytest.mark.parametrize(
    ("url", "roots"),
    [
        ("s3://bucket/data/pets", ["s3://bucket/data"]),
        ("s3://bucket/data", ["s3://bucket/data/"]),
        ("gs://other/x/../y", ["s3://bucket/data", "gs://other"]),
    ],
)
def test_urls_below_a_root_are_allowed(url: str, roots: list[str]) -> None:
    assert locate(url, roots).url == url.replace("/x/../", "/")


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/database",
        "s3://bucket/data/../other",
        "s3://bucket2/data",
        "gs://bucket/data",
        "s3://bucket/data::file:///etc",
        "zip://x::s3://bucket/data",
        "s3://key@bucket/data",
        "s3://bucket/data/%2e%2e/other",
        "s3://bucket/data?versionId=1",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        locate(url, ["s3://bucket/data", "/srv"])


def test_a_url_is_fetched_and_imported(tmp_path: Path, run_import: Import) -> None:
    files = class_folders("top/")
    remote = fsspec.filesystem("memory")
    for name, data in files.items():
        remote.pipe_file(f"/{tmp_path.name}/pets/{name}", data)
    url = f"memory:///{tmp_path.name}/pets"
    folder = fetch(url, tmp_path / "fetched", Limits())
    assert run_import(folder).labels == {path: path.split("/")[1] for path in files}
    single = fetch(f"{url}/top/cat/0.png", tmp_path / "one", Limits())
    assert single.read_bytes() == files["top/cat/0.png"]
    with pytest.raises(TooLarge, match="more bytes than the limit"):
        fetch(url, tmp_path / "small", Limits(max_archive_bytes=3000))
    with pytest.raises(TooLarge, match="more than 2 files"):
        fetch(url, tmp_path / "few", Limits(max_archive_members=2))
    with pytest.raises(UserError, match="Nothing lies at"):
        fetch(f"{url}/empty", tmp_path / "none", Limits())


def test_a_table_below_a_root_finds_the_images_beside_it(root: Path, run_import: Import) -> None:
    (root / "rows.csv").write_text("path,label\npets é/cat/0.png,cat\npets é/cat/1.png,cat\nin/dog/0.png,dog\n")
    found = run_import(root / "rows.csv", within=[str(root)])
    assert found.labels == {"pets é/cat/0.png": "cat", "pets é/cat/1.png": "cat", "in/dog/0.png": "dog"}
    assert found.images.original(0)


def test_a_table_below_a_root_leads_nowhere_else(root: Path, run_import: Import) -> None:
    (root / "rows.csv").write_text("path,label\npets é/cat/0.png,cat\nout/cat/0.png,dog\n")
    with pytest.raises(UserError, match="not below the folders that an administrator allowed"):
        run_import(root / "rows.csv", within=[str(root)])
