"""Handover: events entered away from their home, until the home has them.

Owns:      which event waits for which home, and when it is tried next.
Called by: control.feed, which also asks it to take what other regions hand over.
Source:    REVOCATION.md section 2: the event keeps its id; any gateway of the entry's
           region may deliver it; the home takes it once per id.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

from fastgate.control.event_batch import event_of
from fastgate.control.frame_seal import FrameSeal
from fastgate.control.journal import Publisher
from fastgate.control.native import EventFrame
from fastgate.control.pause import pause
from fastgate.control.steady import SteadyWall
from fastgate.domain.event import Event, decode_event, encode_event
from fastgate.domain.marker import Taken, decode_taken, encode_taken
from fastgate.errors import ControlError
from fastgate.ports import Bus, Clock, Journal

__all__ = ["Handover"]

_log = logging.getLogger(__name__)

# Reason: the gateway where it was entered gets this long before the others help.
_GRACE_NS = 5_000_000_000
_RETRY_FIRST_NS = 100_000_000
_RETRY_LAST_NS = 5_000_000_000
_HOME_LAST_NS = 1_000_000_000
# Reason: a home that has an event in its journal publishes it by itself; asked again
# only where its stream stays silent about it.
_TAKEN_NS = 30_000_000_000
_MAX_WAITING = 100_000
# Reason: a home takes 64 at once, from every gateway of every other region.
_AT_ONCE = 16
# Reason: shorter than the sender's patience, so that it gets an answer.
_HOME_WAIT_S = 1.0


@dataclass(slots=True)
class _Hand:
    event: Event
    home: str
    done: asyncio.Future[Taken]
    due_ns: int
    since_ns: int
    wait_ns: int = _RETRY_FIRST_NS
    own: bool = True
    journalled: bool = False
    asked: bool = False  # and there is no answer yet


class Handover:
    """Delivers events to their homes, and takes those whose home is here.

    region: This node's region.
    nearly_full: True where its stream takes urgent events only.
    published: Number and position at which an origin has said an id lately, or None.
    alarm: Called with name, dependency and whether it is on.
    seal: Signs what is handed over, and checks who did.
    """

    def __init__(
        self,
        *,
        region: str,
        bus: Bus,
        journal: Journal,
        publisher: Publisher,
        clock: Clock,
        known_keys: Collection[str],
        nearly_full: Callable[[], bool],
        published: Callable[[str, str], tuple[int, int] | None],
        alarm: Callable[[str, str, bool], None],
        seal: FrameSeal,
    ) -> None:
        self._region = region
        self._bus = bus
        self._journal = journal
        self._publisher = publisher
        self._clock = clock
        self._steady = SteadyWall(clock)
        self._known_keys = known_keys
        self._nearly_full = nearly_full
        self._published = published
        self._alarm = alarm
        self._seal = seal
        self._waiting: OrderedDict[tuple[str, str], _Hand] = OrderedDict()
        # Homes that could not be reached: when next, and how long after that.
        self._quiet_ns: dict[str, int] = {}
        self._wait_ns: dict[str, int] = {}
        # By home: deliveries that have no answer yet.
        self._asking: dict[str, set[asyncio.Task[None]]] = {}
        self._troubled: set[str] = set()
        self._noted: list[tuple[str, str]] = []
        self._work = asyncio.Event()

    @property
    def pending(self) -> int:
        """How many deliveries of this node's own entries are not published yet."""
        return sum(hand.own for hand in self._waiting.values())

    @property
    def full(self) -> bool:
        """True where no further entry for another home can be taken on."""
        return len(self._waiting) >= 2 * _MAX_WAITING

    def oldest(self) -> tuple[str, int] | None:
        """Return id and entry time (boot ns) of the oldest own one."""
        own = (hand for hand in self._waiting.values() if hand.own)
        first = next(own, None)
        return None if first is None else (first.event.id, first.since_ns)

    async def resume(self) -> None:
        """Take up what the journal still has to deliver. Raises ControlError."""
        for event in await self._journal.unhanded():
            for home in event.hand:
                self.offer(event, home)

    def offer(self, event: Event, home: str) -> asyncio.Future[Taken]:
        """Deliver an event of this node's; the answer may never come."""
        hand = self._add(event, home, own=True)
        self._work.set()
        return hand.done

    def _add(self, event: Event, home: str, *, own: bool) -> _Hand:
        now_ns = self._clock.boot_ns()
        hand = self._waiting.get((home, event.id))
        if hand is None:
            done: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
            due_ns = now_ns if own else now_ns + _GRACE_NS
            hand = _Hand(event, home, done, due_ns, now_ns, own=own)
            found = self._published(event.id, home)
            if found is not None:
                done.set_result(Taken(event.id, home, *found))
                return hand
            self._waiting[home, event.id] = hand
            if not own and len(self._waiting) > _MAX_WAITING:
                # Its own gateway has it in its journal.
                del self._waiting[home, event.id]
        elif own:
            hand.own = True
            hand.due_ns = min(hand.due_ns, now_ns)
        return hand

    def seen(self, frame: EventFrame, position: int) -> None:
        """Learn from a stream what its origin has published."""
        if self._waiting:
            for index, id_ in enumerate(frame.ids()):
                if (frame.origin, id_) in self._waiting:
                    event = event_of(frame, index)
                    if event.origin == frame.origin:
                        self._note(Taken(id_, frame.origin, event.seq, position))
        if frame.origin == self._region and frame.special:
            for index in range(frame.count):
                if frame.is_special(index):
                    event = event_of(frame, index)
                    for home in event.hand if event.kind is not None else ():
                        self._add(event, home, own=False)

    def redirect(self, home: str, to: str) -> None:
        """Deliver to another region what waits for a home that is gone."""
        for hand in [hand for hand in self._waiting.values() if hand.home == home]:
            if to == self._region:
                # Handed in this stream already, which speaks for that home now.
                self._note(Taken(hand.event.id, home, max(1, hand.event.seq), 0))
                continue
            del self._waiting[home, hand.event.id]
            done = self._add(hand.event, to, own=hand.own).done
            done.add_done_callback(partial(_pass_on, hand.done))
        self._work.set()

    def _note(self, taken: Taken) -> None:
        key = (taken.origin, taken.id)
        hand = self._waiting.pop(key, None)
        if hand is None:
            return
        if not hand.done.done():
            hand.done.set_result(taken)
        if hand.own and not hand.journalled:
            # Noted by the task, which may wait for the disk.
            hand.journalled = True
            self._noted.append(key)
            self._work.set()

    # The task that delivers.

    async def run(self) -> None:
        """Deliver what is due, for ever; supervised by the feed.

        A home that does not answer holds up nobody but itself.
        """
        try:
            while True:
                await self._note_handed()
                for hand in self._due():
                    self._ask(hand)
                self._end_alarms()
                await pause(self._work, _RETRY_FIRST_NS / 1e9)
        finally:
            for task in [task for tasks in self._asking.values() for task in tasks]:
                task.cancel()

    def _ask(self, hand: _Hand) -> None:
        asking = self._asking.setdefault(hand.home, set())
        task = asyncio.create_task(self._deliver(hand), name="handover-deliver")
        hand.asked = True
        asking.add(task)

        def answered(done: asyncio.Task[None]) -> None:
            hand.asked = False
            asking.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                # Whatever it was, it is tried again, and not at once.
                _log.error("a delivery to %s failed", hand.home, exc_info=error)
                hand.due_ns = self._clock.boot_ns() + _RETRY_LAST_NS
            if len(asking) in {0, _AT_ONCE // 2}:
                self._work.set()

        task.add_done_callback(answered)

    def _due(self) -> list[_Hand]:
        now_ns, wall_s = self._clock.boot_ns(), self._steady.wall_s()
        due: list[_Hand] = []
        asked = {home: len(tasks) for home, tasks in self._asking.items()}
        for hand in list(self._waiting.values()):
            if hand.event.expires < wall_s:
                del self._waiting[hand.home, hand.event.id]
                continue
            if hand.due_ns > now_ns or self._quiet_ns.get(hand.home, 0) > now_ns:
                continue
            # One that could not be reached is asked one at a time until it can.
            most = 1 if hand.home in self._wait_ns else _AT_ONCE
            if not hand.asked and asked.get(hand.home, 0) < most:
                asked[hand.home] = asked.get(hand.home, 0) + 1
                due.append(hand)
        return due

    def _trouble(self, home: str) -> None:
        self._troubled.add(home)
        self._alarm("handover", home, True)

    def _end_alarms(self) -> None:
        # What its stream told of, or what expired, needs no delivery to end an alarm.
        if self._troubled:
            for home in self._troubled - {home for home, _ in self._waiting}:
                self._well(home)

    def _well(self, home: str) -> None:
        self._troubled.discard(home)
        self._alarm("handover", home, False)

    async def _note_handed(self) -> None:
        while self._noted:
            home, id_ = self._noted.pop()
            with contextlib.suppress(ControlError):  # asked again after a restart
                await self._journal.handed(id_, home)

    async def _deliver(self, hand: _Hand) -> None:
        # The home gives it its own number, and hands it to nobody else.
        home = hand.home
        frame = encode_event(replace(hand.event, hand=(), seq=0))
        payload = self._seal.close(f"hand/{home}", self._publisher.name, frame)
        try:
            answer = await self._bus.hand(home, payload)
        except ControlError as error:
            self._trouble(home)
            _log.info("%s cannot be reached, it is tried again: %s", home, error)
            now_ns = self._clock.boot_ns()
            if self._quiet_ns.get(home, 0) <= now_ns:  # once, for all that were asked
                wait_ns = self._wait_ns.get(home, _RETRY_FIRST_NS)
                self._quiet_ns[home] = now_ns + wait_ns
                self._wait_ns[home] = min(_HOME_LAST_NS, 2 * wait_ns)
            return
        self._wait_ns.pop(home, None)
        try:
            taken = _answer(answer, hand)
        except ControlError as error:
            # Its trouble with this event; the others are not held up.
            self._trouble(home)
            _log.warning("%s did not take an event: %s", home, error)
            hand.due_ns = self._clock.boot_ns() + hand.wait_ns
            hand.wait_ns = min(_RETRY_LAST_NS, 2 * hand.wait_ns)
            return
        self._well(home)
        if taken.position:
            self._note(taken)
            return
        # Its journal has it: from here on the home sees to it, and its stream tells.
        hand.due_ns = self._clock.boot_ns() + _TAKEN_NS
        if hand.own and not hand.journalled:
            hand.journalled = True
            self._noted.append((hand.home, hand.event.id))

    # The home's side.

    async def take(self, payload: bytes) -> bytes:
        """Take an event whose home is here: apply, journal and publish it, once per id.

        Raises ControlError where it was not taken.
        """
        frame = self._seal.open(f"hand/{self._region}", "", payload)
        event = decode_event(frame, self._known_keys)
        if event.kind is None or event.hand or event.lifts:
            # Only an origin itself lifts what is its own.
            raise ControlError("not an event that can be taken")
        known = self._published(event.id, self._region)
        if known is not None:
            return encode_taken(Taken(event.id, self._region, *known))
        if self._nearly_full() and not event.urgent:
            raise ControlError("the stream is nearly full: only urgent events")
        waiting = await self._publisher.enter(replace(event, origin=self._region))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HOME_WAIT_S):
                await asyncio.shield(waiting.done)
        kept = waiting.kept.event
        return encode_taken(Taken(kept.id, self._region, kept.seq, waiting.position))


def _pass_on(to: asyncio.Future[Taken], done: asyncio.Future[Taken]) -> None:
    if not to.done() and not done.cancelled():
        to.set_result(done.result())


def _answer(payload: bytes, hand: _Hand) -> Taken:
    taken = decode_taken(payload)
    if (taken.id, taken.origin) != (hand.event.id, hand.home):
        raise ControlError("the answer is about another event")
    return taken
