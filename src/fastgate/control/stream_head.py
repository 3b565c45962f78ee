"""Stream head: whether the own stream has lost what it had at its beginning.

Owns:      up to where the head of the stream was looked into.
Called by: control.origin_reader, for the own origin, whenever the stream was asked.
Source:    REVOCATION.md section 4: a publisher that misses its own events in the stream
           publishes them again.

A purge, or a limit that somebody set on the server, takes messages off the head of a
stream whose positions go on. Whoever reads on sees nothing of it, and whoever begins
anew misses them for ever. The journal has the position of each event, so it is asked.
"""

from fastgate.ports import Clock, Journal

__all__ = ["StreamHead"]

# Reason: the head moves each second as markers expire, and asking reads the journal.
_ASK_EVERY_NS = 10_000_000_000


class StreamHead:
    """Of the own stream."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        # No live event of ours, of those not looked into, stands before that position.
        self._lowest = 0
        self._looked_into = 0
        self._asked_ns = -_ASK_EVERY_NS

    async def is_cut(self, first: int) -> bool:
        """Tell whether live events of this node stood before a position.

        first: Lowest position that the stream has. True once for each loss: then the
        stream is to be read from its start. Raises ControlError.
        """
        now_ns = self._clock.boot_ns()
        if first <= self._lowest or now_ns - self._asked_ns < _ASK_EVERY_NS:
            return False
        self._asked_ns = now_ns
        wall_s = int(self._clock.wall_s())
        lowest = await self._journal.lowest(self._looked_into, wall_s)
        if 0 < lowest < first:
            # What is said again has positions that the journal does not note.
            self._looked_into = self._lowest = first
            return True
        # Without one, nothing that was written by now can be lost.
        self._lowest = lowest or first
        return False
