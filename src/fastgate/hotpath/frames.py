"""Frames: where the frames of a WebSocket begin and end, and the frame that closes it.

Owns:      nothing but the place in one stream; no payload is looked at or kept.
Called by: hotpath.tunnel, which may put a frame of its own only between two others.
Source:    RFC 6455 sections 5.2 (framing), 5.5.1 (close) and 7.4.1 (status codes).
"""

import struct

__all__ = ["POLICY_VIOLATION", "TRY_LATER", "FrameEdges", "close_frame"]

POLICY_VIOLATION = 1008
# 1013 of the IANA registry: try again later.
TRY_LATER = 1013

_FIN_CLOSE = 0x88
_MASKED = 0x80
_LENGTH = 0x7F
_TWO_BYTES = 126
_EIGHT_BYTES = 127
_HEAD = 2
_MASK = 4
# Reason: the payload of a control frame, less its status code (RFC 6455 section 5.5).
_MAX_REASON = 123


class FrameEdges:
    """Follows one direction of a WebSocket from frame to frame."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    @property
    def between(self) -> bool:
        """The bytes so far end with a frame, so another one may follow."""
        return self._left == 0 and not self._head

    def feed(self, data: bytes) -> None:
        """Follow bytes, however they were cut."""
        at = 0
        while at < len(data):
            at += self._step(data, at)

    def rest(self, data: bytes) -> int:
        """Follow bytes up to the end of the frame that is open; returns how many."""
        at = 0
        while at < len(data) and not self.between:
            at += self._step(data, at)
        return at

    def _step(self, data: bytes, at: int) -> int:
        """Take a part of a head, or of a payload; returns how many bytes."""
        if self._left:
            taken = min(self._left, len(data) - at)
            self._left -= taken
            return taken
        want = _head_size(self._head) - len(self._head)
        taken = min(want, len(data) - at)
        self._head += data[at : at + taken]
        if len(self._head) == _head_size(self._head):
            self._left = _payload_size(self._head)
            self._head = b""
        return taken


def _head_size(head: bytes) -> int:
    """Return how long a head is, as far as its first bytes tell."""
    if len(head) < _HEAD:
        return _HEAD
    length = head[1] & _LENGTH
    extra = {_TWO_BYTES: 2, _EIGHT_BYTES: 8}.get(length, 0)
    return _HEAD + extra + (_MASK if head[1] & _MASKED else 0)


def _payload_size(head: bytes) -> int:
    length = head[1] & _LENGTH
    if length == _TWO_BYTES:
        return int(struct.unpack_from(">H", head, _HEAD)[0])
    if length == _EIGHT_BYTES:
        return int(struct.unpack_from(">Q", head, _HEAD)[0])
    return length


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame from server to client, which is not masked.

    reason: ASCII; what is too long for a control frame is cut off.
    """
    payload = struct.pack(">H", code) + reason.encode("ascii")[:_MAX_REASON]
    return bytes((_FIN_CLOSE, len(payload))) + payload
