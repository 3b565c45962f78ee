"""Journal walk: what the whole journal has to be read for, and runs of its events.

Owns:      nothing; a page at a time, so that other tasks run in between.
Called by: control.journal and control.feed.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
)
from typing import Protocol

from fastgate.domain.entry import Lifetimes, lengthened
from fastgate.domain.event import MAX_EVENTS, Event
from fastgate.domain.stream import Kept
from fastgate.ports import Journal

__all__ = [
    "absent",
    "lengthen",
    "pages",
    "refill",
    "runs",
    "subject",
    "unpublished",
]


class Waiting(Protocol):
    """An event that was entered."""

    @property
    def done(self) -> asyncio.Future[int]:
        """Its position in the stream."""
        ...


def subject(event: Event) -> str:
    """Return the word that an event's subject ends with."""
    if event.lifts:
        return "lift"
    return event.kind.value if event.kind else "batch"


def runs(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield what can be sent as one batch each: no number missing, one hash key."""
    run: list[Event] = []
    for event in sorted(events, key=lambda e: e.seq):
        follows = run and event.seq == run[-1].seq + 1 and len(run) < MAX_EVENTS
        if run and not (follows and event.key_id == run[0].key_id):
            yield run
            run = []
        run.append(event)
    if run:
        yield run


async def pages(journal: Journal, row: int = 0) -> AsyncGenerator[list[Kept], None]:
    """Yield everything behind a row, in order. Raises ControlError."""
    while page := await journal.read(row):
        yield page
        row = page[-1].row


async def unpublished(journal: Journal) -> list[Kept]:
    """Return what the stream does not have yet. Raises ControlError."""
    found: list[Kept] = []
    row = 0
    while page := await journal.read(row, unpublished=True):
        found += page
        row = page[-1].row
    return found


async def absent(
    journal: Journal, holes: tuple[tuple[int, int], ...], read_to: int, wall_s: float
) -> list[Event]:
    """Return live events that a full read of the own stream did not bring.

    holes: Half-open ranges of numbers that are missing in it.
    read_to: Highest number that it brought.
    """
    lost: list[Event] = []
    async for page in pages(journal):
        for kept in page:
            seq = kept.event.seq
            if kept.publisher != journal.publisher or not kept.position:
                continue
            missing = seq > read_to or any(s <= seq < e for s, e in holes)
            if missing and kept.event.expires > wall_s:
                lost.append(kept.event)
    return lost


async def refill(journal: Journal, insert: Callable[[Event], object]) -> None:
    """Give everything to the own index. Raises ControlError."""
    async for page in pages(journal):
        for kept in page:
            insert(kept.event)


async def lengthen(
    journal: Journal,
    insert: Callable[[Event], object],
    enter: Callable[[Event], Awaitable[Waiting]],
    lifetimes: Lifetimes,
    *,
    origins: Collection[str],
    is_lifted: Callable[[Event], bool],
    wall_s: float,
) -> None:
    """Enter again what would end before the last token that it can touch.

    insert: Gives an event to the own index. enter: Makes it the publisher's.
    lifetimes: That tokens and sessions may have from now on.
    origins: Whose events are this node's; others see to theirs.
    is_lifted: Tells what is not to live longer.
    Raises ControlError where the journal took not all of it; then call it again.
    """
    # All of them here first: publishing may have to wait for the bus.
    async for page in pages(journal):
        for old, new in _longer(page, lifetimes, origins, wall_s):
            if not is_lifted(old):
                insert(new)
    async for page in pages(journal):
        longer = _longer(page, lifetimes, origins, wall_s)
        events = [new for old, new in longer if not is_lifted(old)]
        for start in range(0, len(events), MAX_EVENTS):
            some = events[start : start + MAX_EVENTS]
            entered = await asyncio.gather(*map(enter, some))
            # One frame at a time: whoever enters something new is not held up.
            await asyncio.wait([waiting.done for waiting in entered])


def _longer(
    page: list[Kept], lifetimes: Lifetimes, origins: Collection[str], wall_s: float
) -> list[tuple[Event, Event]]:
    own = (kept.event for kept in page if kept.event.origin in origins)
    live = (event for event in own if event.expires > wall_s and not event.lifts)
    longer = ((event, lengthened(event, lifetimes)) for event in live)
    return [(event, new) for event, new in longer if new is not None]
