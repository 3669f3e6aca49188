"""Files of a form: those that came in pieces before it, and those that came with it."""

from __future__ import annotations

from starlette.datastructures import FormData, UploadFile

from app.services import uploads
from app.store.models import Upload
from app.store.session import transaction
from app.web.deps import Access
from app.web.forms import texts


def receive(access: Access, project_id: int, sent: FormData, name: str, found: list[Upload]) -> None:
    """Add the uploads of a form's field to `found`, in order.

    Each file that came with the form is stored at once, outside of any transaction, and noted in one of its own: so
    that an error in another file or field does not lose it, and nobody waits while it is copied.

    Raises:
        NotFound: a token is another person's.
        UserError: a file is empty or too large.
        StorageFull: there is no space for it.
    """
    found += [access.upload(token) for token in texts(sent, f"{name}_token")]
    for file in sent.getlist(name):
        if isinstance(file, UploadFile) and file.filename:
            blob = uploads.keep(file.filename, file.file)
            with transaction() as session:
                found.append(uploads.note(session, project_id, access.user, file.filename, blob))


def kept(found: list[Upload]) -> list[tuple[str, str]]:
    """Return uploads as a form shows them again: token and file name."""
    return [(upload.token, upload.filename) for upload in found]
