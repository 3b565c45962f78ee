"""The interfaces between rooms: small Protocols, implemented by adapters and control.

Owns:      shapes only; every port has a fake in tests/fakes.py written with it.
Called by: hotpath and control use them, wiring hands the implementations in.

One file, longer than others, so that all borders of the product can be read in one
place; it holds no code.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastgate.domain.decision import Decision
from fastgate.domain.event import Event
from fastgate.domain.introspection import IntrospectionAnswer
from fastgate.domain.stream import JournalStart, Kept, Stored, StreamState
from fastgate.domain.token import IssuerProfile

__all__ = [
    "AccessLog",
    "Answer",
    "Bus",
    "BusListener",
    "Clock",
    "Column",
    "DecisionCache",
    "Exchange",
    "ExchangeHandler",
    "FailureLimiter",
    "Fetched",
    "Fetcher",
    "Histogram",
    "Introspector",
    "Journal",
    "KeyAsker",
    "Meter",
    "RevocationReader",
    "RevocationWriter",
    "Served",
    "Shelf",
    "SnapshotStore",
    "StatusReader",
    "UpstreamDialer",
    "UpstreamLink",
]


class Clock(Protocol):
    """The two clocks; wall time serves token times only, ages use boot time."""

    def wall_s(self) -> float:
        """Seconds since 1970 UTC."""
        ...

    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME, nanoseconds: comparable between processes of a host."""
        ...


class RevocationReader(Protocol):
    """The lock-free view of one worker on index and freshness board."""

    def check(
        self,
        keys: bytes,
        iat: int,
        now_s: int,
        now_boot_ns: int,
        home: int,
        max_age_ns: int,
        issuer_home: int,
        issuer_max_age_ns: int,
    ) -> int:
        """Judge freshness and look up all keys in one generation.

        keys: Concatenated 16-byte keys. iat: Seconds; 0 for a token without one.
        home: Origin index of the token's home, -1: the oldest of all.
        Returns 1 clear, 2 revoked (index of the key << 8), 3 stale home, 4 stale
        issuer home, 5 unstable (treat as stale). Never 0.
        """
        ...

    def evidence(self, origin: int) -> int:
        """CLOCK_BOOTTIME ns up to which the origin is known complete; 0 never."""
        ...


class StatusReader(Protocol):
    """The status lists on this host, as the gate looks at them."""

    def status(self, name: str, index: int, boot_ns: int) -> int:
        """Return the status of an entry: 0 valid, 1 invalid, others not valid either.

        name: Of the list: alias of its issuer, a line feed, its URI.
        boot_ns: CLOCK_BOOTTIME at which the list must be fresh.
        Returns -1 where the list is not there or not fresh, -2 where it has no such
        entry. Raises nothing.
        """
        ...


class RevocationWriter(Protocol):
    """The agent's side of the index; exactly one exists per host."""

    def insert(self, key: bytes, cutoff: int, expiry: int) -> int:
        """Insert or widen an entry; returns 1 inserted, 2 merged, 3 full."""
        ...

    def settle(self, key: bytes, cutoff: int, expiry: int) -> bool:
        """Set an entry to what is left of it after a lift; expiry 0: nothing."""
        ...

    def insert_many(self, packed: bytes | memoryview) -> int:
        """Insert records of key, cutoff and expiry; return how many fit."""
        ...

    def records(self, cursor: int, slots: int) -> tuple[bytes, int]:
        """Return the live entries of the next slots, and the cursor behind them."""
        ...

    def begin_rebuild(self, entries: int = 0) -> bool:
        """Make room for so many entries."""
        ...

    def set_evidence(self, origin: int, boot_ns: int) -> None:
        """State that all entries of `origin` up to `boot_ns` are visible."""
        ...

    def bump_urgent(self) -> int:
        """Tell workers that an urgent entry was inserted."""
        ...

    def stats(self) -> dict[str, int]:
        """Counts for status and metrics."""
        ...


class DecisionCache(Protocol):
    """Verified facts by SHA-256 of issuer profile and token."""

    def get(self, digest: bytes) -> object | None:
        """Return the facts of a 32-byte digest."""
        ...

    def put(self, digest: bytes, facts: object, weight_bytes: int) -> bool:
        """Keep facts; False where they are too heavy."""
        ...

    def drop(self, digest: bytes) -> bool:
        """Forget a digest."""
        ...


