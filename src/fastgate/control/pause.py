"""Pause: wait for an event, but no longer than so long.

Owns:      nothing.
Called by: the tasks of the feed, between two looks.
"""

import asyncio
import contextlib

__all__ = ["pause"]


async def pause(event: asyncio.Event, at_most_s: float) -> None:
    """Return when `event` is set, or after `at_most_s` seconds; the event is cleared.

    Not `asyncio.wait_for`: on Python 3.11 that swallows a cancellation which comes
    together with the event, and the task would never end.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most_s):
            await event.wait()
    event.clear()
