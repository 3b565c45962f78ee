"""Tasks: what runs for as long as the feed does, and begins again where it fails.

Owns:      the asyncio tasks of one feed, from its start to its stop.
Called by: control.feed.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Tasks"]

_log = logging.getLogger(__name__)

_RESTART_S = 1.0


class Tasks:
    """One per feed.

    failed: Told the name of a task each time it fails.
    """

    def __init__(self, failed: Callable[[str], None]) -> None:
        self._failed = failed
        self._running: list[asyncio.Task[None]] = []

    def supervise(
        self, name: str, run: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Run something for ever: again a second after it ended or failed."""

        async def again() -> None:
            while True:
                try:
                    await run()
                except Exception:  # noqa: BLE001
                    # The last border of a task: log, and begin again; state is kept,
                    # and a view that is not proven anew grows old by itself.
                    _log.exception("feed task %s failed", name)
                    self._failed(name)
                await asyncio.sleep(_RESTART_S)

        self._running.append(asyncio.create_task(again(), name=f"feed-{name}"))

    async def stop(self) -> None:
        """Cancel all of them, and return when they have ended."""
        left = set(self._running)
        while left:
            # Again, where a library swallowed it (asyncio.wait_for on Python 3.11).
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.5)