class KeyAsker(Protocol):
    """Asks the agent once for a kid that nobody has seen."""

    async def ask(self, issuer: IssuerProfile, kid: str | None) -> None:
        """Return when the agent has answered, or after at most one second.

        kid: None where a known kid failed to verify (it may have a new key).
        Never raises: the gate judges by the keys that are there afterwards.
        """
        ...


class FailureLimiter(Protocol):
    """Bounds the failed verifications of each client; nothing here waits or raises.

    peer: Address of the client, "" for none, who is not limited.
    """

    def admits(self, peer: str, now_ns: int) -> bool:
        """Tell whether a client may fail once more; CLOCK_BOOTTIME."""
        ...

    def charge(self, peer: str, now_ns: int) -> None:
        """Note a failed verification."""
        ...

    def refund(self, peer: str) -> None:
        """Take one charge back."""
        ...


class Introspector(Protocol):
    """Answers about opaque tokens, one flight a token (PROTOCOLS section 4)."""

    async def ask(
        self,
        issuer: IssuerProfile,
        token: bytes,
        region: int,
        *,
        fresh_ns: int = 0,
        peer: str = "",
    ) -> IntrospectionAnswer:
        """Return an answer, asking the issuer where none is cached.

        region: Index of the region to ask.
        fresh_ns: When not 0, an answer asked longer ago than this does not count.
        peer: Address of the client, which is charged for an inactive token.
        Never raises for the issuer's trouble: that is an answer's kind.
        """
        ...

    def cached(
        self, issuer: IssuerProfile, token: bytes, boot_ns: int
    ) -> IntrospectionAnswer | None:
        """Return a reusable answer without any I/O."""
        ...

    def forget(self, issuer: IssuerProfile, token: bytes) -> None:
        """Drop what is cached about a token whose answer did not hold, or has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A bounded HTTP answer: header names in lower case, body complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher(Protocol):
    """Bounded HTTP calls of the control plane; refuses redirects to other origins."""

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float,
        max_bytes: int,
    ) -> Fetched:
        """Return the answer. Raises ControlError on any transport fault or excess."""
        ...


class Column(Protocol):
    """One column of a worker's counters."""

    def add(self, n: int = 1) -> None:
        """Add to it."""
        ...


class Histogram(Protocol):
    """Times of one kind, in buckets."""

    def observe(self, ns: int) -> None:
        """Count a time in nanoseconds; a negative one counts as 0."""
        ...


class Served(Protocol):
    """What every request of one kind adds when it went well, all at once."""

    def count(
        self,
        started_ns: int,
        sent_ns: int,
        heard_ns: int,
        begun_ns: int,
        finished_ns: int,
    ) -> None:
        """Count one, by when its parts were reached; one clock, nanoseconds."""
        ...


class Meter(Protocol):
    """Counters of one worker slot."""

    def add(self, column: int, n: int = 1) -> None:
        """Add to a column of the metric plan."""
        ...

    def column(self, column: int) -> "Column":
        """Return one column, to be added to without its number."""
        ...

    def histogram(self, first_column: int, bounds_ns: tuple[int, ...]) -> Any:
        """Return the Histogram that begins at a column; `served` takes its like."""
        ...

    def served(
        self,
        columns: tuple[int, ...],
        in_flight: int,
        duration: Any,
        overhead: Any,
        upstream: Any,
    ) -> Served:
        """Return what adds one to each column, takes one from `in_flight`, and times.

        columns: 8 at most.
        """
        ...


class AccessLog(Protocol):
    """One line a request; never blocks."""

    def write(self, line: Mapping[str, object]) -> None:
        """Queue a line, or drop and count it when the sink blocks."""
        ...

    def form(self, fields: Mapping[str, object]) -> bytes:
        """Return what many lines share, spelled once for `write_formed`."""
        ...

    def write_formed(self, form: bytes, peer: str, status: int, own: bytes) -> None:
        """Queue a line as `write` does.

        form: Of this log. peer: Address of the client. own: JSON members of this line
            alone, made of numbers and hexadecimal digits.
        """
        ...


