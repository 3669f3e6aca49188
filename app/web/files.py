"""Files of a form: those that came in pieces before it, and those that came with it."""

from __future__ import annotations

from starlette.datastructures import FormData, UploadFile

from app.services import uploads
from app.store.models import Upload
from app.web.deps import Access
from app.web.forms import texts


def received(access: Access, project_id: int, sent: FormData, name: str) -> list[Upload]:
    """Return the uploads of a form's field, in order.

    Files that came with the form are stored at once, so that an error in another field does not lose them.

    Raises:
        NotFound: a token is another person's.
        UserError: a file is empty or too large.
    """
    before = [access.upload(token) for token in texts(sent, f"{name}_token")]
    files = [value for value in sent.getlist(name) if isinstance(value, UploadFile) and value.filename]
    came = [uploads.receive(access.session, project_id, access.user, f.filename or "", f.file) for f in files]
    return before + came


def kept(found: list[Upload]) -> list[tuple[str, str]]:
    """Return uploads as a form shows them again: token and file name."""
    return [(upload.token, upload.filename) for upload in found]
