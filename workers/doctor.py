"""Says as JSON what a worker on this machine has: devices, libraries, containment. `python -m workers.doctor`."""

from __future__ import annotations

import json
import os
import sys

import torch

from app.services.keys import library_versions
from workers.sandbox.containment import describe_containment


def examine() -> dict[str, object]:
    """Return what a worker on this machine has."""
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cores": os.cpu_count(),
        "devices": devices,
        "libraries": library_versions(),
        "containment": describe_containment(),
    }


if __name__ == "__main__":
    json.dump(examine(), sys.stdout)
