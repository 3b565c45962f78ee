"""Frame: the strict reading that every message of the revocation feed goes through.

Owns:      the version, the size limits, and what each way of being wrong is called.
Called by: domain.event and domain.marker, for bytes that anybody may have written.
Source:    REVOCATION.md section 3 (a frame cannot crash the agent or move a mark),
           THREATS.md B4 and F7.
"""

import enum
import re
from collections.abc import Mapping

import orjson

from fastgate.errors import ControlError

__all__ = [
    "FRAME_VERSION",
    "MAX_FRAME_BYTES",
    "NAME",
    "FaultKind",
    "Fields",
    "FrameError",
    "fields_of",
    "open_frame",
]

FRAME_VERSION = 1
# Reason: a batch of 256 events takes about 60 KiB; NATS refuses 1 MiB by default.
MAX_FRAME_BYTES = 262_144

_YEAR_5138 = 1e11

# Regions, nodes, publishers and ids: one subject token, safe in a log line and a label.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class FaultKind(enum.StrEnum):
    """Why a frame was not taken; metric label."""

    MALFORMED = "malformed"
    OVERSIZE = "oversize"
    VERSION = "version"
    CRITICAL = "critical"
    KEY = "key"
    FOREIGN = "foreign"
    SIGNATURE = "signature"


class FrameError(ControlError):
    """A frame that says nothing; it changes no state.

    kind: What is wrong, for counting. The text names a member, never its content.
    """

    code = "frame"

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


class Fields:
    """The members of one JSON object, each read with its type and its bounds."""

    __slots__ = ("_members",)

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise FrameError(FaultKind.MALFORMED, "an object is expected")
        self._members: dict[str, object] = value

    def has(self, name: str) -> bool:
        """Tell whether a member is present."""
        return name in self._members

    def text(self, name: str, *, max_chars: int, default: str | None = None) -> str:
        """Return a string of at most `max_chars`."""
        value = self._members.get(name, default)
        if not isinstance(value, str) or len(value) > max_chars:
            raise FrameError(FaultKind.MALFORMED, name)
        return value

    def name(self, name: str, default: str | None = None) -> str:
        """Return a string that matches NAME; a given `default` may be anything."""
        if default is not None and name not in self._members:
            return default
        return _name(self._members.get(name), name)

    def names(self, name: str, *, at_most: int) -> tuple[str, ...]:
        """Return a list of names; an absent member is an empty one."""
        value = self._members.get(name, [])
        if not isinstance(value, list) or len(value) > at_most:
            raise FrameError(FaultKind.MALFORMED, name)
        return tuple(_name(item, name) for item in value)

    def whole(
        self, name: str, *, low: int, high: int, default: int | None = None
    ) -> int:
        """Return an integer in [low, high]."""
        value = self._members.get(name, default)
        # bool is an int in Python and no number in JSON.
        if type(value) is not int or not low <= value <= high:
            raise FrameError(FaultKind.MALFORMED, name)
        return value

    def seconds(self, name: str) -> float:
        """Return a wall time: seconds since 1970 UTC, before the year 5138."""
        value = self._members.get(name)
        # Refuses NaN as well: every comparison with it is false.
        if type(value) not in {int, float} or not 0 <= value < _YEAR_5138:  # type: ignore[operator]
            raise FrameError(FaultKind.MALFORMED, name)
        return float(value)  # type: ignore[arg-type]

    def flag(self, name: str) -> bool:
        """Return a boolean; an absent member is False."""
        value = self._members.get(name, False)
        if type(value) is not bool:
            raise FrameError(FaultKind.MALFORMED, name)
        return value

    def hexed(self, name: str, *, size_bytes: int) -> bytes:
        """Return exactly `size_bytes` from lower-case hexadecimal."""
        value = self._members.get(name)
        if not isinstance(value, str) or len(value) != 2 * size_bytes:
            raise FrameError(FaultKind.MALFORMED, name)
        try:
            raw = bytes.fromhex(value)
        except ValueError:
            raise FrameError(FaultKind.MALFORMED, name) from None
        if raw.hex() != value:
            raise FrameError(FaultKind.MALFORMED, name)
        return raw

    def items(self, name: str, *, at_least: int, at_most: int) -> list[object]:
        """Return a list with a bounded number of items."""
        value = self._members.get(name)
        if not isinstance(value, list) or not at_least <= len(value) <= at_most:
            raise FrameError(FaultKind.MALFORMED, name)
        return value

    def table(self, name: str, *, at_most: int) -> Mapping[str, object]:
        """Return an object with a bounded number of members."""
        value = self._members.get(name)
        if not isinstance(value, dict) or len(value) > at_most:
            raise FrameError(FaultKind.MALFORMED, name)
        return value


def _name(value: object, name: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise FrameError(FaultKind.MALFORMED, name)
    return value


def open_frame(
    payload: bytes, *, max_bytes: int = MAX_FRAME_BYTES
) -> tuple[str, Fields]:
    """Read a frame's envelope; return its type, the member `t`, and its members.

    payload: The message as it came.
    max_bytes: Limit, checked before anything is parsed.
    Raises FrameError. `crit` names members that a reader must understand (as RFC 7515
    section 4.1.11 does); this version knows none, so its presence is a fault.
    """
    if len(payload) > max_bytes:
        raise FrameError(FaultKind.OVERSIZE, "frame")
    try:
        members = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise FrameError(FaultKind.MALFORMED, "frame") from None
    fields = Fields(members)
    if fields.whole("v", low=0, high=2**31) != FRAME_VERSION:
        raise FrameError(FaultKind.VERSION, "v")
    if fields.has("crit"):
        raise FrameError(FaultKind.CRITICAL, "crit")
    return fields.name("t"), fields


def fields_of(payload: bytes, type_: str, *, max_bytes: int) -> Fields:
    """Return the members of a frame that must be of one type. Raises FrameError."""
    found, fields = open_frame(payload, max_bytes=max_bytes)
    if found != type_:
        raise FrameError(FaultKind.CRITICAL, "t")
    return fields
