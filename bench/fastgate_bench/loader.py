"""Loader: the load generator, a process of its own. Reads a plan, prints an outcome.

Owns:      the schedule of one run, its connections and its two histograms.
Called by: generator, as `python -m fastgate_bench.loader`.

Open loop: request k is due at start + k / rate whatever came back before. Where every
connection is taken it waits, and its latency counts from the time it was due, so that a
server that stalls cannot hide the requests it kept from being sent ("coordinated
omission").
"""

import asyncio
import contextlib
import gc
import os
import pathlib
import ssl
import sys
import time
from array import array
from collections import Counter, deque
from itertools import cycle

import uvloop

from fastgate_bench.connection import Connection
from fastgate_bench.histogram import encoded
from fastgate_bench.machine import core_share, core_ticks
from fastgate_bench.pacer import Pacer
from fastgate_bench.plan import Outcome, Plan

__all__ = ["Load", "main"]

_START_NS = 20_000_000  # so that the first request is not late already
_SECOND_NS = 1_000_000_000
_CONNECT_S = 10.0
_AGAIN_S = 0.02
_CONNECTING = 64  # at a time, so that the accept queue holds them


class Load:
    """One run of a plan; a Connection's owner."""

    def __init__(self, plan: Plan) -> None:
        plan.check()
        self._plan = plan
        self._total = plan.count()
        self._interval_ns = _SECOND_NS / plan.rate if plan.rate else 0.0
        self._requests = _Requests(plan)
        self._free: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()
        self._latency_us = array("q")
        self._lag_us = array("q")
        self._statuses: Counter[int] = Counter()
        self._errors: Counter[str] = Counter()
        self._start_ns = self._end_ns = self._last_ns = 0
        self._due = self._sent = self._answers = self._good = 0
        self._mismatched = self._waited = self._opened = self._broken = 0
        self._ending = False

    async def run(self) -> Outcome:
        """Do it all. Raises OSError where not even one connection can be opened."""
        await self._connect_all()
        gc.collect()
        gc.disable()
        used_ns = time.process_time_ns()
        ticks = core_ticks(self._plan.cpu)
        try:
            await self._send_all()
        finally:
            used_ns = time.process_time_ns() - used_ns
            share = core_share(ticks, core_ticks(self._plan.cpu))
            gc.enable()
            self._ending = True
            for connection in list(self._open):
                connection.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return self._outcome(used_ns, share)

    # -- schedule ----------------------------------------------------------------------

    async def _send_all(self) -> None:
        plan = self._plan
        self._start_ns = time.monotonic_ns() + _START_NS
        self._end_ns = self._start_ns + round(plan.seconds * _SECOND_NS)
        budget_s = plan.seconds + plan.drain_s + _START_NS / _SECOND_NS
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(budget_s):
                if not plan.rate:
                    self._start_ns = time.monotonic_ns()
                    for connection in list(self._free):
                        self._next(connection)
                    await self._done.wait()
                    return
                pacer = Pacer()
                loop.add_reader(pacer.fd, self._tick, pacer)
                try:
                    pacer.start(self._start_ns, round(self._interval_ns))
                    await self._done.wait()
                finally:
                    loop.remove_reader(pacer.fd)
                    pacer.close()

    def _tick(self, pacer: Pacer) -> None:
        expired = pacer.expired()
        if not expired or self._due >= self._total:
            return
        late_ns = time.monotonic_ns() - self._intended_ns(self._due)
        self._lag_us.append(late_ns // 1000)
        self._due = min(self._total, self._due + expired)
        while self._sent < self._due and self._free:
            self._next(self._free.popleft())
        self._waited += min(expired, self._due - self._sent)

    def _intended_ns(self, number: int) -> int:
        # The pacer's interval is whole nanoseconds, so this is where it expires.
        return self._start_ns + number * round(self._interval_ns)

    def _next(self, connection: Connection) -> None:
        """Send the request that is due first, or keep the connection for later."""
        if not connection.is_open:
            return
        if not self._plan.rate:
            now = time.monotonic_ns()
            if now >= self._end_ns:
                self._done.set()
                return
            self._due += 1
            intended = now
        elif self._sent < self._due:
            intended = self._intended_ns(self._sent)
        else:
            self._free.append(connection)
            return
        data, tag = self._requests.make(self._sent)
        self._sent += 1
        connection.send(data, tag, intended)

    # -- what connections tell ---------------------------------------------------------

    def answered(self, connection: Connection, status: int, *, own: bool) -> None:
        """Note one answer, and give the connection its next request."""
        now = self._last_ns = time.monotonic_ns()
        self._latency_us.append((now - connection.intended_ns) // 1000)
        connection.intended_ns = 0
        self._answers += 1
        self._statuses[status] += 1
        if not own:
            self._mismatched += 1
        elif status in self._plan.statuses:
            self._good += 1
        if self._plan.churn and connection.served >= self._plan.churn:
            connection.close()
        else:
            self._next(connection)
        self._look_for_the_end()

    def ended(self, connection: Connection, why: str) -> None:
        """Note what broke, and open another connection in its place."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._free.remove(connection)
        if self._ending:
            return
        if why and (why != "closed" or connection.intended_ns):
            self._errors[why] += 1
        if connection.intended_ns:
            self._broken += 1
            now = time.monotonic_ns()
            self._latency_us.append((now - connection.intended_ns) // 1000)
        self._look_for_the_end()
        task = asyncio.ensure_future(self._reconnect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look_for_the_end(self) -> None:
        if self._plan.rate and self._answers + self._broken >= self._total:
            self._done.set()

    # -- connections -------------------------------------------------------------------

    async def _connect_all(self) -> None:
        left = self._plan.connections
        async with asyncio.timeout(_CONNECT_S + left / 1000):
            while left:
                some = min(left, _CONNECTING)
                await asyncio.gather(*(self._connect() for _ in range(some)))
                left -= some

    async def _reconnect(self) -> None:
        while not self._ending:
            try:
                await self._connect()
            except OSError:
                self._errors["connect"] += 1
                await asyncio.sleep(_AGAIN_S)
            else:
                self._next(self._free.pop())
                return

    async def _connect(self) -> None:
        plan = self._plan
        secure = None
        if plan.tls:
            secure = ssl.create_default_context()
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self, plan.tag),
            plan.host,
            plan.port,
            ssl=secure,
            server_hostname=plan.authority.partition(":")[0] if plan.tls else None,
        )
        self._opened += 1
        self._open.add(connection)
        self._free.append(connection)

    # -- the end -----------------------------------------------------------------------

    def _outcome(self, used_ns: int, core_busy: float) -> Outcome:
        now = time.monotonic_ns()
        lost = 0
        for connection in self._open:
            if connection.intended_ns and self._plan.rate:
                lost += 1
                self._latency_us.append((now - connection.intended_ns) // 1000)
        # Also what the pacer has not been asked about yet was due.
        due = self._total or self._due
        unsent = due - self._sent if self._plan.rate else 0
        for number in range(self._sent, due) if unsent else ():
            late_us = (now - self._intended_ns(number)) // 1000
            self._latency_us.append(max(0, late_us))
        elapsed_ns = max(1, (self._last_ns or now) - self._start_ns)
        return Outcome(
            due=due if self._plan.rate else self._answers + self._broken,
            answers=self._answers,
            good=self._good,
            statuses={str(status): n for status, n in self._statuses.items()},
            mismatched=self._mismatched,
            errors=dict(self._errors),
            lost=lost,
            unsent=unsent,
            latency=encoded(self._latency_us),
            lag=encoded(self._lag_us),
            waited=self._waited,
            cpu_share=used_ns / max(1, now - self._start_ns),
            core_share=core_busy,
            seconds=elapsed_ns / _SECOND_NS,
            opened=self._opened,
        )


class _Requests:
    """Makes request after request out of parts that were made before the run."""

    def __init__(self, plan: Plan) -> None:
        head = [f"{plan.method} {plan.target} HTTP/1.1", f"Host: {plan.authority}"]
        head += plan.headers
        if plan.body_bytes or plan.method in {"POST", "PUT", "PATCH"}:
            head.append(f"Content-Length: {plan.body_bytes}")
        self._head = "\r\n".join(head).encode() + b"\r\n"
        self._tag = f"{plan.tag}: ".encode() if plan.tag else b""
        self._end = b"\r\n" + b"x" * plan.body_bytes
        lines = [b""]
        if plan.tokens:
            tokens = pathlib.Path(plan.tokens).read_bytes().split()
            lines = [b"Authorization: Bearer " + token + b"\r\n" for token in tokens]
        self._lines = cycle(lines)

    def make(self, number: int) -> tuple[bytes, bytes]:
        """Return a request and its tag."""
        line = next(self._lines)
        if not self._tag:
            return self._head + line + self._end, b""
        tag = b"%010d" % number
        return self._head + line + self._tag + tag + b"\r\n" + self._end, tag


def main() -> None:
    """Run the plan on standard input."""
    plan = Plan.decode(sys.stdin.buffer.read())
    if plan.cpu >= 0:
        os.sched_setaffinity(0, {plan.cpu})
    outcome = uvloop.run(Load(plan).run())
    sys.stdout.buffer.write(outcome.encode())


if __name__ == "__main__":
    main()
