"""Session socket: the server's side of a WebSocket that only ever says "logged out".

Owns:      the handshake's answer, the client's frames as far as they need one, and the
           frames that we send. Nothing is kept of what a client says.
Called by: hotpath.session_events.
Source:    RFC 6455 sections 4.2 (handshake), 5 (framing) and 7.4 (close codes).
"""

import base64
import hashlib
import re
import struct

from fastgate.hotpath.frames import TRY_LATER, close_frame
from fastgate.hotpath.headers import Inbound

__all__ = [
    "AWAY",
    "LOGGED_OUT",
    "PING",
    "UNSURE",
    "ClientFrames",
    "accept_value",
]

# Of RFC 6455 section 1.3; it guards nothing.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_SAYS = b'{"type":"logout"}'
# Source: REQUIREMENTS.md S4.9. The range 4000-4999 is for private use.
_LOGGED_OUT_CODE = 4401
_PROTOCOL_ERROR, _UNSUPPORTED, _GOING_AWAY = 1002, 1003, 1001
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA
_DATA = (0x0, 0x1, 0x2)
_FIN, _RESERVED, _OPCODE = 0x80, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_MAX_CONTROL = 125
_HEAD = 6  # two bytes and the mask, of a frame of at most 125 bytes
_CODE = struct.Struct(">H")
# What a close frame may say; 1005, 1006 and 1015 never travel (section 7.4.1).
_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})
_CODES = range(1000, 5000)

PING = bytes((_FIN | _PING, 0))
LOGGED_OUT = (
    bytes((_FIN | 0x1, len(_SAYS)))
    + _SAYS
    + close_frame(_LOGGED_OUT_CODE, "logged_out")
)
UNSURE = close_frame(TRY_LATER, "try_again")
AWAY = close_frame(_GOING_AWAY, "going_away")


def accept_value(inbound: Inbound) -> bytes | None:
    """Return Sec-WebSocket-Accept; None for a handshake that is not one.

    inbound: Asks for a WebSocket.
    Source: RFC 6455 section 4.2.1 items 5 and 6, and 4.2.2 item 5.4.
    """
    keys = _values(inbound, b"sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        return None
    if _values(inbound, b"sec-websocket-version") != [b"13"]:
        return None
    digest = hashlib.sha1(keys[0] + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)


def _values(inbound: Inbound, wanted: bytes) -> list[bytes]:
    return [value for name, value in inbound.headers if name.lower() == wanted]


class ClientFrames:
    """Reads a client's frames: pings are answered, a close too, data ends it.

    ended: Nothing is read or sent any more.
    """

    __slots__ = ("_kept", "ended")

    def __init__(self) -> None:
        self._kept = b""
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come; return what is to be sent back."""
        self._kept += data
        back = []
        while not self.ended and len(self._kept) >= _HEAD - 4:
            answer = self._frame()
            if answer is None:
                break
            back.append(answer)
        if self.ended:
            self._kept = b""
        return b"".join(back)

    def _frame(self) -> bytes | None:
        """Take one frame; None where it is not all here. At most 131 bytes are kept."""
        first, second = self._kept[0], self._kept[1]
        opcode, length = first & _OPCODE, second & _LENGTH
        if first & _RESERVED or not second & _MASKED:
            return self._end(_PROTOCOL_ERROR)
        if opcode in _DATA:
            return self._end(_UNSUPPORTED)
        if (
            opcode not in {_CLOSE, _PING, _PONG}
            or not first & _FIN
            or length > _MAX_CONTROL
        ):
            return self._end(_PROTOCOL_ERROR)
        if len(self._kept) < _HEAD + length:
            return None
        mask, masked = self._kept[2:_HEAD], self._kept[_HEAD : _HEAD + length]
        self._kept = self._kept[_HEAD + length :]
        payload = bytes(b ^ mask[at % 4] for at, b in enumerate(masked))
        if opcode == _CLOSE:
            return self._closed(payload)
        if opcode == _PING:
            return bytes((_FIN | _PONG, length)) + payload
        return b""

    def _closed(self, payload: bytes) -> bytes:
        self.ended = True
        if not payload:
            return bytes((_FIN | _CLOSE, 0))
        code = _CODE.unpack_from(payload)[0] if len(payload) >= _CODE.size else 0
        if code not in _CODES or code in _NEVER_SENT:
            code = _PROTOCOL_ERROR
        return close_frame(code, "")

    def _end(self, code: int) -> bytes:
        self.ended = True
        return close_frame(code, "")
