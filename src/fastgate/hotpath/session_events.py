"""Session events: a stream or WebSocket that tells a browser its session is revoked.

Owns:      how many such streams a worker has open.
Called by: hotpath.relay, for requests of a route's `session_events` that the gate has
           allowed as it would allow any other of that route.
Source:    WHATWG HTML section 9.2 (event streams); DESIGN.md section 8 and
           REQUIREMENTS.md S4.9 (forced logout).

What it says is one event, `logged-out`, and then it ends; a WebSocket ends with close
code 4401. One that ends without that says nothing: the browser opens another one.
"""

import asyncio

from fastgate.domain.route import Route
from fastgate.domain.verdict import OUTCOMES, Challenge, Reason
from fastgate.errors import BugError
from fastgate.hotpath.answers import Framing, answer_head, bodiless
from fastgate.hotpath.flow import Flow
from fastgate.hotpath.live import Case, Lasting, LiveExchanges
from fastgate.hotpath.session_socket import (
    AWAY,
    LOGGED_OUT,
    PING,
    UNSURE,
    ClientFrames,
    accept_value,
)
from fastgate.hotpath.tunnel import stop
from fastgate.ports import Clock

__all__ = ["SessionEvents"]

# Reason: a connection each, of 10,000 that a worker has at most.
MOST_STREAMS = 1_000
_EVERY_NS = 1_000_000_000
_TICK_S = 1.0
# Reason: proxies on the way cut what is silent for a minute.
_TICKS_OF_SILENCE = 15
_STALL_S = 5.0
_FAREWELL_S = 0.25
_SWITCHING = 101
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

    @property
    def logged_out(self) -> bool:
        """Its token was refused; all else is no word about the session."""
        reason = self.reason
        return reason is not None and OUTCOMES[reason].challenge is not Challenge.NONE


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
        accepted = accept_value(inbound) if inbound.websocket else None
        if inbound.websocket and accepted is None:
            return Reason.BAD_REQUEST
        if self._count >= self._most:
            return Reason.OVERLOADED
        self._count += 1
        try:
            watch = _Watch(flow)
            with self._live.watched(watch):
                if accepted is not None:
                    await self._socket(flow, watch, accepted)
                else:
                    await self._stream(flow, watch)
        finally:
            self._count -= 1
        return None

    def _begin(
        self, flow: Flow, status: int, headers: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        """Set the head of the last answer of its connection: no drain waits for it."""
        inbound, _, _ = flow.admitted()
        framing = Framing.of(
            length=-1,
            bodiless=bodiless(inbound.head.method, status),
            minor=inbound.minor,
            close=True,
        )
        head = answer_head(
            status,
            headers,
            framing,
            request_id=flow.request_id,
            wall_s=self._clock.wall_s(),
            extra=[],
        )
        if head is None:
            raise BugError("a header of ours holds a control character")
        flow.status = status
        flow.begun_ns = self._clock.boot_ns()
        flow.exchange.begin(head, chunked=framing.chunked, close=framing.close)

    async def _stream(self, flow: Flow, watch: _Watch) -> None:
        exchange = flow.exchange
        self._begin(flow, 200, _HEADERS)
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
        if watch.logged_out:
            flow.reason = watch.reason
            await exchange.write(_LOGGED_OUT, _STALL_S)
        await exchange.finish()

    async def _socket(self, flow: Flow, watch: _Watch, accepted: bytes) -> None:
        exchange = flow.exchange
        self._begin(flow, _SWITCHING, ((b"Sec-WebSocket-Accept", accepted),))
        exchange.tunnel()
        await exchange.write(b"", _STALL_S)
        frames = ClientFrames()
        over = asyncio.create_task(watch.over.wait())
        reading = asyncio.create_task(exchange.read())
        ticks = 0
        try:
            while not over.done() and not exchange.draining:
                both = {over, reading}
                done, _ = await asyncio.wait(
                    both, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED
                )
                if reading in done:
                    data = reading.result()
                    back = frames.feed(data)
                    if back:
                        await exchange.write(back, _STALL_S)
                    if frames.ended or not data:
                        await exchange.finish()
                        return
                    reading = asyncio.create_task(exchange.read())
                elif not done:
                    ticks += 1
                    if ticks % _TICKS_OF_SILENCE == 0:
                        await exchange.write(PING, _STALL_S)
            if watch.logged_out:
                flow.reason = watch.reason
            last = LOGGED_OUT if watch.logged_out else UNSURE
            await exchange.write(last if over.done() else AWAY, _STALL_S)
            await exchange.finish()
            await self._farewell(reading)
        finally:
            await stop(over)
            await stop(reading)

    async def _farewell(self, reading: "asyncio.Task[bytes]") -> None:
        # Closing with bytes unread resets the connection, and the frame is lost.
        await asyncio.wait({reading}, timeout=_FAREWELL_S)
