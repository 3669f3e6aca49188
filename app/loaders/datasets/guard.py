"""Walls around archives: every member is checked before a byte of it is unpacked."""

from __future__ import annotations

import re
import sys

from app.errors import TooLarge, UserError
from app.loaders.datasets.request import Limits

_DRIVE = re.compile(r"^[A-Za-z]:")
# Ratios of small archives say nothing: an empty table compresses a thousandfold.
_RATIO_FROM_BYTES = 16 * 2**20


class BadArchive(UserError):
    """The archive is damaged, hostile, or of a kind that is not read."""


class ArchiveGuard:
    """Counts an archive's members and bytes against the limits, and refuses names that lead outside."""

    def __init__(self, name: str, packed_bytes: int, limits: Limits) -> None:
        self._name = name
        self._packed_bytes = max(packed_bytes, 1)
        self._limits = limits
        self._seen: set[str] = set()
        self._members = 0
        self._total = 0

    def count(self) -> None:
        """Count one member of any kind."""
        self._members += 1
        if self._members > self._limits.max_archive_members:
            raise TooLarge(
                f"{self._name} holds more than {self._limits.max_archive_members:,} files, the limit. "
                "Split it into several data sets."
            )

    def path(self, member: str) -> str:
        """Return the member's normalised relative path.

        Raises:
            BadArchive: the name is absolute, climbs with `..`, or was seen before.
        """
        path = safe_path(member, self._name)
        if path in self._seen:
            raise BadArchive(f"{self._name} holds two files named '{path}'; give each file its own name.")
        path = sys.intern(path)
        self._seen.add(path)
        return path

    def size(self, member: str, size: int, packed: int | None = None) -> None:
        """Count the unpacked bytes of one member.

        Raises:
            TooLarge: the member or the whole exceeds a limit.
            BadArchive: it unpacks to suspiciously much (a decompression bomb).
        """
        if size < 0:
            raise BadArchive(f"{self._name} is damaged: '{member}' has a negative size.")
        if size > self._limits.max_file_bytes:
            raise TooLarge(
                f"'{member}' in {self._name} has {size:,} bytes; the limit for one file is "
                f"{self._limits.max_file_bytes:,}. Leave it out or split it."
            )
        if packed is not None:
            self._ratio(size, packed)
        self.stream(size)

    def stream(self, size: int) -> None:
        """Count unpacked bytes that belong to no member yet."""
        self._total += size
        if self._total > self._limits.max_archive_bytes:
            raise TooLarge(
                f"{self._name} unpacks to more than {self._limits.max_archive_bytes:,} bytes, the limit. "
                "Split it into several data sets."
            )
        self._ratio(self._total, self._packed_bytes)

    def _ratio(self, unpacked: int, packed: int) -> None:
        if unpacked > _RATIO_FROM_BYTES and unpacked > self._limits.max_archive_ratio * max(packed, 1):
            raise BadArchive(
                f"{self._name} unpacks to more than {self._limits.max_archive_ratio:,.0f} times its size, as a "
                "decompression bomb does. Pack images without extreme compression."
            )

    def link(self, member: str, target: str) -> BadArchive:
        """The refusal of a symbolic or hard link."""
        shown = f" to '{target}'" if target else ""
        return BadArchive(
            f"{self._name} holds the link '{member}'{shown}; links are not followed. "
            "Pack the files themselves (tar -h; zip without -y)."
        )

    def special(self, member: str) -> BadArchive:
        """The refusal of a device, a pipe or any other special file."""
        return BadArchive(f"{self._name} holds '{member}', which is no ordinary file. Pack ordinary files only.")


def safe_path(member: str, container: str) -> str:
    """Normalise a relative path with `/` or `\\` separators.

    Raises:
        BadArchive: it is absolute, empty, holds NUL, or climbs with `..`.
    """
    slashed = member.replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    if slashed.startswith("/") or _DRIVE.match(slashed) or ".." in parts or "\0" in slashed:
        raise BadArchive(
            f"{container} names '{member}', which lies outside of it. "
            "Pack it again from inside its folder, with relative paths."
        )
    if not parts:
        raise BadArchive(f"{container} holds a file without a name.")
    return "/".join(parts)