class Exchange(Protocol):
    """One request as a lane received it, and the way to answer it.

    Nothing is decoded: method, target, names and values are as they came, whitespace
    around a value removed. A lane has checked syntax only; the relay checks the rest.
    A method that waits raises ConnectionError once the client is gone.
    judged: What the other lane's look at this very message came to before it lent it,
        None where there was none. It says what was paid already, and decides nothing.
    """

    method: str
    target: bytes
    version: tuple[int, int]
    headers: Sequence[tuple[bytes, bytes]]
    peer: str  # address without port; "" on a Unix socket
    secure: bool  # the client speaks TLS
    lane: str
    judged: Decision | None
    bytes_in: int  # of body, as are bytes_out
    bytes_out: int

    @property
    def begun(self) -> bool:
        """A byte of the final answer has left."""
        ...

    @property
    def finished(self) -> bool:
        """The answer was given to its end."""
        ...

    @property
    def body_ended(self) -> bool:
        """The body was read to its end."""
        ...

    @property
    def draining(self) -> bool:
        """This is to be the last answer of the connection."""
        ...

    def take(self) -> bytes:
        """Return the body bytes that are here already; raises CallerError."""
        ...

    async def read(self) -> bytes:
        """Return the next body bytes, b"" at the end.

        Raises CallerError for bad framing or a client that is too slow.
        """
        ...

    def proceed(self) -> None:
        """Send 100 Continue."""
        ...

    def begin(self, head: bytes, *, chunked: bool, close: bool) -> None:
        """Set the head of the answer, written with its first bytes.

        close: The head says so, and the connection ends with this answer.
        """
        ...

    async def write(self, data: bytes, stall_s: float) -> None:
        """Write body bytes; CallerError when nothing moves for stall_s seconds."""
        ...

    async def finish(self) -> None:
        """End the answer."""
        ...

    def abort(self) -> None:
        """Cut the connection, so that no client takes the answer for complete."""
        ...

    def tunnel(self) -> None:
        """Turn the rest of the connection into plain bytes for read and write."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an upstream's final answer; checked for syntax and framing.

    length: Bytes of body it announces; -1 where it does not say.
    """

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    length: int


class UpstreamLink(Protocol):
    """A connection to an upstream, lent for one exchange.

    Each method that waits raises UpstreamError for the upstream's faults. The caller
    ends with release or abort, whatever happened.
    """

    @property
    def reused(self) -> bool:
        """It has served an exchange before."""
        ...

    @property
    def heard(self) -> bool:
        """A byte of the answer to this exchange has come."""
        ...

    def expect(self, method: str, *, upgrade: bool) -> None:
        """Prepare for the answer to a request that is about to be sent."""
        ...

    def send(self, data: bytes) -> None:
        """Queue bytes; a broken connection shows in `drain` and `answer`."""
        ...

    async def drain(self) -> None:
        """Wait until the upstream takes more."""
        ...

    async def answer(self) -> Answer:
        """Return the head of the answer; 1xx heads are dropped."""
        ...

    def take(self) -> bytes:
        """Return the body bytes that are here already."""
        ...

    async def read(self) -> bytes:
        """Return the next body bytes, b"" at the end."""
        ...

    def tunnel(self) -> None:
        """Turn the connection into plain bytes for read and send, after a 101."""
        ...

    def release(self) -> None:
        """Give the connection back; it is kept only if the exchange ended cleanly."""
        ...

    def abort(self) -> None:
        """Drop the connection."""
        ...


class UpstreamDialer(Protocol):
    """Lends connections to upstreams."""

    async def connect(
        self, base: str, *, fresh: bool, timeout_s: float, limit: int
    ) -> UpstreamLink:
        """Return a connection to a base URL.

        fresh: Not one that was used before. timeout_s: To establish one.
        limit: Connections to this address; past it the reason is `overloaded`.
        Raises UpstreamError with the reason.
        """
        ...


class ExchangeHandler(Protocol):
    """What a lane hands its requests to; both return once the answer is given."""

    async def handle(self, exchange: Exchange) -> None:
        """Serve a request that is well-formed as far as the lane can tell."""
        ...

    async def refuse(self, exchange: Exchange, reason: str) -> None:
        """Answer for a message that could not be read; a name of Reason."""
        ...


class BusListener(Protocol):
    """Whom a bus tells; called on the loop. None of these raises or waits."""

    def live(self, stored: Stored) -> None:
        """Take a message just stored; may be lost, repeated or out of order."""
        ...

    def reported(self, sender: str, payload: bytes) -> None:
        """Take a node's report, this one's too; `sender` as the bus knows, or ""."""
        ...

    def urged(self, origin: str, publisher: str, payload: bytes) -> None:
        """Take an urgent frame that came besides the stream, this node's own too.

        origin, publisher: Under which it came; only some buses vouch for them.
        """
        ...

    def connected(self, up: bool) -> None:
        """Learn that the bus can, or can no longer, be reached."""
        ...

    async def handed(self, payload: bytes) -> bytes:
        """Take an event whose home is this region; returns the answer. May wait."""
        ...


