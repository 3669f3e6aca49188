"""The child's side: lock down, then answer requests from one pipe on another, one JSON object a line."""

from __future__ import annotations

import errno
import importlib
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

PREFIXES = ("app.loaders.", "app.audits.", "workers.sandbox.")


def main(configuration: str) -> None:
    """Run until the parent closes the pipe; `configuration` is the JSON that the parent wrote."""
    wishes = json.loads(configuration)
    requests, answers = _take_streams()
    if os.getppid() != wishes["parent"]:
        os._exit(1)
    from workers.sandbox.lockdown import lock_down  # noqa: PLC0415 - after the streams are safe

    measures = lock_down(
        Path(wishes["folder"]),
        [Path(path) for path in wishes["readable"]],
        wishes["bounds"],
        wishes["user"],
        accelerator=wishes["accelerator"],
    )
    if os.getppid() != wishes["parent"]:
        os._exit(1)
    _say(answers, {"type": "ready", "measures": measures})
    for line in requests:
        _answer(json.loads(line), answers)


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Move the protocol away from 0 and 1, where any library may read or print."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return requests, answers


def _answer(request: dict[str, Any], answers: BinaryIO) -> None:
    number = request["id"]

    def progress(news: dict[str, Any]) -> None:
        _say(answers, {"id": number, "type": "progress", "progress": news})

    outcome = _outcome(request, progress)
    sys.stdout.flush()
    sys.stderr.flush()
    _say(answers, {"id": number, **outcome})


def _outcome(request: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    from app.errors import StorageFull, UserError  # noqa: PLC0415 - the first request pays, not the start

    try:
        result = resolve(request["function"])(request["payload"], progress)
        json.dumps(result, allow_nan=False)
    except UserError as error:
        return {"type": "user", "message": error.message}
    except MemoryError as error:
        return {"type": "memory", "message": str(error)}
    except StorageFull as error:
        return {"type": "full", "message": error.message}
    except OSError as error:
        return _failed_file(error) or _failed(error)
    except Exception as error:  # whatever untrusted work raises is an answer, not the end of the child
        return _failed(error)
    return {"type": "result", "result": result}


def _failed(error: Exception) -> dict[str, Any]:
    traceback.print_exception(error)
    return {"type": "failed", "message": f"{type(error).__name__}: {error}"[:2000]}


def _failed_file(error: OSError) -> dict[str, Any] | None:
    from app.store.durable import NO_SPACE, is_full  # noqa: PLC0415

    if error.errno == errno.EFBIG:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0] / 2**30
        return {"type": "user", "message": f"It would write a file of more than {limit:.3g} GiB, which is the limit."}
    return {"type": "full", "message": NO_SPACE} if is_full(error) else None


def resolve(function: str) -> Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], dict[str, Any]]:
    """Import what "package.module:callable" names.

    Raises:
        ValueError: the name lies outside the packages that may run here.
    """
    module, _, name = function.partition(":")
    if not module.startswith(PREFIXES) or not name.isidentifier() or name.startswith("_"):
        raise ValueError(f"{function} may not run in the sandbox")
    found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
    return found


def _say(answers: BinaryIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message, allow_nan=False).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
