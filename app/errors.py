"""One tree of exceptions; each has an HTTP status and a sentence for the person."""

from __future__ import annotations


class FaultlineError(Exception):
    """Base of all errors that Faultline raises on purpose."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UserError(FaultlineError):
    """The input is wrong; the message says what is wrong and what would be right."""

    status = 422


class FieldError(UserError):
    """One field of a form or request is wrong; `field` is its name there."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Unauthenticated(FaultlineError):
    """Nobody is signed in."""

    status = 401


class Forbidden(FaultlineError):
    """The signed-in person's role does not allow this."""

    status = 403


class NotFound(FaultlineError):
    """No such object, or none that this person may know of."""

    status = 404


class Conflict(FaultlineError):
    """The object is in a state that does not allow this."""

    status = 409


class TooLarge(UserError):
    """The upload exceeds a limit."""

    status = 413


class StorageFull(FaultlineError):
    """No space is left; nothing was half written."""

    status = 507
