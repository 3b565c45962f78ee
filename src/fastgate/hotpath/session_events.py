"""Session events: an event stream that tells a browser when its session is revoked.

Owns:      how many such streams a worker has open.
Called by: hotpath.relay, for requests of a route's `session_events` that the gate has
           allowed as it would allow any other of that route.
Source:    WHATWG HTML section 9.2 (event streams); DESIGN.md section 8 (forced logout).

What it says is one event, `logged-out`, and then it ends. A stream that ends without
that event says nothing: the browser opens another one.
"""

import asyncio

from fastgate.domain.route import Route
from fastgate.domain.verdict import OUTCOMES, Challenge, Reason
from fastgate.hotpath.answers import Framing, answer_head
from fastgate.hotpath.flow import Flow
from fastgate.hotpath.live import Case, Lasting, LiveExchanges
from fastgate.ports import Clock

__all__ = ["SessionEvents"]

# Reason: a connection each, of 10,000 that a worker has at most.
MOST_STREAMS = 1_000
_EVERY_NS = 1_000_000_000
_TICK_S = 1.0
# Reason: proxies on the way cut what is silent for a minute.
_TICKS_OF_SILENCE = 15
_STALL_S = 5.0
_HEADERS = (
    (b"Content-Type", b"text/event-stream"),
    (b"Cache-Control", b"no-store"),
    (b"X-Accel-Buffering", b"no"),
)
_HELLO = b": watching\n\n"
_SILENCE = b":\n\n"
_LOGGED_OUT = b'event: logged-out\ndata: {"type":"logout"}\n\n'


class _Watch(Lasting):
    """A stream as it is judged again: each second, since that is its purpose."""

    __slots__ = ("_case", "over", "reason")

    def __init__(self, flow: Flow) -> None:
        inbound, _, decision = flow.admitted()
        # The expiry of a token is no logout: the browser gets another one.
        super().__init__(decision.decided_boot_ns, _EVERY_NS, outlives=True)
        answer = flow.asked.introspection
        self._case = Case(inbound.head, flow.snapshot, decision, answer)
        self.over = asyncio.Event()
        self.reason: Reason | None = None

    def case(self) -> Case:
        """Return what it is judged by."""
        return self._case

    def end(self, reason: Reason) -> None:
        """Let the stream say so, and end."""
        self.reason = self.reason or reason
        self.over.set()


class SessionEvents:
    """The streams of one worker."""

    def __init__(
        self, live: LiveExchanges, clock: Clock, most: int = MOST_STREAMS
    ) -> None:
        self._live = live
        self._clock = clock
        self._most = most
        self._count = 0

    async def serve(self, flow: Flow, route: Route) -> Reason | None:
        """Stream until the session is revoked; the reason where it never began.

        Raises ConnectionError once the client is gone.
        """
        inbound, _, _ = flow.admitted()
        if inbound.head.method != "GET":
            return Reason.METHOD_NOT_ALLOWED
        if inbound.head.path.rstrip("/") != route.prefix.rstrip("/"):
            return Reason.NO_ROUTE
        if self._count >= self._most:
            return Reason.OVERLOADED
        self._count += 1
        try:
            watch = _Watch(flow)
            with self._live.watched(watch):
                await self._stream(flow, watch)
        finally:
            self._count -= 1
        return None

    async def _stream(self, flow: Flow, watch: _Watch) -> None:
        inbound, _, _ = flow.admitted()
        exchange = flow.exchange
        # The last answer of its connection, so that no drain waits for what idles.
        framing = Framing.of(length=-1, bodiless=False, minor=inbound.minor, close=True)
        head = answer_head(
            200,
            _HEADERS,
            framing,
            request_id=flow.request_id,
            wall_s=self._clock.wall_s(),
            extra=[],
        )
        if head is None:
            return
        flow.status = 200
        flow.begun_ns = self._clock.boot_ns()
        exchange.begin(head, chunked=framing.chunked, close=framing.close)
        await exchange.write(_HELLO, _STALL_S)
        ticks = 0
        while not watch.over.is_set() and not exchange.draining:
            try:
                async with asyncio.timeout(_TICK_S):
                    await watch.over.wait()
            except TimeoutError:
                ticks += 1
                if ticks % _TICKS_OF_SILENCE == 0:
                    await exchange.write(_SILENCE, _STALL_S)
        reason = watch.reason
        if reason is not None and OUTCOMES[reason].challenge is not Challenge.NONE:
            flow.reason = reason
            await exchange.write(_LOGGED_OUT, _STALL_S)
        await exchange.finish()
