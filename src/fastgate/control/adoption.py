"""Adoption: another region speaks for one that is gone for good.

Owns:      which region speaks for which, as operators said and markers tell.
Called by: control.feed: `adopt` for an operator, `told` for each proof of a marker.
Source:    REVOCATION.md section 2: audited; the adopter speaks from its complete state
           and names any gap.

The word travels in the adopter's markers: a node that is complete as of one of them is
as complete for the adopted region, since the adopter has published all of it anew.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastgate.control.origin import OriginState
from fastgate.domain.entry import EntryError
from fastgate.domain.event import MAX_EVENTS, Event
from fastgate.errors import ControlError

if TYPE_CHECKING:
    from fastgate.control.feed import Feed

__all__ = ["Adopted", "Adoption"]


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an adoption took over.

    events: Live events that are published anew. proven_s: Age of the last proof that
    this node had everything of that region, None where it never had one.
    """

    region: str
    by: str
    events: int
    proven_s: float | None


class Adoption:
    """One per node."""

    def __init__(self, feed: "Feed") -> None:
        self._feed = feed
        # By adopted region: who speaks for it, and what that proved.
        self.speaker: dict[str, str] = {}
        self.evidence_ns: dict[str, int] = {}

    @property
    def own(self) -> tuple[str, ...]:
        """Regions that this one speaks for, for its markers."""
        region = self._feed.region
        return tuple(sorted(r for r, by in self.speaker.items() if by == region))

    def home(self, region: str | None) -> str | None:
        """Return who takes events of a region's users."""
        return None if region is None else self.speaker.get(region, region)

    def restore(self, regions: Collection[str]) -> None:
        """Take up what the journal knows of earlier adoptions."""
        for region in regions:
            self._note(region, self._feed.region)

    def told(self, origin: str, regions: Collection[str], boot_ns: int) -> None:
        """Take the word of a marker that this node is complete as of."""
        for region in regions:
            if region in self._feed.trackers and region != origin:
                self._note(region, origin)
                self.evidence_ns[region] = boot_ns

    def _note(self, region: str, by: str) -> None:
        feed = self._feed
        if self.speaker.get(region) == by or region not in feed.trackers:
            return
        self.speaker[region] = by
        feed.enforcement.store.adopt(region, by)
        if by == feed.region:
            feed.speaks_for.add(region)
        feed.handover.redirect(region, by)

    async def adopt(self, region: str) -> Adopted:
        """Speak for a region from now on, and publish its live events anew.

        Raises EntryError where that must not be, ControlError where the journal or the
        stream did not take all of it: then ask again.
        """
        feed = self._feed
        self._check(region)
        now_ns = feed.clock.boot_ns()
        proven_ns = feed.trackers[region].evidence_ns
        count = await self._publish(region)
        # Only now: whoever hears of it must find all of it before.
        await feed.publisher.note_adopted({*self.own, region})
        self._note(region, feed.region)
        age_s = (now_ns - proven_ns) / 1e9 if proven_ns else None
        return Adopted(region, feed.region, count, age_s)

    def _check(self, region: str) -> None:
        feed = self._feed
        if feed.standalone:
            raise EntryError("region", "with the bus local this node is every origin")
        if region == feed.region or region not in feed.trackers:
            raise EntryError("region", "not another region that publishes")
        now_ns, limit_ns = (
            feed.clock.boot_ns(),
            int(feed.settings.max_staleness_s * 1e9),
        )
        if feed.trackers[region].state(now_ns, limit_ns) is OriginState.FRESH:
            raise EntryError("region", f"{region} is alive: its gateways speak for it")
        own = feed.trackers[feed.region]
        if own.state(now_ns, limit_ns) is not OriginState.FRESH:
            raise ControlError("this node is not complete itself")

    async def _publish(self, region: str) -> int:
        feed = self._feed
        count, waiting = 0, []
        feed.enforcement.store.begin_reading(region)
        async for known in feed.enforcement.unread(region):
            if known.lifted or known.key is None or known.id is None:
                continue
            at = known.expires - feed.settings.lifetimes.of(known.kind)
            event = Event(
                id=known.id,
                origin=region,
                at=float(max(0, min(at, int(feed.clock.wall_s())))),
                kind=known.kind,
                key=known.key,
                key_id=known.key_id,
                expires=known.expires,
                cutoff=known.cutoff,
            )
            count += 1
            waiting.append((await feed.publisher.enter(event)).done)
            if len(waiting) >= MAX_EVENTS:
                await asyncio.wait(waiting)
                waiting.clear()
        if waiting:
            await asyncio.wait(waiting)
        return count
