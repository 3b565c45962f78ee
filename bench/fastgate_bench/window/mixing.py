"""Mixing: live messages of a bus doubled and reordered, as a hostile network would.

Owns:      the messages that are held back on one connection.
Called by: links, on the way from a server to its client.
Source:    NATS client protocol: MSG and HMSG end with the octets of their payload, and
           every other operation is a line.

Only whole messages are mixed, and only those of live subjects: answers to requests
belong to somebody who waits for them.
"""

import random
from collections import deque
from collections.abc import Iterator
from typing import Final

__all__ = ["Mixer"]

_LIVE: Final = b"fg.live."
_END: Final = b"\r\n"
_MESSAGES: Final = (b"MSG", b"HMSG")
_LEAST_FIELDS: Final = 4
# Reason: a server's own limit of a payload is 1 MiB; what is more is no message.
_MOST_BYTES: Final = 8_388_608
_KEPT: Final = 16
_KEPT_S: Final = 0.4
_PAST: Final = 256
_COPIES: Final = (1, 1, 2, 3)
_RECALL: Final = 0.2


class Mixer:
    """One connection, from its first octet on.

    Live messages wait until there are 16, or the oldest is 0.4 s old, and go on
    shuffled: half of them more than once, and now and then one of long ago again.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._part = bytearray()
        self._kept: list[bytes] = []
        self._past: deque[bytes] = deque(maxlen=_PAST)
        self._since_s = 0.0

    def mix(self, data: bytes, now_s: float) -> bytes:
        """Take what came, and return what goes on. Raises ValueError: no protocol."""
        self._part += data
        out = bytearray()
        for whole, live in self._whole():
            if not live:
                out += whole
                continue
            if not self._kept:
                self._since_s = now_s
            self._kept.append(whole)
        late = self._kept and now_s - self._since_s >= _KEPT_S
        if late or len(self._kept) >= _KEPT:
            out += self._shuffled()
        return bytes(out)

    def rest(self) -> bytes:
        """Return everything that is held, to go on as it came from now on."""
        found = b"".join(self._kept) + bytes(self._part)
        self._kept.clear()
        self._part.clear()
        return found

    def _shuffled(self) -> bytes:
        chance = self._chance
        found = [it for it in self._kept for _ in range(chance.choice(_COPIES))]
        if self._past and chance.random() < _RECALL:
            found.append(chance.choice(self._past))
        self._past += self._kept
        self._kept.clear()
        chance.shuffle(found)
        return b"".join(found)

    def _whole(self) -> Iterator[tuple[bytes, bool]]:
        """Yield what is complete, and whether it is a live message."""
        part = self._part
        while (line_end := part.find(_END)) >= 0:
            fields = bytes(part[:line_end]).split()
            is_message = bool(fields) and fields[0].upper() in _MESSAGES
            if is_message and len(fields) < _LEAST_FIELDS:
                raise ValueError("a message without its fields")
            end = line_end + len(_END)
            if is_message:
                end += int(fields[-1]) + len(_END)
            if len(part) < end:
                break
            yield bytes(part[:end]), is_message and fields[1].startswith(_LIVE)
            del part[:end]
        if len(part) > _MOST_BYTES:
            raise ValueError("a message of no end")
