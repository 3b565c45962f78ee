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
    def lasting(self, walked_ns: int, now_ns: int) -> list[Downstream]:
        """Return the connections with an answer under way that is to be judged now.

        walked_ns: What was decided before is judged whatever its age. Both times are
        CLOCK_BOOTTIME. No answer is named that needed no token.
        """

class Downstream(Front):
    """A client's connection whose plain requests stay in this lane."""

    def under_way(self) -> tuple[int, Any, Any, Any]:
        """Return when the exchange of this moment began, its head, snapshot, decision.

        The time is its name: no two of a connection share it.
        """
    def renew_exchange(self, began_ns: int, now_ns: int) -> None:
        """Learn that an exchange was judged again, and may go on."""
    def end_exchange(self, began_ns: int, reason: str) -> None:
        """End an exchange that is still under way; a name of domain.verdict.Reason."""
