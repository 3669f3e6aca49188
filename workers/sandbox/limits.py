"""What a sandboxed child may use."""

from __future__ import annotations

from dataclasses import dataclass

GiB = 2**30


@dataclass(frozen=True)
class Limits:
    """Bounds of one child; seconds are per request, bytes are totals of the child."""

    seconds: float = 600.0
    cpu_seconds: float = 7200.0
    memory_bytes: int = 8 * GiB
    file_bytes: int = 64 * GiB
    folder_bytes: int = 256 * GiB
    open_files: int = 1024
    threads: int = 512
    compute_threads: int = 0
    start_seconds: float = 60.0

    def for_child(self) -> dict[str, int]:
        """The bounds that the child sets on itself before any untrusted byte is read."""
        return {"file_bytes": self.file_bytes, "open_files": self.open_files, "threads": self.threads}
