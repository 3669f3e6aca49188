"""Image files and thumbnails, concatenated into packs of about 64 MiB."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

PACK_BYTES = 64 * 2**20


class PackWriter:
    """Writes `pack-00000.bin`, … into a folder; originals and thumbnails fill packs of their own.

    A page of thumbnails so reads few packs, all small.
    """

    def __init__(self, folder: Path, pack_bytes: int = PACK_BYTES) -> None:
        self.count = 0
        self._folder = folder
        self._pack_bytes = pack_bytes
        self._open: dict[str, tuple[int, BinaryIO]] = {}
        self._files = ExitStack()

    def close(self) -> None:
        """Close all packs, also when the last bytes of one do not fit on the disk."""
        self._files.close()

    def add(self, kind: str, data: bytes) -> tuple[int, int, int]:
        """Append one file; return its pack, offset and length."""
        if not data:
            return 0, 0, 0
        number, stream = self._current(kind)
        offset = stream.tell()
        stream.write(data)
        return number, offset, len(data)

    def _current(self, kind: str) -> tuple[int, BinaryIO]:
        if kind in self._open:
            number, stream = self._open[kind]
            if stream.tell() < self._pack_bytes:
                return number, stream
            stream.close()
        number, self.count = self.count, self.count + 1
        self._open[kind] = number, self._files.enter_context(pack_path(self._folder, number).open("xb"))
        return self._open[kind]


def pack_path(folder: Path, number: int) -> Path:
    """The file of one pack."""
    return folder / f"pack-{number:05d}.bin"
