"""Where templates, static files, migrations and the demo lie: in a checkout, or in the installed wheel's bundle."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """Return the folder `name` (templates, static, migrations, demo).

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for root in (_HERE / "_bundle", _HERE.parent):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"Faultline's folder “{name}” is missing; reinstall the package.")
