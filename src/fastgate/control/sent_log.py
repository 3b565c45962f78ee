"""Sent log: under which number this node has said which event.

Owns:      the newest numbers of the own publisher, in an array: no object an event.
Called by: control.journal, which compares what its stream says with it.
Source:    REVOCATION.md section 3: one number with other content means a cloned or
           restored journal; section 5: native arrays.
"""

from array import array

__all__ = ["SentLog"]

# Reason: what a stream can still bring of this node's own, at 200 a second for 20 min.
_KEPT = 262_144


class SentLog:
    """Numbers and ids; an id is kept as 64 bits that only this process understands."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries = array("q", bytes(8 * _KEPT))

    def note(self, seq: int, id_: str) -> None:
        """Remember an event of this node's."""
        self._entries[seq % _KEPT] = _mark(seq, id_)

    def contradicts(self, seq: int, id_: str) -> bool:
        """Tell whether that number was given to another event; False if forgotten."""
        known = self._entries[seq % _KEPT]
        # The lower half says which number it is about.
        same_seq = known & 0xFFFF_FFFF == seq & 0xFFFF_FFFF
        return known != 0 and same_seq and known != _mark(seq, id_)

    def clear(self) -> None:
        """Forget all: the publisher has a new name."""
        self._entries = array("q", bytes(8 * _KEPT))


def _mark(seq: int, id_: str) -> int:
    # 31 bits of the id: the chance that another one passes is 1 in 2,000 million, and
    # the digest would tell of it.
    return (hash(id_) & 0x7FFF_FFFF) << 32 | seq & 0xFFFF_FFFF
