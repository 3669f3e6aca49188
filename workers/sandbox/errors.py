"""How a sandboxed request can end other than well."""

from __future__ import annotations

from app.errors import FaultlineError


class SandboxError(FaultlineError):
    """Base; `tail` holds the last lines that the child wrote to its error stream, for the log."""

    status = 422

    def __init__(self, message: str, tail: str = "") -> None:
        super().__init__(message)
        self.tail = tail


class SandboxTimeout(SandboxError):
    """The request ran longer than allowed, by the clock or in CPU time; the child was killed."""


class SandboxMemory(SandboxError):
    """The child held more memory, or filled more of its folder, than allowed; it was killed."""


class SandboxCancelled(SandboxError):
    """Somebody asked for the request to stop; the child was killed."""


class SandboxCrashed(SandboxError):
    """The child died or answered in a way that no honest child does."""


class SandboxFailed(SandboxCrashed):
    """The function raised an exception that is not the person's doing; the child lives on."""