class Bus(Protocol):
    """One stream per origin; every wait is bounded, every fault a ControlError."""

    name: str

    async def start(self, listener: BusListener) -> None:
        """Connect in the background and return at once; heal without being asked."""
        ...

    async def stop(self) -> None:
        """Disconnect; nothing is told to the listener afterwards."""
        ...

    async def publish(
        self,
        publisher: str,
        kind: str,
        message_id: str,
        payload: bytes,
        ttl_s: int,
    ) -> int:
        """Store a message in the own region's stream; return its position.

        kind: A word for the subject. message_id: Names the message for the bus's
        duplicate window. ttl_s: The bus may drop the message after that.
        Raises ControlError where the stream did not say that it has it.
        """
        ...

    async def state(self, origin: str) -> StreamState:
        """Return the state of a stream, asked of whoever leads it."""
        ...

    def replay(self, origin: str, after: int, to: int) -> AsyncGenerator[Stored, None]:
        """Yield every message stored in (after, to], in order; ends past `to`.

        Raises ControlError rather than skip a message that the stream still has.
        """
        ...

    async def report(self, payload: bytes) -> None:
        """Send a report to every node of every region; nobody answers."""
        ...

    async def urge(self, publisher: str, payload: bytes) -> None:
        """Send an urgent frame to every node of every region, besides the streams.

        Nothing is stored, nobody answers; a stream that hangs does not hold it up.
        """
        ...

    async def hand(self, home: str, payload: bytes) -> bytes:
        """Hand an event to any gateway of its home; return the answer."""
        ...


class SnapshotStore(Protocol):
    """Where a saved state of the feed is kept; whole, or not at all."""

    async def save(self, parts: AsyncIterator[bytes]) -> int:
        """Put a state in the place of the one before; return its bytes.

        Raises ControlError where that failed; the one before is intact then.
        """
        ...

    async def load(self) -> memoryview | None:
        """Return what was saved, None where nothing was.

        Raises ControlError for anything that is not as it was saved.
        """
        ...


class Shelf(Protocol):
    """Small blobs on the bus's server, by name; each region has some, which it writes.

    Of blobs under one name the last one stays, for as long as the shelf was made for.
    """

    async def room(self) -> int:
        """Return how many bytes a saved state may have here; make what is missing.

        Raises ControlError where nothing can be kept.
        """
        ...

    async def put(self, name: str, data: bytes) -> None:
        """Keep at most 256 KiB in the own region, in the place of what was there.

        name: Two words of [a-z0-9] with a dot between them.
        Raises ControlError where the server did not say that it has it.
        """
        ...

    async def get(self, region: str, name: str) -> bytes | None:
        """Return what a region keeps, None where that is nothing.

        Raises ControlError where the server did not answer, or with too much.
        """
        ...


class Journal(Protocol):
    """What this node published, durable before anybody is told."""

    @property
    def saved(self) -> int:
        """The serial number of the newest saved state, 0 for none."""
        ...

    @property
    def adopted(self) -> Sequence[str]:
        """Regions that were adopted by this node."""
        ...

    async def note_adopted(self, regions: Sequence[str]) -> None:
        """Remember them."""
        ...

    async def note_saved(self, serial: int) -> None:
        """Note that a state was saved: an older one is not taken any more."""
        ...

    @property
    def publisher(self) -> str:
        """The random id made together with the journal."""
        ...

    @property
    def last(self) -> int:
        """The highest number given under `publisher`."""
        ...

    async def open(self) -> JournalStart:
        """Open or make it. Raises StartError where another process holds it."""
        ...

    async def close(self) -> None:
        """Finish what was asked and close."""
        ...

    async def append(self, event: Event) -> Kept:
        """Number an event and commit it, grouped with others; an id only once."""
        ...

    async def published(self, rows: Sequence[int], position: int) -> None:
        """Note that the stream has these."""
        ...

    async def handed(self, id_: str, home: str) -> None:
        """Note that a home has an event."""
        ...

    async def unhanded(self) -> list[Event]:
        """Return events that homes have yet to take; `hand` names those homes."""
        ...

    async def read(self, after_row: int, *, unpublished: bool = False) -> list[Kept]:
        """Return the next 4,096 events at most, in order."""
        ...

    async def lowest(self, at_least: int, wall_s: int) -> int:
        """Return the lowest position, of `at_least`, of a live event; 0 for none."""
        ...

    async def renew(self) -> str:
        """Take a new publisher id and number what is unpublished from 1 under it."""
        ...

    async def prune(self, before_s: int) -> None:
        """Drop published events that expired before a wall time; proves writing."""
        ...
