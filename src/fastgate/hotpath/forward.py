"""Forward: take an allowed request to an upstream, and its answer back.

Owns:      the choice of address, the one safe retry, both streams and their timers.
Called by: hotpath.relay, once per allowed request; lanes share it.
Source:    THREATS T3, U1-U6, F18-F21; RFC 9110 sections 7.6 and 15.2, RFC 9112.

A connection that broke, over-ran or was cut short is never used again, and an answer
that broke after its first byte left ends in a cut connection, never in a clean end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastgate.domain.region import RegionSource
from fastgate.domain.route import Route
from fastgate.domain.verdict import Reason
from fastgate.errors import BugError, CallerError, UpstreamError
from fastgate.hotpath.answers import Framing, answer_head, bodiless, region_cookie
from fastgate.hotpath.flow import Flow
from fastgate.hotpath.headers import upstream_head
from fastgate.hotpath.tap import Tap
from fastgate.hotpath.tunnel import stop, tunnel
from fastgate.hotpath.upstreams import UpstreamHealth, may_retry
from fastgate.ports import Answer, Clock, UpstreamDialer, UpstreamLink

__all__ = ["Forwarder", "debug_line"]

# Reason: DESIGN.md section 8 counts this second into the revocation bound.
MAX_DECISION_AGE_NS = 1_000_000_000
# Reason: with the connect timer of 2 s a client waits 6 s at most for a connection.
MAX_ADDRESSES = 3
# Reason: a decision made anew may send the request elsewhere; not for ever.
MAX_ROUNDS = 4

_SWITCHING = 101
_NO_CONTENT = 204
_FIRST_ERROR = 400

# Judges the request anew at the present instant; the reason where it is refused now.
Redecide = Callable[[Flow], Awaitable[Reason | None]]


class Forwarder:
    """Carries requests to upstreams.

    dialer: Lends connections. health: Which addresses are left out.
    clock: Times and ages. redecide: Makes a decision that grew old again.
    tap: Hears which answers end a token.
    """

    def __init__(
        self,
        *,
        dialer: UpstreamDialer,
        health: UpstreamHealth,
        clock: Clock,
        redecide: Redecide,
        tap: Tap | None = None,
    ) -> None:
        self._dialer = dialer
        self._health = health
        self._clock = clock
        self._redecide = redecide
        self._tap = tap

    async def forward(self, flow: Flow) -> Reason | None:
        """Send the request, relay the answer; the reason where it is refused after all.

        Raises CallerError and UpstreamError with the reason, ConnectionError once the
        client is gone.
        """
        tried: set[str] = set()
        fault: UpstreamError | None = None
        for _ in range(MAX_ROUNDS):
            base = self._choose(flow, tried, fault)
            try:
                link = await self._connect(flow, base)
            except UpstreamError as error:
                if error.reason != Reason.OVERLOADED:
                    self._health.failed(base, self._clock.boot_ns())
                tried.add(base)
                fault = error
                continue
            try:
                refusal = await self._renew_decision(flow)
                if refusal is not None or base not in _addresses(flow):
                    link.release()
                    if refusal is not None:
                        return refusal
                    continue
                await self._exchange(flow, link, base)
            except UpstreamError as error:
                link.abort()
                self._judge(base, link, error)
                if not self._again(flow, link):
                    raise
                flow.retried = True
            except BaseException:
                # Also when cancelled, since the client is gone: the upstream stops too.
                link.abort()
                raise
            else:
                return None
        raise fault or UpstreamError(Reason.REGION_DOWN)

    async def _renew_decision(self, flow: Flow) -> Reason | None:
        # Right before the head is written, so that no wait for a connection can carry
        # an old verdict past a revocation.
        _, _, decision = flow.admitted()
        if self._clock.boot_ns() - decision.decided_boot_ns <= MAX_DECISION_AGE_NS:
            return None
        return await self._redecide(flow)

    def _choose(self, flow: Flow, tried: set[str], fault: UpstreamError | None) -> str:
        bases = _addresses(flow)
        if not bases:
            raise UpstreamError(Reason.REGION_UNAVAILABLE)
        base = None
        if len(tried) < MAX_ADDRESSES:
            base = self._health.choose(bases, tried, self._clock.boot_ns())
        if base is None:
            raise fault or UpstreamError(Reason.REGION_DOWN)
        return base

    async def _connect(self, flow: Flow, base: str) -> UpstreamLink:
        route = _route_of(flow)
        before = self._clock.boot_ns()
        try:
            return await self._dialer.connect(
                base,
                fresh=flow.retried,
                timeout_s=route.connect_timeout_s,
                limit=flow.snapshot.limits.upstream_connections,
            )
        finally:
            flow.waited_ns += self._clock.boot_ns() - before

    def _judge(self, base: str, link: UpstreamLink, error: UpstreamError) -> None:
        # Only what shows that nobody is there counts. An idle connection that closed as
        # we wrote does not, and neither does an answer that is late or malformed: one
        # slow resource, asked for on purpose, would take the whole address away.
        silent = not link.heard and error.reason == Reason.BAD_UPSTREAM_RESPONSE
        if silent and not link.reused:
            self._health.failed(base, self._clock.boot_ns())

    @staticmethod
    def _again(flow: Flow, link: UpstreamLink) -> bool:
        inbound, _, _ = flow.admitted()
        return may_retry(
            inbound.head.method,
            body_sent=flow.body_sent,
            reused=link.reused,
            heard=link.heard,
            retried=flow.retried,
        )

    # -- one exchange ----------------------------------------------------------------

    async def _exchange(self, flow: Flow, link: UpstreamLink, base: str) -> None:
        inbound, _, _ = flow.admitted()
        link.expect(inbound.head.method, upgrade=flow.websocket)
        pump = self._send(flow, link, base)
        try:
            answer = await self._await_answer(flow, link, pump)
            flow.heard_ns = self._clock.boot_ns()
            self._health.succeeded(base)
            if answer.status == _SWITCHING:
                if not flow.websocket:
                    raise UpstreamError(Reason.BAD_UPSTREAM_RESPONSE)  # noqa: TRY301 - judged below like any fault of the upstream
                self._begin(flow, answer, Framing(-1, chunked=False, close=True))
                idle_s = _route_of(flow).idle_timeout_s
                await tunnel(flow.exchange, link, idle_s, lambda: flow.ended)
            else:
                await self._relay_answer(flow, link, answer, pump)
        except UpstreamError:
            # What looks like the upstream's fault may follow from the client's.
            failure = _failure(pump)
            if failure is not None:
                raise failure from None
            raise
        finally:
            unfinished = pump is not None and not pump.done()
            if pump is not None:
                await stop(pump)
        if unfinished:
            link.abort()
        else:
            link.release()

    def _send(
        self, flow: Flow, link: UpstreamLink, base: str
    ) -> "asyncio.Task[None] | None":
        """Send head and what is there of the body; the task that sends the rest."""
        inbound, way, decision = flow.admitted()
        route = _route_of(flow)
        body = flow.body
        streamed = body is None and inbound.head.has_body
        first = b""
        if streamed:
            flow.proceed()
            # Raises for a body that is known to be malformed: nothing was sent yet.
            first = flow.exchange.take()
        facts = decision.facts
        head = upstream_head(
            inbound,
            way,
            authority=urlsplit(base).netloc.encode("ascii"),
            token=decision.token if route.issuer is not None else b"",
            own_credentials=route.issuer is None,
            identity=facts.identity_lines if facts is not None else b"",
            body_bytes=None if body is None else len(body),
            websocket=flow.websocket,
        )
        flow.sent_ns = self._clock.boot_ns()
        if body:
            flow.body_sent = True
            link.send(head + body)
            return None
        if not streamed:
            link.send(head)
            return None
        _check_size(flow, route)
        flow.body_sent = bool(first)
        ended = flow.exchange.body_ended
        link.send(head + _framed(first, chunked=inbound.chunked, last=ended))
        if ended:
            return None
        return asyncio.create_task(self._pump_body(flow, link))

    async def _pump_body(self, flow: Flow, link: UpstreamLink) -> None:
        inbound, _, _ = flow.admitted()
        route = _route_of(flow)
        chunked = inbound.chunked
        while data := await flow.exchange.read():
            _check_size(flow, route)
            flow.body_sent = True
            link.send(_framed(data, chunked=chunked, last=False))
            try:
                async with asyncio.timeout(route.idle_timeout_s):
                    await link.drain()
            except TimeoutError as error:
                raise UpstreamError(Reason.UPSTREAM_TIMEOUT) from error
            except UpstreamError:
                # It may have answered before it closed: `answer` knows.
                return
        flow.body_sent = True
        link.send(_framed(b"", chunked=chunked, last=True))

    async def _await_answer(
        self, flow: Flow, link: UpstreamLink, pump: "asyncio.Task[None] | None"
    ) -> Answer:
        limit_s = _route_of(flow).upstream_timeout_s
        if pump is None:
            try:
                async with asyncio.timeout(limit_s):
                    return await link.answer()
            except TimeoutError as error:
                raise UpstreamError(Reason.UPSTREAM_TIMEOUT) from error
        answer = asyncio.ensure_future(link.answer())
        try:
            # The first-byte timer runs from the end of the request, whose own timers
            # bound it until then.
            await asyncio.wait({answer, pump}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                pump.result()  # raises what the client did wrong
                await asyncio.wait({answer}, timeout=limit_s)
            if not answer.done():
                raise UpstreamError(Reason.UPSTREAM_TIMEOUT)
            return answer.result()
        finally:
            await stop(answer)

    async def _relay_answer(
        self,
        flow: Flow,
        link: UpstreamLink,
        answer: Answer,
        pump: "asyncio.Task[None] | None",
    ) -> None:
        inbound, _, _ = flow.admitted()
        exchange = flow.exchange
        empty = bodiless(inbound.head.method, answer.status)
        framing = Framing.of(
            length=-1 if answer.status == _NO_CONTENT else answer.length,
            bodiless=empty,
            minor=inbound.minor,
            close=flow.must_close or (pump is not None and not pump.done()),
        )
        if self._tap is not None:
            await self._tap.heard(flow, answer)
        self._begin(flow, answer, framing)
        if pump is not None:
            # The upstream would wait for the rest of a request that never comes.
            pump.add_done_callback(
                lambda done: link.abort() if _failure(done) else None
            )
        idle_s = _route_of(flow).idle_timeout_s
        while not empty:
            data = link.take()
            if not data:
                await exchange.write(b"", idle_s)
                data = await _read(link, idle_s)
            if not data:
                break
            await exchange.write(data, idle_s)
        await exchange.finish()

    def _begin(self, flow: Flow, answer: Answer, framing: Framing) -> None:
        head = answer_head(
            answer.status,
            answer.headers,
            framing,
            request_id=flow.request_id,
            wall_s=self._clock.wall_s(),
            extra=_extra_lines(flow, answer.status),
        )
        if head is None:
            raise UpstreamError(Reason.BAD_UPSTREAM_RESPONSE)
        flow.status = answer.status
        flow.begun_ns = self._clock.boot_ns()
        flow.exchange.begin(head, chunked=framing.chunked, close=framing.close)


def _addresses(flow: Flow) -> tuple[str, ...]:
    _, _, decision = flow.admitted()
    return _route_of(flow).service.upstreams[decision.region]


def _route_of(flow: Flow) -> Route:
    _, _, decision = flow.admitted()
    if decision.route is None:
        raise BugError("a request was allowed without a route")
    return decision.route


def _failure(pump: "asyncio.Task[None] | None") -> BaseException | None:
    if pump is None or not pump.done() or pump.cancelled():
        return None
    return pump.exception()


def _check_size(flow: Flow, route: Route) -> None:
    if 0 < route.body_limit_bytes < flow.exchange.bytes_in:
        raise CallerError(Reason.BODY_TOO_LARGE)


def _framed(data: bytes, *, chunked: bool, last: bool) -> bytes:
    if not chunked:
        return data
    framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return framed + b"0\r\n\r\n" if last else framed


async def _read(link: UpstreamLink, idle_s: float) -> bytes:
    try:
        async with asyncio.timeout(idle_s):
            return await link.read()
    except TimeoutError as error:
        raise UpstreamError(Reason.UPSTREAM_TIMEOUT) from error


def _extra_lines(flow: Flow, status: int) -> list[bytes]:
    _, _, decision = flow.admitted()
    regions = flow.snapshot.regions
    lines: list[bytes] = []
    if decision.repair_cookie and (
        # A hint is not certain: it counts once the upstream agreed (PROTOCOLS 16).
        decision.source is RegionSource.CLAIM or status < _FIRST_ERROR
    ):
        lines.append(region_cookie(regions.cookie, regions.names[decision.region]))
    debug = debug_line(flow)
    if debug:
        lines.append(debug)
    return lines


def debug_line(flow: Flow) -> bytes:
    """Return header lines that explain the request, where its route asks for them."""
    decision = flow.decision
    if decision is None:
        return b""
    on_route = decision.route is not None and decision.route.debug
    if not (flow.snapshot.debug or on_route):
        return b""
    regions = flow.snapshot.regions
    lines = []
    if flow.region_name is not None:
        lines.append(
            f"X-Fastgate-Region: {flow.region_name}; source={decision.source.value}; "
            f"gateway={regions.names[regions.own]}"
        )
    if flow.reason is not None:
        lines.append(f"X-Fastgate-Reason: {flow.reason.value}")
    return "\r\n".join(lines).encode("ascii")
