"""Entries: from what somebody asks to the receipt that says what became of it.

Owns:      the wait for an answer; the hashers by issuer.
Called by: control.feed, once per entry.
Source:    REVOCATION.md sections 1 (201 and 202) and 2 (whose event it is).
"""

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from fastgate.control.enforcement import Enforcement
from fastgate.control.feed_settings import FeedSettings
from fastgate.control.handover import Handover
from fastgate.control.journal import Publisher, Waiting
from fastgate.control.lifts import plan_lift
from fastgate.control.receipts import Receipts, RegionReceipt, Watch
from fastgate.domain.entry import Entry, EntryError, RepeatedError, make_event
from fastgate.domain.event import Event, key_id
from fastgate.domain.marker import Taken
from fastgate.domain.revocation import KeyHasher
from fastgate.errors import ControlError
from fastgate.ports import Clock

__all__ = ["Entries", "Receipt"]

# Reason: issuers are configured, so there are few; a bound all the same.
_MAX_HASHERS = 1_024
# Reason: a receipt is asked for right after it was given, if at all.
_MAX_RECENT = 1_000


# An event, the answers of its homes, and whether every region was waited for.
_Recent = tuple[Waiting, list[asyncio.Future[Taken]], bool]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an entry.

    origin: Whose event it is. seq: Its number there, None while that is not known.
    published: The home's stream has it: 201; else 202.
    complete: Everything that was waited for has happened.
    regions: By region, how many nodes enforce it and after how many milliseconds.
    elsewhere: Of a lift: regions that published the same event; it is in force there.
    """

    id: str
    origin: str
    seq: int | None
    published: bool
    complete: bool
    regions: dict[str, RegionReceipt]
    elsewhere: tuple[str, ...] = ()


class Entries:
    """Makes events of entries and waits for what must happen to them.

    report: Asks for this node's own report at once, so that its region is counted.
    speaks_for: Whose events are this node's own. home_of: Who stands for a region.
    """

    def __init__(
        self,
        *,
        region: str,
        node: str,
        origins: tuple[str, ...],
        standalone: bool,
        publisher: Publisher,
        handover: Handover,
        enforcement: Enforcement,
        receipts: Receipts,
        clock: Clock,
        settings: FeedSettings,
        report: Callable[[], None],
        speaks_for: Collection[str],
        home_of: Callable[[str | None], str | None],
    ) -> None:
        self._region = region
        self._node = node
        self._origins = origins
        self._standalone = standalone
        self._publisher = publisher
        self._handover = handover
        self._enforcement = enforcement
        self._receipts = receipts
        self._clock = clock
        self.settings = settings
        self._report = report
        self._speaks_for = speaks_for
        self._home_of = home_of
        self._key_id = key_id(settings.hash_key)
        self._hashers: dict[str, KeyHasher] = {}
        self._recent: OrderedDict[str, _Recent] = OrderedDict()

    async def enter(self, entry: Entry, *, everywhere: bool) -> Receipt:
        """Revoke: journal and own index first, then the stream, then the answer.

        everywhere: Wait for every region, for a bounded time.
        Raises EntryError for what cannot be asked, RepeatedError where the entry names
        an event that is known, ControlError where the journal refused it; then nothing
        was revoked.
        """
        origin, hand = self._home(entry)
        if hand and self._handover.full:
            raise ControlError("too many revocations wait for their home")
        key = self._key(entry)
        if entry.id and self._enforcement.keeps(entry.id, key):
            raise RepeatedError("id", "this event is known")
        event = make_event(
            entry,
            id_=entry.id or secrets.token_hex(12),
            key=key,
            key_id=self._key_id,
            origin=origin,
            hand=hand,
            now=self._clock.wall_s(),
            lifetimes=self.settings.lifetimes,
        )
        return await self._publish(event, everywhere=everywhere)

    async def lift(
        self, id_: str, *, everywhere: bool, reason: str = ""
    ) -> Receipt | None:
        """Undo an event of this region's; None where no live one of that id is known.

        Asked twice, it is one lift. Raises EntryError where it is another region's,
        ControlError where the journal refused it.
        """
        plan = await plan_lift(
            id_,
            self._enforcement,
            self._speaks_for,
            now=self._clock.wall_s(),
            reason=reason,
        )
        if plan is None:
            return None
        done = [await self._publish(e, everywhere=everywhere) for e in plan.events]
        # Lifted before: by this node lately, else it was read from the stream.
        known = Receipt(plan.id, plan.origin, None, True, True, {})
        first = done[0] if done else self._again(known)
        return replace(
            first,
            id=plan.id,
            published=all(each.published for each in (first, *done)),
            complete=all(each.complete for each in (first, *done)),
            elsewhere=plan.elsewhere,
        )

    def _again(self, receipt: Receipt) -> Receipt:
        if receipt.id not in self._recent:
            return receipt
        return self.so_far(replace(receipt, published=False, complete=False))

    async def _publish(self, event: Event, *, everywhere: bool) -> Receipt:
        began_ns = self._clock.boot_ns()
        regions = () if self._standalone else self._origins
        watch = self._receipts.watch({}, regions, began_ns)
        try:
            waiting = await self._publisher.enter(event, ack=everywhere)
            now_ns = self._clock.boot_ns()
            self._receipts.enforced(watch, self._region, self._node, now_ns)
            kept = waiting.kept.event
            homes = [self._handover.offer(kept, home) for home in event.hand]
            self._recent[kept.id] = waiting, homes, everywhere
            if len(self._recent) > _MAX_RECENT:
                self._recent.popitem(last=False)
            return await self._answer(waiting, homes, watch, everywhere=everywhere)
        finally:
            self._receipts.forget(watch)

    def so_far(self, receipt: Receipt) -> Receipt:
        """Return a receipt with what has become of its event since.

        Published, and with it its number; the regions stay as they were answered, since
        nobody has counted their milliseconds after that.
        """
        found = self._recent.get(receipt.id)
        if receipt.published or found is None:
            return receipt
        waiting, homes, everywhere = found
        own = waiting.kept.event.origin == self._region or self._standalone
        if not all(home.done() for home in homes) or (own and not waiting.done.done()):
            return receipt
        seq = self._seq(waiting, homes)
        return replace(receipt, published=True, complete=not everywhere, seq=seq)

    def _seq(self, waiting: Waiting, homes: list[asyncio.Future[Taken]]) -> int | None:
        event = waiting.kept.event  # a contradicted journal numbers anew
        if event.origin == self._region or self._standalone:
            return event.seq
        return homes[0].result().seq if homes and homes[0].done() else None

    def _home(self, entry: Entry) -> tuple[str, tuple[str, ...]]:
        home = entry.home
        if entry.kind.everybody:
            settings = self.settings
            home = settings.issuer_homes.get(entry.issuer, settings.default_origin)
        if self._standalone:
            # It stands in for every region, also for those it has no name for.
            return home if home in self._origins else self._region, ()
        if home is not None and home not in self._origins:
            raise EntryError("home", "not a region that publishes")
        home = self._home_of(home)
        if home is None:
            homes = dict.fromkeys(map(self._home_of, self._origins))
            others = tuple(o for o in homes if o is not None and o != self._region)
            return self._region, others
        return home, () if home == self._region else (home,)

    def _key(self, entry: Entry) -> bytes:
        hasher = self._hashers.get(entry.issuer)
        if hasher is None:
            if len(self._hashers) >= _MAX_HASHERS:
                self._hashers.clear()
            hasher = KeyHasher(self.settings.hash_key, entry.issuer)
            self._hashers[entry.issuer] = hasher
        return hasher.key(entry.kind, entry.value or entry.issuer)

    async def _answer(
        self,
        waiting: Waiting,
        homes: list[asyncio.Future[Taken]],
        watch: Watch,
        *,
        everywhere: bool,
    ) -> Receipt:
        settings = self.settings
        limit_s = settings.regions_wait_s if everywhere else settings.publish_wait_s
        event = waiting.kept.event
        published = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                # Others wait for these futures too: a time-out ends this wait only.
                if event.origin == self._region or self._standalone:
                    await asyncio.shield(waiting.done)
                for home in homes:
                    await asyncio.shield(home)
                published = True
                if everywhere and not self._standalone:
                    await asyncio.shield(waiting.done)
                    self._want(watch, waiting, homes)
                    self._report()
                    await watch.everywhere.wait()
        self._want(watch, waiting, homes)
        done = not everywhere or self._standalone or watch.everywhere.is_set()
        return Receipt(
            id=event.id,
            origin=event.origin,
            seq=self._seq(waiting, homes),
            published=published,
            complete=published and done,
            regions=watch.receipt(),
        )

    def _want(
        self,
        watch: Watch,
        waiting: Waiting,
        homes: list[asyncio.Future[Taken]],
    ) -> None:
        now_ns = self._clock.boot_ns()
        self._receipts.want(watch, self._region, waiting.position, now_ns)
        for home in homes:
            if home.done():
                taken = home.result()
                self._receipts.want(watch, taken.origin, taken.position, now_ns)
