"""Local bus: the journal is the stream; what is committed is published.

Owns:      how far listeners were told; nothing is stored here.
Called by: control.feed through ports.Bus, on a host without any other bus.
Source:    REVOCATION.md sections 1 and 5: the promise holds on one host only.
"""

from collections.abc import AsyncGenerator

from fastgate.domain.event import Batch, encode_batch
from fastgate.domain.stream import Kept, Stored, StreamState
from fastgate.errors import ControlError
from fastgate.ports import BusListener, Journal

__all__ = ["LocalBus"]


class LocalBus:
    """The `local` bus over an open journal.

    region: The one origin that it speaks for.
    """

    name = "local"

    def __init__(self, journal: Journal, region: str) -> None:
        self._journal = journal
        self._region = region
        self._listener: BusListener | None = None
        self._told = 0

    async def start(self, listener: BusListener) -> None:
        """Begin telling a listener what is published from now on."""
        self._told = (await self.state(self._region)).last
        self._listener = listener
        listener.connected(up=True)

    async def stop(self) -> None:
        """Tell nobody anything any more."""
        self._listener = None

    async def publish(
        self,
        publisher: str,
        kind: str,  # noqa: ARG002  # a journal has no subjects
        message_id: str,
        payload: bytes,  # noqa: ARG002  # the journal has the events
        ttl_s: int,  # noqa: ARG002  # the journal knows when they expire
    ) -> int:
        """Tell the listener of everything committed; return the journal's last row.

        Raises ControlError where nothing of `publisher` was ever committed.
        """
        if self._journal.publisher != publisher or not self._journal.last:
            raise ControlError(f"the journal has nothing of {message_id}")
        async for stored in self.replay(self._region, self._told, 2**63 - 1):
            self._told = max(self._told, stored.position)
            if self._listener is not None:
                self._listener.live(stored)
        return self._told

    async def state(self, origin: str) -> StreamState:
        """Return how far the journal reaches. Raises ControlError for a foreign one."""
        last = self._told
        async for stored in self.replay(origin, last, 2**63 - 1):
            last = stored.position
        return StreamState(incarnation="journal", last=last, fill=0.0)

    async def replay(
        self, origin: str, after: int, to: int
    ) -> AsyncGenerator[Stored, None]:
        """Yield what is committed in (after, to], one event a message."""
        if origin != self._region:
            raise ControlError(f"no stream of {origin} on this host")
        while rows := await self._journal.read(after):
            for kept in rows:
                if kept.row > to:
                    return
                yield self._stored(kept)
            after = rows[-1].row

    def _stored(self, kept: Kept) -> Stored:
        batch = Batch(self._region, kept.publisher, (kept.event,))
        return Stored(self._region, kept.row, kept.publisher, encode_batch(batch))

    async def report(self, payload: bytes) -> None:
        """Tell the listener: this host has no other node."""
        if self._listener is not None:
            self._listener.reported("", payload)

    async def urge(self, publisher: str, payload: bytes) -> None:
        """Do nothing: one agent writes the index that all workers of the host read.

        An event is in it before it is published, so no path could be shorter.
        """

    async def hand(self, home: str, payload: bytes) -> bytes:  # noqa: ARG002  # nobody there
        """Raise ControlError: this node stands in for every region itself."""
        raise ControlError(f"{home} is not on this host")
