"""Which device a process computes on; found without importing torch, which the control worker never needs."""

from __future__ import annotations

import os
from pathlib import Path

from app.settings import Settings

_NVIDIA = Path("/proc/driver/nvidia/gpus")


def gpu_count() -> int:
    """NVIDIA devices that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in {"", "-1"}])
    if _NVIDIA.is_dir():
        return len(list(_NVIDIA.iterdir()))
    return len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()])


def device_class(settings: Settings, *, gpu_workers: int = 0) -> str:
    """cuda or cpu; `auto` means cuda where a GPU is at hand here or a GPU worker is alive elsewhere."""
    if settings.device != "auto":
        return "cuda" if settings.device.startswith("cuda") else "cpu"
    return "cuda" if gpu_count() or gpu_workers else "cpu"


def device_queue(device: str) -> str:
    """The queue of the work that wants this class of device."""
    return "gpu" if device == "cuda" else "cpu"
