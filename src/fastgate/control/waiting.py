"""Waiting: an event that is in the journal and not yet in the stream.

Owns:      a shape only.
Called by: control.journal makes them, control.entries waits for them.
"""

import asyncio
from dataclasses import dataclass

from fastgate.domain.stream import Kept

__all__ = ["Waiting"]


@dataclass(slots=True)
class Waiting:
    """An event between its commit and its publication.

    done: The position in the stream; never an exception.
    """

    kept: Kept
    done: asyncio.Future[int]
    since_ns: int
    ack: bool = False

    @property
    def position(self) -> int:
        """Position in the stream, 0 while it is pending."""
        return self.done.result() if self.done.done() else 0
