"""Redis wire: names of keys and channels, answers as values or as our own errors.

Owns:      the border at which foreign errors and foreign bytes end.
Called by: the other modules of this package.
Source:    ECOSYSTEM.md section 9: a stream per origin. An entry's id is `0-<position>`,
           so positions are contiguous, which Redis's own ids are not.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import redis.exceptions

from fastgate.domain.stream import Stored
from fastgate.errors import ControlError

__all__ = [
    "AnewError",
    "Names",
    "id_of",
    "position_of",
    "refusal_of",
    "stored_of",
    "translated",
]

_ID = re.compile(rb"0-([1-9][0-9]{0,18})")
_CHANNEL_PART = "[A-Za-z0-9_-]{1,64}"


class AnewError(ControlError):
    """The stream is not the one that this gateway knows: it has gone or was remade."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise foreign errors of the block as ControlError."""
    try:
        yield
    except redis.exceptions.ResponseError as exc:
        raise refusal_of(exc) from exc
    except (TimeoutError, redis.exceptions.TimeoutError) as exc:
        raise ControlError("no answer in time") from exc
    except redis.exceptions.ConnectionError as exc:
        raise ControlError("not connected") from exc
    except (redis.exceptions.RedisError, OSError, EOFError) as exc:
        raise ControlError(type(exc).__name__) from exc


def refusal_of(error: Exception) -> ControlError:
    """Return what a server's refusal means; its text is cut, it may be anybody's."""
    text = str(error)
    if text.startswith("ANEW"):
        return AnewError("the stream was made anew")
    return ControlError(f"refused: {text[:200]}")


class Names:
    """Keys and channels under one prefix, such as `fg`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._reply = re.compile(
            rf"{re.escape(prefix)}\.re\.{_CHANNEL_PART}\.{_CHANNEL_PART}".encode()
        )
        self._urgent = f"{prefix}.urgent.".encode()

    def log(self, origin: str) -> str:
        """Return the stream of an origin."""
        return f"{self.prefix}.rev.{origin}"

    def account(self, origin: str) -> str:
        """Return the hash that says when a stream was made and what it holds."""
        return f"{self.log(origin)}.made"

    def due(self, origin: str) -> str:
        """Return the sorted set of entries by the time at which they may go."""
        return f"{self.log(origin)}.due"

    def once(self, origin: str, message_id: str) -> str:
        """Return the key that remembers a message's name for the duplicate window."""
        return f"{self.log(origin)}.once.{message_id}"

    def blob(self, region: str, name: str) -> str:
        """Return the key of a part of a region's saved state."""
        return f"{self.prefix}.snap.{region}.{name}"

    def channel(self, what: str, region: str, node: str) -> str:
        """Return a channel.

        what: `ack` for reports, `hand` for events, `re` for answers, `urgent`, which
            has a publisher in the place of the node.
        """
        return f"{self.prefix}.{what}.{region}.{node}"

    def urgent_of(self, channel: object) -> tuple[str, str] | None:
        """Return origin and publisher of a channel for urgent frames; None: another."""
        if not isinstance(channel, bytes) or not channel.startswith(self._urgent):
            return None
        text = channel[len(self._urgent) :].decode("ascii", "replace")
        origin, _, publisher = text.partition(".")
        return origin, publisher

    def is_reply(self, channel: bytes) -> bool:
        """Tell whether an answer may be sent there."""
        return self._reply.fullmatch(channel) is not None


def id_of(position: int) -> str:
    """Return the id of the entry at a position."""
    return f"0-{position}"


def position_of(id_: object) -> int:
    """Return the position that an id stands for. Raises ControlError."""
    if id_ == b"0-0":
        return 0
    found = _ID.fullmatch(id_) if isinstance(id_, bytes) else None
    if found is None:
        raise ControlError("an entry's id is none of ours")
    return int(found[1])


def stored_of(origin: str, entry: Sequence[Any]) -> Stored:
    """Return an entry as a message; a foreign one has an empty publisher and payload.

    It keeps its position: left out, it would look like a loss for ever.
    """
    id_, fields = entry
    named = fields if isinstance(fields, dict) else {}
    publisher = named.get(b"p", b"").decode("ascii", "replace")
    return Stored(origin, position_of(id_), publisher, named.get(b"d", b""))
