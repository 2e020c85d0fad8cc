"""The exceptions of edgehff: each carries a next step for its reader and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one as a question, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


class EdgehffError(Exception):
    """What a person can act on: a message with the values, and a hint that says what to do next.

    message: one sentence, with the values that matter.
    hint: the next command or change to try; may be empty.
    exit_code: what `edgehff` ends with (docs/reference/exit-codes.md).
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(EdgehffError, ValueError):
    """What came from outside cannot be used."""

    exit_code = 3


class ShapeError(InputError):
    """Sizes, dtypes or ranges of arrays do not fit together."""


class RecipeError(InputError):
    """A recipe has an unknown key, a wrong type or a value out of range."""


class DataError(InputError):
    """A data set is missing, empty, malformed or inconsistent."""


class ModelFileError(InputError):
    """A model file is truncated, altered, of a newer format, or no model at all."""


class DuplicateError(InputError):
    """A sample that was learned already came again."""


class StoreError(InputError):
    """A store of learned state is damaged, in use, of another model, or its disk refuses."""


class MissingToolError(EdgehffError):
    """A program or an optional package is not installed."""

    exit_code = 4


class NoDeviceError(EdgehffError):
    """No board answers there: the port is missing, busy, or what is on it is no edgehff firmware."""

    exit_code = 5


class DeviceError(EdgehffError):
    """A board refused, failed, or answered no more."""

    exit_code = 6


class CheckFailed(EdgehffError):  # noqa: N818 (what happened, as design and exit codes name it)
    """A check that was asked for did not hold: a budget, a parity, a replay."""

    exit_code = 7


class CoreError(EdgehffError):
    """The C core refused a call that the Python side should have caught: a bug in edgehff."""

    def __init__(self, function: str, status: int, text: str) -> None:
        super().__init__(
            f"{function} returned {status}: {text}",
            hint="this is a bug in edgehff: please report it with the command that led here",
        )
        self.status = status
