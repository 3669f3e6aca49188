"""Recognise what a file is by its bytes, never by its name."""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Iterable
from pathlib import Path

from app.errors import UserError

MAX_HEADER_BYTES = 100 * 2**20
_PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_TEXT_PICKLE_OPCODES = 20
_LEGACY_TAR = b"sys_info"


class PickleRefused(UserError):
    """The file is a pickle; the message says how to convert it."""


class NotAModel(UserError):
    """The file is none of the formats that Faultline reads."""


def how_to_convert(what: str) -> str:
    """The refusal of a pickle, with the way out in three lines of Python."""
    return (
        f"{what}, and unpickling a file can run any code that its author put there, so Faultline never does it. "
        "Convert it on a machine where you trust the file:\n"
        "    import torch; from safetensors.torch import save_file\n"
        "    state = torch.load('model.pth', map_location='cpu', weights_only=True)\n"
        "    save_file({k: v.contiguous() for k, v in state.get('state_dict', state).items()}, "
        "'model.safetensors')\n"
        "then upload model.safetensors and name the architecture."
    )


def sniff(path: Path) -> str:
    """Return safetensors, torchscript, export, onnx, parquet or csv for the file at `path`.

    Raises:
        PickleRefused: the file is a pickle in any of its wrappings.
        NotAModel: empty, truncated, or none of the formats.
    """
    size = path.stat().st_size
    if size == 0:
        raise NotAModel("The file is empty (0 bytes). The upload may have been cut off: send it again.")
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:2] == b"PK":
        return _sniff_zip(path)
    _refuse_pickle(head, path)
    if head[:4] == b"PAR1":
        return "parquet"
    if _looks_like_safetensors(head, size):
        return "safetensors"
    if _looks_like_onnx(head):
        return "onnx"
    if _looks_like_old_pickle(head):
        raise PickleRefused(how_to_convert("This file is a Python pickle of an old protocol"))
    if _looks_like_table(head):
        return "csv"
    raise NotAModel(_unknown(head))


def _refuse_pickle(head: bytes, path: Path) -> None:
    if head[:2] in _PICKLE_PROTOCOLS:
        raise PickleRefused(how_to_convert("This file is a Python pickle"))
    if head[:6] == b"\x93NUMPY":
        raise NotAModel("This is a NumPy array. Upload weights as safetensors, or predictions as CSV or Parquet.")
    if len(head) > 512 and head[257:262] == b"ustar" and _holds_legacy_pickle(path):
        raise PickleRefused(how_to_convert("This file is an old torch archive of pickles"))


def _holds_legacy_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return _LEGACY_TAR in file.read(65536)


def _sniff_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # A directory that starts later belongs to an archive inside of this one, whose own end is missing.
            whole = min((info.header_offset for info in archive.infolist()), default=1) == 0
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        whole = False
    if not whole:
        raise NotAModel(
            "The file begins like a torch archive but its end is missing: the upload was cut off. Send it again."
        )
    return _sniff_members(names)


def _sniff_members(names: Iterable[str]) -> str:
    inner = [name.split("/", 1)[-1] for name in names]
    if any(name.startswith("code/") and name.endswith(".py") for name in inner) and "constants.pkl" in inner:
        return "torchscript"
    if any(name in {"archive_format", "models/model.json"} or name.startswith("models/") for name in inner):
        return "export"
    if any(name.endswith((".pkl", ".pickle")) for name in inner):
        raise PickleRefused(how_to_convert("This file is a zip of Python pickles (torch.save)"))
    raise NotAModel(
        "This is a zip archive, but neither TorchScript nor torch.export. Upload the model file itself; "
        "images belong under Datasets."
    )


def _looks_like_safetensors(head: bytes, size: int) -> bool:
    if len(head) < 9 or head[8:9] != b"{":
        return False
    length = int.from_bytes(head[:8], "little")
    if length > MAX_HEADER_BYTES:
        return False
    if length + 8 > size:
        raise NotAModel("The safetensors file ends inside its header: the upload was cut off. Send it again.")
    return True


def _looks_like_onnx(head: bytes) -> bool:
    """An ONNX model begins with field 1 (ir_version, a small varint) and a length-delimited or varint field."""
    return len(head) > 4 and head[0] == 0x08 and 1 <= head[1] <= 64 and head[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42)


def _looks_like_old_pickle(head: bytes) -> bool:
    """Protocols 0 and 1 have no signature: read the opcodes, without running any, until STOP or some twenty."""
    read: list[str] = []
    try:
        for opcode, _, _ in pickletools.genops(head):
            read.append(opcode.name)
            if opcode.name == "STOP":
                return True
    except (ValueError, UnicodeDecodeError):
        pass
    # Most letters are opcodes, but words are no pickle: whatever holds other things begins with a mark.
    return len(read) >= _TEXT_PICKLE_OPCODES and "MARK" in read


def _looks_like_table(head: bytes) -> bool:
    try:
        text = head[:-4].decode("utf-8-sig") if len(head) > 8 else head.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    first = text.splitlines()[0] if text else ""
    return "\x00" not in text and any(mark in first for mark in (",", ";", "\t")) and not first.startswith("<")


def _unknown(head: bytes) -> str:
    readable = "safetensors, TorchScript, torch.export (.pt2), ONNX, or a CSV or Parquet table of predictions"
    for start, name in _KNOWN_OTHERS:
        if head.startswith(start):
            return f"This is {name}, not a model. Faultline reads {readable}."
    return f"The file is in no format that Faultline reads: {readable}."


_KNOWN_OTHERS = (
    (b"\x89HDF", "an HDF5 file (Keras weights; export the model to ONNX)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"GGUF", "a GGUF language model"),
    (b"<", "a web page (a download link often saves one)"),
    (b"version https://git-lfs", "a Git LFS pointer; download the file itself (git lfs pull)"),
    (b"\x7fELF", "a program"),
)


def safetensors_header(path: Path) -> dict[str, dict[str, object]]:
    """Read names, dtypes, shapes and `__metadata__` of a safetensors file, with no tensor loaded.

    Raises:
        NotAModel: the header is not JSON, or the tensors reach beyond the end of the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, MAX_HEADER_BYTES)))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise NotAModel("The safetensors header is damaged: write the file again with save_file.") from error
    if max(ends, default=0) + 8 + length != size:
        raise NotAModel(
            f"The safetensors file should have {max(ends, default=0) + 8 + length:,} bytes and has {size:,}: "
            "it was cut off or padded. Send it again."
        )
    return dict(header)
