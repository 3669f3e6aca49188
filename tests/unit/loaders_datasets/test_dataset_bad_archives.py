"""Archives are hostile until shown otherwise; each gets a clear sentence, and nothing is left behind."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from dataset_files import class_folders, picture, write_folder, write_tar, write_zip
from dataset_import import Import

from app.errors import TooLarge, UserError
from app.loaders.datasets.guard import BadArchive, safe_path

GOOD = class_folders()


def refused(run_import: Import, path: Path, message: str, **options: object) -> None:
    """The import is refused with `message`, writes no data set and touches nothing outside of its folder."""
    before = {p for p in path.parent.parent.rglob("*") if "out-" not in str(p)}
    with pytest.raises(UserError, match=message):
        run_import(path, **options)
    assert {p for p in path.parent.parent.rglob("*") if "out-" not in str(p)} == before
    assert not list(path.parent.rglob("manifest.parquet"))
    assert not list(path.parent.rglob(".work"))


# Truncated and damaged


@pytest.mark.parametrize("kept", [30, 0.3, 0.9, 0.999])
def test_a_truncated_zip(tmp_path: Path, run_import: Import, kept: float) -> None:
    data = write_zip(tmp_path / "x.zip", GOOD).read_bytes()
    (tmp_path / "x.zip").write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    refused(run_import, tmp_path / "x.zip", r"x\.zip is a damaged or truncated zip file.*upload it again")


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_truncated_tar(tmp_path: Path, run_import: Import, mode: str, kept: float) -> None:
    path = tmp_path / "x.tar"
    size = len(write_tar(path, GOOD, mode).read_bytes())
    if mode == "w":  # a tar ends with ten kilobytes of zeros, which may be missing
        size = 4 * 512 + 3 * 2048
    path.write_bytes(path.read_bytes()[: int(kept * size) // 7 * 7])
    refused(run_import, path, "damaged or truncated")


def test_a_tar_damaged_in_the_middle_is_not_taken_for_its_end(tmp_path: Path, run_import: Import) -> None:
    path = write_tar(tmp_path / "x.tar", GOOD)
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2].offset
    data[third : third + 64] = b"\xff" * 64
    path.write_bytes(data)
    refused(run_import, path, "damaged or truncated tar")


def test_a_member_with_wrong_bytes_is_set_aside(tmp_path: Path, run_import: Import) -> None:
    path = write_zip(tmp_path / "x.zip", GOOD)
    data = bytearray(path.read_bytes())
    start = data.index(GOOD["cat/1.png"])
    data[start + 100 : start + 104] = b"!!!!"
    path.write_bytes(data)
    done = run_import(path)
    assert done.aside == {"cat/1.png": "'cat/1.png' cannot be unpacked: the archive is damaged there."}
    assert done.result.rows == 3


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "photos", "labels.csv"])
def test_a_file_of_0_bytes(tmp_path: Path, run_import: Import, name: str) -> None:
    (tmp_path / name).touch()
    refused(run_import, tmp_path / name, rf"{name} is empty \(0 bytes\)")


@pytest.mark.parametrize("writer", [write_zip, write_tar])
def test_an_archive_of_nothing(tmp_path: Path, run_import: Import, writer: object) -> None:
    refused(run_import, writer(tmp_path / "x.archive", {}), "holds no files|empty archive")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"just text", "named like an archive, but its bytes are none"),
        (b"7z\xbc\xaf\x27\x1c", "7z file, which is not read; pack the files as zip or tar"),
        (b"\0" * 600, "empty archive, or was not copied whole"),
        (b"Rar!\x1a\x07", "RAR file"),
        (b"\x1f\x8b broken", "damaged or truncated"),
    ],
)
def test_a_file_that_lies_about_being_a_zip(tmp_path: Path, run_import: Import, data: bytes, message: str) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    refused(run_import, tmp_path / "x.zip", message)


def test_an_excel_workbook(tmp_path: Path, run_import: Import) -> None:
    sheet = write_zip(tmp_path / "labels.csv", {"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"})
    refused(run_import, sheet, "labels.csv is a Microsoft Office file; save the table as CSV")


def test_the_bytes_tell_the_kind_not_the_name(tmp_path: Path, run_import: Import) -> None:
    write_tar(tmp_path / "really a tar.zip", GOOD)
    write_zip(tmp_path / "really a zip.tar", GOOD)
    write_tar(tmp_path / "blob", GOOD, "w:gz")
    hashes = {run_import(path).result.data_hash for path in tmp_path.iterdir() if path.is_file()}
    assert len(hashes) == 1


def test_a_missing_source(tmp_path: Path, run_import: Import) -> None:
    with pytest.raises(UserError, match="'nowhere' is not there"):
        run_import(tmp_path / "nowhere")


# Ways out


ESCAPES = ["../x.png", "cat/../../x.png", "/etc/x.png", "C:/x.png", "..\\x.png", "\\\\host\\x.png", "a/\0/../../x.png"]


@pytest.mark.parametrize("member", ESCAPES)
def test_a_path_that_escapes(tmp_path: Path, run_import: Import, member: str) -> None:
    files = {**GOOD, member: picture(1)}
    if "\0" not in member:
        refused(run_import, write_zip(tmp_path / "x.zip", files), "lies outside of it.*with relative paths")
        refused(run_import, write_tar(tmp_path / "x.tar", files), "lies outside of it")
    with pytest.raises(BadArchive, match="lies outside"):
        safe_path(member, "x")


@pytest.mark.parametrize("member", ["..", "a/..", "../"])
def test_a_folder_that_escapes(tmp_path: Path, run_import: Import, member: str) -> None:
    refused(run_import, write_tar(tmp_path / "x.tar", {**GOOD, f"{member}/": b""}), "lies outside")


@pytest.mark.parametrize(
    ("member", "path"), [("./a//b.png", "a/b.png"), ("a\\b.png", "a/b.png"), ("..a/b..png", "..a/b..png")]
)
def test_harmless_names_are_normalised(member: str, path: str) -> None:
    assert safe_path(member, "x") == path


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_a_tar(tmp_path: Path, run_import: Import, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        link = tarfile.TarInfo("cat/passwd.png")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    refused(run_import, tmp_path / "x.tar", "holds the link 'cat/passwd.png' to '/etc/passwd'; links are not followed")


def test_a_symlink_in_a_zip(tmp_path: Path, run_import: Import) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("cat/passwd.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    refused(run_import, tmp_path / "x.zip", "holds the link 'cat/passwd.png'; links are not followed")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_special_file_in_a_tar(tmp_path: Path, run_import: Import, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        device = tarfile.TarInfo("cat/zero.png")
        device.type, device.devmajor, device.devminor = kind, 1, 5
        archive.addfile(device)
    refused(run_import, tmp_path / "x.tar", "'cat/zero.png', which is no ordinary file")


def test_a_device_in_a_zip(tmp_path: Path, run_import: Import) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        device = zipfile.ZipInfo("cat/zero.png")
        device.external_attr = 0o020666 << 16
        archive.writestr(device, b"")
    refused(run_import, tmp_path / "x.zip", "no ordinary file")


def test_a_sparse_tar_that_claims_a_huge_file(tmp_path: Path, run_import: Import) -> None:
    headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,1"}
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("cat/x.png")
        member.size, member.pax_headers = 1, headers
        archive.addfile(member, io.BytesIO(b"x"))
    refused(run_import, tmp_path / "x.tar", "no ordinary file")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(tmp_path: Path, run_import: Import) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, tarfile.open(tmp_path / "x.tar", "w") as tar:
        for seed in range(2):
            archive.writestr("cat/1.png", picture(seed))
            tar.addfile(tarfile.TarInfo("cat/1.png"))
    refused(run_import, tmp_path / "x.zip", r"two files named 'cat/1\.png'")
    refused(run_import, tmp_path / "x.tar", r"two files named 'cat/1\.png'")


def test_an_encrypted_zip(tmp_path: Path, run_import: Import) -> None:
    data = bytearray(write_zip(tmp_path / "x.zip", GOOD).read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    refused(run_import, tmp_path / "x.zip", "encrypted; pack it again without a password")


# Bombs and limits


def test_a_zip_bomb(tmp_path: Path, run_import: Import) -> None:
    bomb = write_zip(tmp_path / "x.zip", {**GOOD, "cat/bomb.png": b"\0" * (64 << 20)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 100_000
    refused(run_import, bomb, "unpacks to more than 200 times its size, as a decompression bomb does")


def test_a_zip_bomb_of_many_small_files(tmp_path: Path, run_import: Import) -> None:
    files = {f"cat/{i}.png": b"\0" * (2 << 20) for i in range(12)}
    refused(run_import, write_zip(tmp_path / "x.zip", files, zipfile.ZIP_DEFLATED), "decompression bomb")


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path, run_import: Import) -> None:
    data = bytearray(
        write_zip(tmp_path / "x.zip", {"cat/b.png": b"\0" * (8 << 20), **GOOD}, zipfile.ZIP_DEFLATED).read_bytes()
    )
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 1000)
    (tmp_path / "x.zip").write_bytes(data)
    done = run_import(tmp_path / "x.zip")
    assert "archive is damaged there" in done.aside["cat/b.png"]
    assert done.result.rows == 4


@pytest.mark.parametrize("name", ["x.tar.gz", "x.csv.gz"])
def test_a_gzip_bomb(tmp_path: Path, run_import: Import, name: str) -> None:
    with gzip.open(tmp_path / name, "wb") as stream:
        for _ in range(64):
            stream.write(b"\0" * (1 << 20))
    refused(run_import, tmp_path / name, "decompression bomb")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_archive_members": 3}, "more than 3 files, the limit"),
        ({"max_archive_bytes": 2000}, "unpacks to more than 2,000 bytes"),
        ({"max_file_bytes": 500}, r"bytes; the limit for one file is 500"),
    ],
)
def test_limits_of_archives(tmp_path: Path, run_import: Import, limits: dict, message: str) -> None:
    for path in (write_zip(tmp_path / "x.zip", GOOD), write_tar(tmp_path / "x.tar", GOOD)):
        with pytest.raises(TooLarge, match=message):
            run_import(path, limits=limits)


def test_limits_of_a_compressed_stream(tmp_path: Path, run_import: Import) -> None:
    path = write_tar(tmp_path / "x.tar.xz", GOOD, "w:xz")
    with pytest.raises(TooLarge, match="more than 4,000 bytes"):
        run_import(path, limits={"max_archive_bytes": 4000})


def test_a_large_file_in_a_folder_is_set_aside(tmp_path: Path, run_import: Import) -> None:
    folder = write_folder(tmp_path / "x", {**GOOD, "cat/large.png": b"\0" * 5000})
    done = run_import(folder, limits={"max_file_bytes": 2000})
    assert done.aside == {"cat/large.png": "The file has 5,000 bytes; the limit for one file is 2,000."}
    with pytest.raises(TooLarge, match="more than 3 files"):
        run_import(folder, limits={"max_archive_members": 3})


# Folders on the server


def test_links_in_a_folder(tmp_path: Path, run_import: Import) -> None:
    folder = write_folder(tmp_path / "root" / "x", GOOD)
    secret = write_folder(tmp_path / "secret", {"s.png": picture(7)}) / "s.png"
    shared = write_folder(tmp_path / "root" / "shared", {"eel/e.png": picture(8)})
    (folder / "cat" / "secret.png").symlink_to(secret)
    (folder / "cat" / "lost.png").symlink_to(folder / "nothing.png")
    (folder / "cat" / "again").symlink_to(folder)
    (folder / "eel").symlink_to(shared / "eel")
    outside = "This link leads outside of the allowed folders; copy the file itself."
    done = run_import(folder)
    assert done.aside == {
        "cat/secret.png": outside,
        "eel": outside,
        "cat/lost.png": "This link leads nowhere.",
        "cat/again": "This link leads back to a folder that contains it.",
    }
    wider = run_import(folder, within=(tmp_path / "root",))
    assert wider.labels["eel/e.png"] == "eel"
    assert wider.aside["cat/secret.png"] == outside


def test_a_manifest_cannot_leave_its_root(tmp_path: Path, run_import: Import) -> None:
    write_folder(tmp_path / "secret", {"s.png": picture(7)})
    for name in ("../secret/s.png", str(tmp_path / "secret" / "s.png")):
        folder = write_folder(
            tmp_path / "x", {"a.png": picture(1), "t.csv": f"path,label\na.png,x\n{name},y\n".encode()}
        )
        with pytest.raises(UserError, match=r"table t\.csv names '.*s\.png', which lies outside of it"):
            run_import(folder)


def test_absolute_manifest_paths_below_an_allowed_root(tmp_path: Path, run_import: Import) -> None:
    photos = write_folder(tmp_path / "root" / "photos é", {"1.png": picture(1)})
    secret = write_folder(tmp_path / "secret", {"s.png": picture(7)})
    table = write_folder(
        tmp_path / "root" / "x", {"t.csv": f"path,label\n{photos}/1.png,x\n{photos}/2.png,x\n".encode()}
    )
    done = run_import(table, within=(tmp_path / "root",))
    assert done.images.original(0) == picture(1)
    assert done.aside == {f"{photos}/2.png": "No such file came with the table."}
    (photos / "link.png").symlink_to(secret / "s.png")
    for name in (f"{photos}/link.png", f"{photos}/../../secret/s.png", f"{secret}/s.png"):
        (table / "t.csv").write_text(f"path,label\n{photos}/1.png,x\n{name},y\n")
        with pytest.raises(UserError, match="not below the folders that an administrator allowed"):
            run_import(table, within=(tmp_path / "root",))


# Tables


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"\0\1\2\3\xff", "is no CSV table: its first line must name the columns"),
        ("t.csv", b"path,label,path\na,b,c\n", "names the column 'path' twice"),
        ("t.csv", b"path,label\na.png,x\nb.png,y,z\n", "cannot be read: .*2 columns, got 3"),
        ("t.csv", b"a\n1\n", "The columns of 't.csv' do not say where the images are"),
        ("t.parquet", b"PAR1 and nothing else", "damaged or truncated Parquet file"),
        ("t.parquet", b"not parquet", "named like a Parquet file, but its bytes are none"),
    ],
)
def test_damaged_tables(tmp_path: Path, run_import: Import, name: str, data: bytes, message: str) -> None:
    folder = write_folder(tmp_path / "x", {name: data, "a.png": picture(1), "b.png": picture(2)})
    with pytest.raises(UserError, match=message):
        run_import(folder)


def test_a_column_of_labels_that_is_none(tmp_path: Path, run_import: Import) -> None:
    rows = "".join(f"r{i},{i}x\n" for i in range(60_000))
    (tmp_path / "t.csv").write_text("id,label\n" + rows)
    with pytest.raises(UserError, match="more than 50,000 different values, such as '0x'"):
        run_import(tmp_path / "t.csv", images="none")


def test_given_ids_that_occur_twice(tmp_path: Path, run_import: Import) -> None:
    (tmp_path / "t.csv").write_text("id,label\na,x\nb,x\na,y\n")
    with pytest.raises(UserError, match="1 example ids occur more than once, such as 'a'"):
        run_import(tmp_path / "t.csv", images="none")
