"""Containment of untrusted work: uploaded models, archives and images."""

from workers.sandbox.containment import describe_containment
from workers.sandbox.errors import (
    SandboxCancelled,
    SandboxCrashed,
    SandboxError,
    SandboxFailed,
    SandboxMemory,
    SandboxTimeout,
)
from workers.sandbox.limits import Limits
from workers.sandbox.outputs import checked_file, load_array
from workers.sandbox.sandbox import Sandbox

__all__ = [
    "Limits",
    "Sandbox",
    "SandboxCancelled",
    "SandboxCrashed",
    "SandboxError",
    "SandboxFailed",
    "SandboxMemory",
    "SandboxTimeout",
    "checked_file",
    "describe_containment",
    "load_array",
]
