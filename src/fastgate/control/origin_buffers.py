"""Origin buffers: messages that wait for others, and own ones that were acknowledged.

Owns:      messages ahead of the position reached, within bounds; batches that the
           stream acknowledged, until they are read in it.
Called by: control.origin, one of each per tracker.
Source:    REVOCATION.md section 4: positions on the live path contiguous, else
           backfilled; a publisher that misses its own events publishes them again.
"""

from collections import deque

from fastgate.domain.event import Batch
from fastgate.domain.stream import Stored

__all__ = ["Acknowledged", "HeldBack"]

# Reason: what is dropped comes back by replay, so memory may be small.
MAX_HELD = 4_096
_MAX_HELD_BYTES = 16_777_216
_MAX_OWN = 4_096


class HeldBack:
    """Messages that came before others which have lower positions."""

    def __init__(self) -> None:
        self._held: dict[int, Stored] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many messages are held."""
        return len(self._held)

    def hold(self, stored: Stored) -> bool:
        """Keep a message; False where it is kept already. The last ones go first."""
        if stored.position in self._held:
            return False
        self._held[stored.position] = stored
        self._bytes += len(stored.payload)
        while len(self._held) > MAX_HELD or self._bytes > _MAX_HELD_BYTES:
            self.pop(max(self._held))
        return True

    def pop(self, position: int) -> Stored | None:
        """Take a message out."""
        stored = self._held.pop(position, None)
        if stored is not None:
            self._bytes -= len(stored.payload)
        return stored

    def drop(self, *, to: int = 0, past: int = 2**63) -> None:
        """Forget messages up to a position, and those behind another one."""
        for position in [p for p in self._held if p <= to or p > past]:
            self.pop(position)

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()
        self._bytes = 0


class Acknowledged:
    """Own batches that the stream said it has, in the order of its positions."""

    def __init__(self) -> None:
        self._acked: deque[tuple[int, Batch]] = deque()
        self._read: deque[int] = deque(maxlen=_MAX_OWN)
        self._lost: list[Batch] = []

    def read(self, position: int) -> None:
        """Note a position at which the stream has a message of this node's."""
        self._read.append(position)

    def acked(self, batch: Batch, position: int) -> None:
        """Note a batch that the stream took."""
        if position not in self._read:
            self._acked.append((position, batch))

    def settle(self, position: int) -> int:
        """Compare what was read up to a position; return how many batches are lost."""
        lost = 0
        while self._acked and self._acked[0][0] <= position:
            at, batch = self._acked.popleft()
            if at not in self._read and len(self._lost) < _MAX_OWN:
                # The stream said that it has this, and does not.
                self._lost.append(batch)
                lost += 1
        return lost

    def take_lost(self) -> list[Batch]:
        """Return what the stream acknowledged and then did not have, once."""
        lost, self._lost = self._lost, []
        return lost

    def clear(self) -> None:
        """Forget what was acknowledged: another stream stands under that name."""
        self._acked.clear()
        self._read.clear()
