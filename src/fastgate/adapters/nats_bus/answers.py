"""NATS answers: what came over the wire, as values or as our own errors.

Owns:      the border at which foreign errors and foreign bytes end.
Called by: the other modules of this package.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import nats.errors
import orjson

from fastgate.domain.stream import Stored
from fastgate.errors import ControlError

__all__ = [
    "MissingError",
    "TimedOutError",
    "answer_of",
    "number",
    "snapshot_name",
    "stored_of",
    "stream_name",
    "translated",
]

_NOT_FOUND = 404
# fg.rev.<origin>.<node>.<random>.<kind>, and the same under fg.live
_SUBJECT_PARTS = 6


class MissingError(ControlError):
    """There is no such stream or message, or nobody answers for it."""


class TimedOutError(ControlError):
    """No answer in time."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise foreign errors of the block as ControlError."""
    try:
        yield
    except nats.errors.NoRespondersError as exc:
        raise MissingError("nobody answers") from exc
    except TimeoutError as exc:  # nats.errors.TimeoutError is one
        raise TimedOutError("no answer in time") from exc
    except (nats.errors.Error, OSError, EOFError) as exc:
        raise ControlError(type(exc).__name__) from exc


def stream_name(origin: str) -> str:
    """Return the stream of an origin."""
    return f"FG_REV_{origin}"


def snapshot_name(region: str) -> str:
    """Return the stream of a region's saved states."""
    return f"FG_SNAP_{region}"


def answer_of(payload: bytes) -> dict[str, Any]:
    """Return a JetStream answer. Raises MissingError for 404, else ControlError."""
    try:
        answer = orjson.loads(payload)
    except orjson.JSONDecodeError as exc:
        raise ControlError("an answer cannot be read") from exc
    if not isinstance(answer, dict):
        raise ControlError("an answer cannot be read")
    error = answer.get("error")
    if error is None:
        return answer
    code = error.get("code") if isinstance(error, dict) else None
    description = error.get("description") if isinstance(error, dict) else None
    if code == _NOT_FOUND:
        raise MissingError(f"not found: {description}")
    raise ControlError(f"refused: {description}")


def number(headers: Mapping[str, str], name: str) -> int:
    """Return a header that is a number, -1 where it is none."""
    value = headers.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else -1


def stored_of(subject: str, headers: Mapping[str, str], data: bytes) -> Stored | None:
    """Return the message under a subject; None where it is none of ours."""
    parts = subject.split(".")
    position = number(headers, "Nats-Sequence")
    if len(parts) != _SUBJECT_PARTS or position < 1:
        return None
    if headers.get("Nats-Stream") != stream_name(parts[2]):
        return None
    return Stored(parts[2], position, f"{parts[3]}.{parts[4]}", data)
