"""The compiled lane of a worker; see http1.pyx."""

import asyncio
from typing import Any

from fastgate._ext.http1_front import Acceptor, Cell, Front
from fastgate._ext.http1_front import Lane as GeneralLane

class Lane(Acceptor):
    """Accepts connections whose plain requests are served without a task.

    lane: Serves what is not plain. cell: Holds the snapshot of each request.
    desk: Judges, words, counts and logs; see hotpath.desk.Desk. It names headers, too.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lane: GeneralLane,
        cell: Cell,
        desk: Any,
    ) -> None: ...
    def __call__(self) -> Downstream: ...

class Downstream(Front):
    """A client's connection whose plain requests stay in this lane."""
