"""Enforcement: what is revoked here, by id and by key, and when lifts have effect.

Owns:      the event store beside the index; whether something did not fit.
Called by: control.feed for each batch and each own event; control.lifts looks here.
Source:    REVOCATION.md sections 3 (lift, hash keys) and 5 (native arrays).
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass

from fastgate.control.event_batch import event_of
from fastgate.control.feed_settings import FeedSettings
from fastgate.control.kid_renewal import KidRenewal
from fastgate.control.native import SEGMENT_COUNT, EventFrame, EventStore
from fastgate.control.steady import SteadyWall
from fastgate.domain.event import KIND_CODES, Event
from fastgate.domain.revocation import Kind
from fastgate.errors import ControlError
from fastgate.ports import RevocationWriter

__all__ = ["Enforcement", "Known"]

_KINDS = {code: kind for kind, code in KIND_CODES.items()}
# Reason: a search of ten million events takes 50 ms, in which the loop has other work;
# once a second, so many are swept, all of them in a minute.
_SEGMENTS_AT_ONCE = 16
# Reason: an event a key, and room for those that revoke the same again.
_EVENTS_PER_ENTRY = 2
# Reason: five seconds of what the urgent path takes; one that is forgotten counts as
# kept, as any other.
_MOST_BESIDES = 10_000


@dataclass(frozen=True, slots=True)
class Known:
    """A live event, as far as this node keeps it.

    id: None where only its hash is kept. key: None where the index has no entry of it.
    """

    id: str | None
    origin: str
    kind: Kind
    key: bytes | None
    key_id: str
    cutoff: int
    expires: int
    lifted: bool


class Enforcement:
    """Takes events into store and index.

    speaks_for: Whose events this node says itself.
    alarm: Called with name, dependency and whether it is on.
    """

    def __init__(
        self,
        writer: RevocationWriter,
        *,
        origins: tuple[str, ...],
        speaks_for: Collection[str],
        settings: FeedSettings,
        kids: KidRenewal,
        steady: SteadyWall,
        alarm: Callable[[str, str, bool], None],
    ) -> None:
        self.origins = origins
        self._speaks_for = speaks_for
        self._known_keys = settings.known_keys
        # In an order of its own, so that restarts agree on it.
        self.key_ids = tuple(sorted(settings.known_keys))
        self._kids = kids
        self._steady = steady
        self._alarm = alarm
        self._swept = 0
        # Ids and origins of what came besides the streams, and may be nowhere else.
        self._besides: OrderedDict[tuple[str, str], None] = OrderedDict()
        # Something that this node entered or read is not in its index.
        self.incomplete = False
        # How often that was found; it only grows.
        self.refusals = 0
        self._writer = writer
        self.limit = settings.capacity * _EVENTS_PER_ENTRY
        self.begin_anew(None)

    def begin_anew(self, seeds: tuple[int, int] | None) -> None:
        """Begin with an empty store; before anything was taken.

        seeds: Those of the records that will be loaded.
        """
        self.store = self.empty_store(seeds)

    def empty_store(self, seeds: tuple[int, int] | None) -> EventStore:
        """Return an empty store, to be filled aside and then put into the place."""
        return EventStore(
            self._writer,
            origins=self.origins,
            hash_keys=self.key_ids,
            limit=self.limit,
            seeds=seeds,
        )

    def numbers(
        self, origins: Sequence[str], key_ids: Sequence[str]
    ) -> tuple[bytes, bytes]:
        """Return what numbers of saved origins and hash keys are now."""
        return (
            _renumbered(origins, self.origins, 64),
            _renumbered(key_ids, self.key_ids, 16),
        )

    def refuse_strange(self, key_ids: Sequence[str]) -> None:
        """Refuse a saved state under a hash key that is not known here.

        Its entries are looked up by nobody, so what it calls read is not in force.
        Raises ControlError.
        """
        if not set(key_ids) <= set(self.key_ids):
            raise ControlError("the snapshot has entries under an unknown hash key")

    @property
    def now_s(self) -> int:
        """Wall time that does not jump ahead."""
        return int(self._steady.wall_s())

    def insert(self, event: Event) -> bool:
        """Take an event of this node's journal; False where it cannot be enforced."""
        if event.kind is None:
            return True
        if event.key_id not in self._known_keys:
            # Made with a hash key that is gone: no token's hash is equal to it.
            lost = event.expires > self._steady.wall_s()
            if lost:
                self._refused("hash_key", "journal")
            return not lost
        spoken = event.origin in self._speaks_for
        self._besides.pop((event.id, event.origin), None)
        self._note_kid(event, spoken=spoken)
        return self.fitted(self._store(event, spoken=spoken))

    def add(self, event: Event) -> bool:
        """Take an event that no stream has said yet; False where it did not fit.

        event: Live, and hashed with a key that is known here. Nothing follows from
        what does not fit: the stream brings it again, and that counts.
        """
        fits = self._store(event, spoken=False)
        if fits:
            self._besides[event.id, event.origin] = None
            if len(self._besides) > _MOST_BESIDES:
                self._besides.popitem(last=False)
        return fits

    def _store(self, event: Event, *, spoken: bool) -> bool:
        return self.store.add(
            event.id,
            KIND_CODES[event.kind] if event.kind else 0,
            event.key,
            event.expires,
            event.cutoff,
            event.urgent,
            event.lifts,
            event.origin,
            event.key_id,
            spoken,
            self.now_s,
        )

    def apply(self, frame: EventFrame, position: int) -> bool:
        """Take a batch of a stream; False where something does not fit."""
        if frame.special and frame.origin in self._speaks_for:
            for index in range(frame.count):
                if frame.is_special(index):
                    event = event_of(frame, index)
                    self._note_kid(event, spoken=event.origin == frame.origin)
        return self.fitted(self.store.apply(frame, position, self.now_s))

    def _note_kid(self, event: Event, *, spoken: bool) -> None:
        if event.kind is not Kind.KID or not spoken:
            return
        if event.lifts:
            self._kids.forget(event.key)
        elif not self.is_lifted(event):
            self._kids.note(event)

    def fitted(self, fits: bool) -> bool:
        """Note whether something found room; returns that."""
        if not fits:
            self._refused("index_full", "index")
        return fits

    def _refused(self, alarm: str, dependency: str) -> None:
        self.incomplete = True
        self.refusals += 1
        self._alarm(alarm, dependency, True)

    def published(self, id_: str, origin: str) -> tuple[int, int] | None:
        """Return number and position at which an origin has said an id lately."""
        return self.store.published(id_, origin)

    def settle(self) -> None:
        """Let lifts take effect: all that may revoke a key has been read."""
        if not self.store.settled:
            self.store.settle(self.now_s)

    def sweep(self) -> None:
        """Drop some of what has long expired; called each second."""
        for _ in range(_SEGMENTS_AT_ONCE):
            self.store.sweep(self._swept, self.now_s)
            self._swept = (self._swept + 1) % SEGMENT_COUNT

    def has(self, event: Event) -> bool:
        """Tell whether an event is known here, lifted or not."""
        return any(
            known.id == event.id and known.origin == event.origin
            for known in self.about(event.key)
        )

    def keeps(self, id_: str, key: bytes) -> bool:
        """Tell whether a stream, or this node's journal, has an event of an id.

        What only came besides the streams is in force here, and would be lost with
        those that heard it: whoever enters it again is not repeating anything.
        """
        return any(
            known.id == id_
            and (
                (id_, known.origin) not in self._besides
                or self.published(id_, known.origin) is not None
            )
            for known in self.about(key)
        )

    def is_lifted(self, event: Event) -> bool:
        """Tell whether its origin has lifted an event."""
        return any(
            known.lifted and known.id == event.id and known.origin == event.origin
            for known in self.about(event.key)
        )

    def about(self, key: bytes) -> list[Known]:
        """Return the live events of a key, lifted ones too."""
        return [self._known(r, r[0], key) for r in self.store.about(key) if r[5]]

    async def find(self, id_: str) -> list[Known]:
        """Return the live events of an id: one, or one an origin."""
        found = []
        for segment in range(SEGMENT_COUNT):
            for record in self.store.find(id_, segment):
                if record[5] and record[3] > self.now_s:
                    key = self.store.key_of(record[7])
                    found.append(self._known(record, id_, key))
            if segment % _SEGMENTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def unread(self, origin: str) -> AsyncGenerator[Known, None]:
        """Yield live events, and lifts, that the last reading of a stream lacked.

        An event that is lifted stands for its lift.
        """
        for segment in range(SEGMENT_COUNT):
            for record in self.store.unread(origin, segment, self.now_s):
                yield self._known(record, record[0], self.store.key_of(record[7]))
            if segment % _SEGMENTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _known(
        self,
        record: tuple[str | None, int, int, int, int, bool, bool, int, int],
        id_: str | None,
        key: bytes | None,
    ) -> Known:
        _, origin, kind, expires, cutoff, _, lifted, _, hash_key = record
        return Known(
            id=id_,
            origin=self.origins[origin] if origin < len(self.origins) else "",
            kind=_KINDS[kind],
            key=key,
            key_id=self.key_ids[hash_key] if hash_key < len(self.key_ids) else "",
            cutoff=cutoff,
            expires=expires,
            lifted=lifted,
        )


def _renumbered(then: Sequence[str], now: Sequence[str], room: int) -> bytes:
    # The last number stands for what this configuration does not have.
    numbers = [now.index(name) if name in now else room - 1 for name in then]
    return bytes(numbers + [room - 1] * (room - len(numbers)))
