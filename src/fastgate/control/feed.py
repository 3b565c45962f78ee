"""Feed: what of each origin's revocations this node has, how old that is, and our own.

Owns:      one tracker per origin, the publisher, the handover, the receipts; the tasks.
Called by: the agent process, one object per node; the admin API calls `enter`.
Source:    REVOCATION.md. Nothing that arrives can crash it: what cannot be read is
           counted, what goes wrong in a task is logged and the task begins again.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastgate.control import feed_status
from fastgate.control.adoption import Adopted, Adoption
from fastgate.control.base import Base
from fastgate.control.canaries import Canaries
from fastgate.control.enforcement import Enforcement
from fastgate.control.entries import Entries, Receipt
from fastgate.control.feed_settings import FeedSettings
from fastgate.control.frame_seal import FrameSeal
from fastgate.control.handover import Handover
from fastgate.control.housekeeping import FULL_AT, Housekeeping
from fastgate.control.journal import Publisher
from fastgate.control.key_agreement import KeyAgreement
from fastgate.control.kid_renewal import KidRenewal
from fastgate.control.listing import Listing
from fastgate.control.markers import MarkerWriter
from fastgate.control.native import EventFrame
from fastgate.control.origin import OriginTracker
from fastgate.control.origin_reader import OriginReader
from fastgate.control.proofs import Proofs
from fastgate.control.pulse import Pulse
from fastgate.control.receipts import Receipts
from fastgate.control.restoring import Restoring
from fastgate.control.shared_snapshots import SharedSnapshots
from fastgate.control.snapshots import Snapshots
from fastgate.control.steady import SteadyWall
from fastgate.control.stream_head import StreamHead
from fastgate.control.tasks import Tasks
from fastgate.control.urgent import Urgent
from fastgate.domain.entry import Entry
from fastgate.domain.event import Batch, key_id
from fastgate.domain.frame import NAME
from fastgate.domain.freshness import NonceLog
from fastgate.domain.stream import Stored
from fastgate.errors import ConfigError, ControlError
from fastgate.ports import Bus, Clock, Journal, RevocationWriter, SnapshotStore

__all__ = ["Feed", "Receipt"]

_log = logging.getLogger(__name__)


class Feed:
    """The revocation feed of one node.

    region, node: This gateway; both at most 64 of [A-Za-z0-9_-].
    origins: Regions that publish; the index in it is the index on the board.
    standalone: The node stands in as origin for every region (bus `local`).
    alarms: Called with name, dependency and whether it is on, at every change.
    held_keys: Returns issuer (`iss`) and kid of every key in use.
    snapshots: Where the state is saved; None: nowhere. shared: The same on the bus.
    seal: Signs and checks frames; None: nothing is signed.
    """

    def __init__(
        self,
        *,
        region: str,
        node: str,
        origins: tuple[str, ...],
        standalone: bool,
        journal: Journal,
        bus: Bus,
        writer: RevocationWriter,
        clock: Clock,
        settings: FeedSettings,
        alarms: Callable[[str, str, bool], None],
        held_keys: Callable[[], Iterable[tuple[str, str]]] = tuple,
        snapshots: SnapshotStore | None = None,
        shared: SharedSnapshots | None = None,
        seal: FrameSeal | None = None,
    ) -> None:
        for name in (region, node, *origins):
            if not NAME.fullmatch(name):
                raise ConfigError(f"{name!r}: use [A-Za-z0-9_-], at most 64")
        if region not in origins and not standalone:
            raise ConfigError(
                f"revocation.origins lacks this gateway's region {region}"
            )
        self.region = region
        self.node = node
        self.origins = origins
        self.standalone = standalone
        self.settings = settings
        self.clock = clock
        self.bus = bus
        self.bus_up = False
        self.seal = seal or FrameSeal()
        self.started_ns = clock.boot_ns()
        self.proofs = Proofs(self, writer)
        self.alarms_on: set[tuple[str, str]] = set()
        self._alarms = alarms
        self.steady = SteadyWall(clock)
        self._journal = journal
        # Whose events this node publishes as their origin.
        self.speaks_for = {region, *(origins if standalone else ())}
        self.kids = KidRenewal((settings.hash_key, *settings.old_hash_keys), held_keys)
        self.enforcement = Enforcement(
            writer,
            origins=origins,
            speaks_for=self.speaks_for,
            settings=settings,
            kids=self.kids,
            steady=self.steady,
            alarm=self.alarm,
        )
        self.listing = Listing(self.enforcement)
        self._nonces = NonceLog()
        self._report_now = asyncio.Event()
        self._tasks = Tasks(lambda name: self._house.failed(name))  # noqa: PLW0108  # made later
        self._supervise = self._tasks.supervise
        self.canaries = Canaries(self)
        self.receipts = Receipts()
        self.urgent = Urgent(self)
        boot = secrets.token_hex(8)
        self.keys = KeyAgreement(
            boot=boot,
            key_id=key_id(settings.hash_key),
            known_keys=settings.known_keys,
            blind=lambda: any(it.blind for it in self.trackers.values()),
            wall_s=self.steady.wall_s,
        )
        self.publisher = Publisher(
            origin=region,
            journal=journal,
            bus=bus,
            clock=clock,
            insert=self.canaries.watching(self.enforcement.insert),
            acked=self._acked,
            alarm=self.alarm,
            urge=self.urgent.say,
            seal=self.seal,
            may_send=self.keys.may_be_said,
        )
        self.handover = Handover(
            region=region,
            bus=bus,
            journal=journal,
            publisher=self.publisher,
            clock=clock,
            known_keys=settings.known_keys,
            nearly_full=self._nearly_full,
            published=self.enforcement.published,
            alarm=self.alarm,
            seal=self.seal,
        )
        self.trackers: dict[str, OriginTracker] = {}
        self.readers: dict[str, OriginReader] = {}
        for origin in () if standalone else origins:
            self._add_origin(origin)
        self._markers = MarkerWriter(
            region=region,
            node=node,
            boot=boot,
            clock=clock,
            receipts=self.receipts,
            max_token_lifetime_s=settings.lifetimes.max_token_s,
            hash_key=self.keys.key_id,
            agreed=lambda: self.keys.agreed,
        )
        self.adoption = Adoption(self)
        self.pulse = Pulse(self, self._markers, self._nonces, self._report_now)
        self._entries = Entries(
            region=region,
            node=node,
            origins=origins,
            standalone=standalone,
            publisher=self.publisher,
            handover=self.handover,
            enforcement=self.enforcement,
            receipts=self.receipts,
            clock=clock,
            settings=settings,
            report=self._report_now.set,
            speaks_for=self.speaks_for,
            home_of=self.adoption.home,
        )
        self.restoring = Restoring(self)
        self._house = Housekeeping(self, journal, self.proofs.prove_all)
        self.snapshots = Snapshots.of(self, snapshots, journal, writer)
        self.base = Base(self, shared, journal, writer)

    def _add_origin(self, origin: str) -> None:
        tracker = self.trackers[origin] = OriginTracker(
            origin,
            me=f"{self.region}/{self.node}",
            nonces=self._nonces,
            known_keys=self.settings.known_keys,
            apply=self._apply,
            prove=lambda boot_ns: self.proofs.prove(origin, boot_ns),
            wall_s=self.steady.wall_s,
            heard=self.keys.heard,
            seal=self.seal,
            anew=lambda: self._anew(origin),
        )
        self.readers[origin] = OriginReader(
            tracker,
            bus=self.bus,
            clock=self.clock,
            own=self.publisher if origin == self.region else None,
            head=StreamHead(self._journal, self.clock)
            if origin == self.region
            else None,
            alarm=self.alarm,
        )

    # Life.

    async def start(self) -> None:
        """Open the journal, apply what it has, and begin; never waits for the bus.

        Raises StartError where the journal cannot be opened.
        """
        await self.publisher.open(self.snapshots.restore)
        await self.handover.resume()
        self.adoption.restore(self._journal.adopted)
        self._supervise("publish", self.publisher.run)
        self._supervise("canary", self.canaries.run)
        self._supervise("watch", self._house.watch)
        self._supervise("house", self._house.keep)
        self._supervise("lengthen", self._house.lengthen)
        self._supervise("snapshot", self.snapshots.run)
        if self.standalone:
            # The journal is all there is.
            self.enforcement.settle()
            self.publisher.verified()
        else:
            self._supervise("base", self.base.run)
            self._supervise("handover", self.handover.run)
            self._supervise("urgent", self.urgent.run)
            self._supervise("report", self.pulse.report)
            self._supervise("marker", self.pulse.mark)
            self._supervise("restore", self.restoring.run)
            for origin, reader in self.readers.items():
                self._supervise(f"read-{origin}", self.base.before(reader.run))
        await self.bus.start(self)

    def reconfigure(self, settings: FeedSettings) -> None:
        """Follow a reload: homes of issuers, and how long tokens and sessions live.

        settings: With the same hash keys, which change only with a restart.
        """
        self.settings = settings
        self._entries.settings = settings
        self._markers.max_token_lifetime_s = settings.lifetimes.max_token_s
        self._house.lengthen_soon()

    async def stop(self) -> None:
        """Stop every task and close the journal; pending events stay in it."""
        await self._tasks.stop()
        await self.bus.stop()
        await self.snapshots.last_words()
        await self.publisher.close()

    def alarm(self, name: str, dependency: str, on: bool) -> None:
        """Pass an alarm on where it changes."""
        key = (name, dependency)
        if on == (key in self.alarms_on):
            return
        self.alarms_on.symmetric_difference_update({key})
        self._alarms(name, dependency, on)

    # What the bus tells (ports.BusListener).

    def live(self, stored: Stored) -> None:
        """Take a message of the live path."""
        tracker = self.trackers.get(stored.origin)
        if tracker is None:
            return
        now_ns = self.clock.boot_ns()
        try:
            tracker.live(stored, now_ns)
        except Exception:  # noqa: BLE001
            # The border towards the bus: whatever a frame did, it is read again.
            _log.exception("a message of %s failed", stored.origin)
            tracker.spoil(now_ns)

    def reported(self, sender: str, payload: bytes) -> None:
        """Take a node's report."""
        self.receipts.heard(sender, payload, self.clock.boot_ns())

    def urged(self, origin: str, publisher: str, payload: bytes) -> None:
        """Take an urgent frame that came besides the stream."""
        self.urgent.heard(origin, publisher, payload)

    def connected(self, up: bool) -> None:
        """Note whether the bus can be reached."""
        self.bus_up = up
        self.alarm("bus", "bus", not up)
        if up:
            self.publisher.retry()
            for reader in self.readers.values():
                reader.poke()

    async def handed(self, payload: bytes) -> bytes:
        """Take an event whose home is here. Raises ControlError."""
        self.keys.check()
        return await self.handover.take(payload)

    # The index.

    def _anew(self, origin: str) -> None:
        if origin == self.region:
            self.restoring.begun()

    def _apply(self, frame: EventFrame, position: int) -> bool:
        known = frame.key_id in self.settings.known_keys
        # A full index refuses some; the others go in all the same.
        fits = known and self.enforcement.apply(frame, position)
        self.publisher.seen(frame, position)
        # Whose stream it was read from is the frame's origin: the tracker checked that.
        self.handover.seen(frame, position)
        if frame.ack and known:
            self._report_now.set()
            self.canaries.applied(frame)
        return fits

    def _acked(self, batch: Batch, position: int) -> None:
        tracker = self.trackers.get(self.region)
        if tracker is not None:
            tracker.acked(batch, position)

    # Entering, and what is told.

    async def enter(self, entry: Entry, *, wait: str = "local") -> Receipt:
        """Revoke: journal and own index first, then the stream, then the answer.

        wait: `local`, or `regions` to wait up to 10 s for every region.
        Raises EntryError for what cannot be asked, ControlError where the journal or a
        full stream refused it, or the hash key is in doubt; then nothing was revoked.
        """
        self._admit(urgent=entry.urgent)
        return await self._entries.enter(entry, everywhere=wait == "regions")

    async def lift(
        self, id_: str, *, wait: str = "local", reason: str = ""
    ) -> Receipt | None:
        """Undo an event of this region's; None where no live one of that id is known.

        Raises EntryError where it is another region's, ControlError where the journal
        or a full stream refused it.
        """
        self._admit(urgent=False)
        everywhere = wait == "regions"
        return await self._entries.lift(id_, everywhere=everywhere, reason=reason)

    def _admit(self, *, urgent: bool) -> None:
        self.keys.check()
        if self._nearly_full() and not urgent:
            raise ControlError("the stream is nearly full: only urgent events")

    async def adopt(self, region: str) -> Adopted:
        """Speak for a region that is gone. Raises EntryError and ControlError."""
        return await self.adoption.adopt(region)

    def so_far(self, receipt: Receipt) -> Receipt:
        """Return a receipt of this run with what has become of its event since."""
        return self._entries.so_far(receipt)

    def _nearly_full(self) -> bool:
        reader = self.readers.get(self.region)
        return reader is not None and reader.fill > FULL_AT

    def status(self) -> dict[str, Any]:
        """Return what `/v1/status`, `fastgate status` and the metrics show."""
        return feed_status.status(self)

    def digests(
        self, wall_s: int | None, marks: Mapping[str, int] | None
    ) -> dict[str, Any]:
        """Return every publisher's digest, to be compared with another node's."""
        return feed_status.digests(self, wall_s, marks)

    def ready(self) -> tuple[bool, list[dict[str, Any]]]:
        """Tell whether every origin was complete as of a marker of this run.

        Returns the verdict and a line per origin with what it waits for.
        """
        return feed_status.ready(self)
