"""Takes in files that lie on this machine, for the command line and the demo: the same rows as an upload leaves."""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy.orm import Session

from app.errors import UserError
from app.store.models import Upload, User
from app.store.places import get_blobs


def keep_file(session: Session, project_id: int, user: User, path: Path) -> Upload:
    """Store a file as a blob, and record it as a finished upload.

    Raises:
        UserError: there is no such file.
    """
    if not path.is_file():
        what = (
            "a folder; pack it into a zip or tar first, or give its path with --url" if path.is_dir() else "not there"
        )
        raise UserError(f"The file {path} is {what}.")
    blob = get_blobs().put_file(path)
    upload = Upload(
        project_id=project_id,
        token=secrets.token_hex(16),
        filename=path.name[:200],
        size=blob.size,
        received=blob.size,
        sha256=blob.sha256,
        created_by=user.id,
    )
    session.add(upload)
    session.flush()
    return upload
