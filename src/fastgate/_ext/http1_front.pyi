"""Front: frames every message of a client's connection; see http1_front.pyx."""

import asyncio
from typing import Protocol

class Back(Protocol):
    """The general lane's side of one connection."""

    def data_received(self, data: bytes, /) -> None:
        """Take bytes of the one message that is lent, or of a tunnel."""
    def spoil(self) -> None:
        """Learn that the rest of the lent message can never come: it is malformed."""
    def refuse(self, reason: str, /) -> None:
        """Answer with a name of domain.verdict.Reason, and close."""
    def connection_lost(self, exc: BaseException | None, /) -> None:
        """Stop whatever was done for this client."""
    def pause_writing(self) -> None:
        """The client takes nothing more for now."""
    def resume_writing(self) -> None:
        """The client takes more."""

class Lane(Protocol):
    """What a front needs of its lane."""

    def admit(self, front: Front, limit: int, /) -> bool:
        """Take a connection in; False where it is one too many."""
    def lost(self, front: Front, /) -> None:
        """Forget a connection."""
    def open_back(self, front: Front, snapshot: object, /) -> Back:
        """Make the general lane's side of a connection."""

class Cell(Protocol):
    """Holds the snapshot; see domain.snapshot.SnapshotCell."""

    @property
    def current(self) -> object:
        """The snapshot of this moment, with `limits` and `timers`."""

class Acceptor:
    """Makes the protocol of each connection of a lane, and sweeps their timers.

    cell: New connections get the limits and timers that are current when they come.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, lane: Lane, cell: Cell
    ) -> None: ...
    def __call__(self) -> Front: ...
    def close(self) -> None:
        """Let go of timers and upstream connections, when the worker ends."""

class Front(asyncio.Protocol):
    """One client connection; also the transport of the general lane behind it."""

    def __init__(self, acceptor: Acceptor) -> None: ...
    def get_buffer(self, sizehint: int, /) -> bytearray:
        """Return the lane's one buffer, to be read into and handed over at once."""
    def buffer_updated(self, size: int, /) -> None:
        """Take the bytes that were read into it."""
    def exchange_ended(self) -> None:
        """Learn that the lent message was answered and the connection goes on."""
    def tunnel(self) -> None:
        """Pass every byte from now on to the general lane as it comes."""
    def deafen(self) -> None:
        """Look at no further byte; read on, so that no reset loses an answer."""
    def close_if_idle(self) -> None:
        """Close where no request is being received or served."""
    def cut(self, *, reset: bool = True) -> None:
        """Drop the connection; `reset` so that it looks like no end of a message."""
