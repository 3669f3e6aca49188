"""Server-side folders and URLs: readable only below the roots that an administrator configured."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fsspec.core import url_to_fs

from app.errors import Forbidden, TooLarge, UserError
from app.loaders.datasets.guard import safe_path
from app.loaders.datasets.request import Limits
from app.store.durable import storage_errors

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Location:
    """An allowed place: a local `path`, or a `url` that has to be fetched first."""

    path: Path | None
    url: str | None


def locate(location: str, roots: Sequence[str]) -> Location:
    """Resolve a folder or URL that a person named.

    Raises:
        Forbidden: it is not below one of the roots; links are resolved first.
        UserError: there is no such folder.
    """
    if "://" in location and not location.startswith("file://"):
        return Location(None, _allowed_url(location, [root for root in roots if "://" in root]))
    return Location(_allowed_path(location.removeprefix("file://"), roots), None)


def local_roots(roots: Sequence[str]) -> list[Path]:
    """The roots that are folders of this machine, resolved."""
    paths = [root.removeprefix("file://") for root in roots if "://" not in root or root.startswith("file://")]
    return [Path(path).expanduser().resolve() for path in paths]


def fetch(url: str, target: Path, limits: Limits) -> Path:
    """Copy an allowed URL (one file, or all below a folder) into the folder `target`; its bytes are not looked into.

    Raises:
        UserError: nothing is there, or it cannot be read.
        TooLarge: over the limits.
        StorageFull: no space is left; the caller drops `target`.
    """
    filesystem, path = url_to_fs(url)
    try:
        if filesystem.isfile(path):
            files = [(path, path.rsplit("/", 1)[-1])]
        else:
            files = [(found, found[len(path) :].strip("/")) for found in sorted(filesystem.find(path))]
    except OSError as error:
        raise UserError(f"'{url}' cannot be read: {error}.") from error
    if not files:
        raise UserError(f"Nothing lies at '{url}'.")
    _require_count(len(files), url, limits)
    left = limits.max_archive_bytes
    with storage_errors():
        for remote, name in files:
            destination = target / safe_path(name, url)
            destination.parent.mkdir(parents=True, exist_ok=True)
            left = _copy(_stream(filesystem, remote), destination, left, url)
    return target / safe_path(files[0][1], url) if filesystem.isfile(path) else target


def _allowed_path(location: str, roots: Sequence[str]) -> Path:
    path = Path(location).expanduser()
    allowed = local_roots(roots)
    real = path.resolve()
    if not path.is_absolute() or not any(real.is_relative_to(root) for root in allowed):
        shown = ", ".join(map(str, allowed)) or "none is configured"
        raise Forbidden(f"'{location}' is not below the folders that an administrator allowed ({shown}).")
    if not real.exists():
        raise UserError(f"There is no folder or file '{location}' on the server.")
    return real


def _allowed_url(location: str, roots: Sequence[str]) -> str:
    wanted = _parts(location)
    for root in roots:
        scheme, host, path = _parts(root)
        if wanted[:2] == (scheme, host) and (wanted[2] == path or wanted[2].startswith(path.rstrip("/") + "/")):
            return f"{wanted[0]}://{wanted[1]}{wanted[2]}"
    shown = ", ".join(roots) or "none is configured"
    raise Forbidden(f"'{location}' is not below the URLs that an administrator allowed ({shown}).")


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, host and normalised path; a chained or decorated URL could name another place than it seems."""
    split = urlsplit(url)
    if "::" in url or split.query or split.fragment or "@" in split.netloc or "%" in split.path:
        raise Forbidden(f"'{url}' is no plain URL; give scheme, bucket and path only.")
    path = posixpath.normpath("/" + unquote(split.path).lstrip("/"))
    return split.scheme.lower(), split.netloc, path


def _require_count(count: int, url: str, limits: Limits) -> None:
    if count > limits.max_archive_members:
        raise TooLarge(f"'{url}' holds more than {limits.max_archive_members:,} files, the limit.")


def _stream(filesystem: object, remote: str) -> Iterator[bytes]:
    with filesystem.open(remote, "rb") as source:  # type: ignore[attr-defined]
        while chunk := source.read(_CHUNK):
            yield chunk


def _copy(chunks: Iterator[bytes], target: Path, left: int, url: str) -> int:
    with target.open("xb") as sink:
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise TooLarge(f"'{url}' holds more bytes than the limit allows; import a part of it.")
            sink.write(chunk)
    return left
