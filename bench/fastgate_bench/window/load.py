"""Load: revokes at every node, asks every node, and writes down what was said when.

Owns:      the client log and the revocation log: JSON lines, times of CLOCK_MONOTONIC.
Called by: window.rounds; window.checker reads what is written here.

Every request and every revocation has an id. The clock of the promise starts when a
client was told 201 (or, after a 202, that the event is published by now).
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

import orjson

from fastgate_bench.window.client import Caller
from fastgate_bench.window.rig import REGIONS, Node, Rig
from fastgate_bench.window.upstream import HEADER

__all__ = ["Load", "Revoked"]

_KINDS: Final = ("jti", "sid", "sub")
_LIFE_S: Final = 3000
_SKEWED_S: Final = 60  # so that no clock of the rig sees a token of its future
_OK, _CREATED, _ACCEPTED, _REFUSED = 200, 201, 202, 401
_WATCH_S: Final = 12.0
_PUBLISHED_LOOK_S: Final = 0.25
_GOOD_TOKENS: Final = 12
_LIFT_SHARE: Final = 0.05
_UNKNOWN_HOME_SHARE: Final = 0.1
_LATE_LOOK_S: Final = 0.02
_LAST_PAUSE_S: Final = 0.1


@dataclass(slots=True)
class Revoked:
    """A token and its revocation.

    told_ns: When a client was told that it is published; 0: it never was.
    entered: Some node has taken it, so that it must not be lost, told or not.
    lifted: 0 no, 1 asked for and nobody knows whether it was done, 2 done.
    """

    id: str
    kind: str
    home: str
    node: str
    request: bytes
    event: str = ""
    told_ns: int = 0
    entered: bool = False
    lifted: int = 0


@dataclass(slots=True)
class Load:
    """The load of one round; made anew for each.

    rate: Revocations a second. answers: By request id: of whose token, and the status.
    """

    rig: Rig
    name: str
    chance: random.Random
    rate: float
    out: TextIO
    revoked: list[Revoked] = field(default_factory=list)
    late_ns: int = 0
    asked: int = 0
    _numbers: Any = field(default_factory=itertools.count)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _good: list[bytes] = field(default_factory=list)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Begin nothing any more, and bring to an end what was begun."""
        self._ended.set()

    async def run(self) -> None:
        """Load the nodes until `end`, and until what was begun is over."""
        ended = self._ended
        self._good = [
            self._head(self._token(region=REGIONS[at % len(REGIONS)]))
            for at in range(_GOOD_TOKENS)
        ]
        lag = asyncio.create_task(self._watch_ourselves())
        good = asyncio.create_task(self._ask_good(ended))
        began, count = time.monotonic(), 0
        while not ended.is_set():
            self._begin(self._revoke())
            count += 1
            pause_s = began + count / self.rate - time.monotonic()
            await asyncio.sleep(max(0.0, pause_s))
        await good
        while self._tasks:
            await asyncio.gather(*self._tasks)
        lag.cancel()

    def _begin(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_ourselves(self) -> None:
        while True:
            before_ns = time.monotonic_ns()
            await asyncio.sleep(_LATE_LOOK_S)
            late_ns = time.monotonic_ns() - before_ns - int(_LATE_LOOK_S * 1e9)
            self.late_ns = max(self.late_ns, late_ns)

    def _token(self, **claims: Any) -> str:
        now_s = int(time.time()) - _SKEWED_S
        return self.rig.issuer.token(iat=now_s, exp=now_s + _LIFE_S, **claims)

    def _head(self, token: str) -> bytes:
        return (
            f"GET /orders/1 HTTP/1.1\r\nHost: rig.test\r\n"
            f"Authorization: Bearer {token}\r\n{HEADER}: "
        ).encode()

    def write(self, **line: Any) -> None:
        """Write a line of the log."""
        self.out.write(orjson.dumps(line).decode() + "\n")

    async def ask(self, node: str, request: bytes, whose: str) -> int:
        """Ask with a token; the answer goes to the log."""
        name = f"{self.name}-{next(self._numbers)}"
        self.asked += 1
        sent_ns = time.monotonic_ns()
        status = await self.rig.callers[node].ask(request + name.encode() + b"\r\n\r\n")
        self.write(
            log="request",
            id=name,
            node=node,
            whose=whose,
            sent=sent_ns,
            ended=time.monotonic_ns(),
            status=status,
        )
        return status

    async def _ask_good(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            for node in self.rig.nodes:
                self._begin(self._one_good(node, self.chance.choice(self._good)))
            await asyncio.sleep(0.1)

    async def _one_good(self, node: str, request: bytes) -> None:
        await self.ask(node, request, "good")

    async def ask_all_good(self) -> None:
        """Ask every node with every good token."""
        for node in self.rig.nodes:
            for request in self._good:
                await self.ask(node, request, "good, healed")

    # -- revocations -------------------------------------------------------------------

    async def _revoke(self) -> None:
        number = next(self._numbers)
        name = f"{self.name}-r{number}"
        kind, home = self.chance.choice(_KINDS), self.chance.choice(REGIONS)
        node = self.chance.choice(list(self.rig.nodes.values()))
        token = self._token(region=home, **{kind: name})
        it = Revoked(name, kind, home, node.name, self._head(token))
        self.revoked.append(it)
        lifts = self.chance.random() < _LIFT_SHARE
        known = self.chance.random() >= _UNKNOWN_HOME_SHARE
        if self.chance.random() < 0.5:  # seen before: from the caches of that node
            await self.ask(self.chance.choice(list(self.rig.nodes)), it.request, "")
        asked = {"kind": kind, "issuer": "login", "value": name}
        if known:
            asked["home"] = home
        sent_ns = time.monotonic_ns()
        answer = await Caller.once(node.admin, "POST", "/v1/revocations", asked)
        status = answer[0] if answer is not None else 0
        if answer is not None and status in {_CREATED, _ACCEPTED}:
            it.event, it.entered = orjson.loads(answer[1])["id"], True
        if status == _CREATED:
            it.told_ns = time.monotonic_ns()
        elif status == _ACCEPTED:
            await self._until_told(node, it)
        self.write(
            log="revocation",
            id=name,
            kind=kind,
            home=home if known else None,
            node=node.name,
            sent=sent_ns,
            status=status,
            event=it.event,
            told=it.told_ns,
        )
        if it.told_ns and lifts and known:
            await self._lift(it)
        elif it.told_ns:
            for each in self.rig.nodes:
                self._begin(self._follow(each, it))

    async def _until_told(self, node: Node, it: Revoked) -> None:
        deadline = time.monotonic() + _WATCH_S
        while time.monotonic() < deadline and not self._ended.is_set():
            await asyncio.sleep(_PUBLISHED_LOOK_S)
            path = f"/v1/revocations/{it.event}"
            answer = await Caller.once(node.admin, "GET", path, limit_s=1.0)
            if answer is None or answer[0] != _OK:
                continue
            if orjson.loads(answer[1])["published"]:
                it.told_ns = time.monotonic_ns()
                return

    async def _lift(self, it: Revoked) -> None:
        """Undo it at its home, at once: the lift may be there before the event."""
        node = next(n for n in self.rig.nodes.values() if n.region == it.home)
        path = f"/v1/revocations/{it.event}/lift"
        it.lifted = 1
        answer = await Caller.once(node.admin, "POST", path, {})
        if answer is not None and answer[0] == _CREATED:
            it.lifted = 2
        elif answer is not None and answer[0] in {400, 404}:
            it.lifted = 0
        self.write(log="lift", id=it.id, status=answer[0] if answer else 0)

    async def _follow(self, node: str, it: Revoked) -> None:
        """Ask until refused, and once more later: what was refused stays refused."""
        pause_s, status = 0.05, 0
        until_ns = it.told_ns + int(_WATCH_S * 1e9)
        while status != _REFUSED and time.monotonic_ns() < until_ns:
            status = await self.ask(node, it.request, it.id)
            await self._pause(pause_s)
            pause_s = min(1.0, pause_s * 2)
        await self._pause(self.chance.uniform(0.0, 8.0))
        await self.ask(node, it.request, it.id)

    async def _pause(self, pause_s: float) -> None:
        """Wait, or until the round is over and everything is healed."""
        if self._ended.is_set():
            await asyncio.sleep(min(pause_s, _LAST_PAUSE_S))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._ended.wait()

    async def ask_all_revoked(self) -> list[tuple[str, Revoked, int]]:
        """Ask every node with every token of the round; returns the answers."""
        found: list[tuple[str, Revoked, int]] = []

        async def ask(node: str) -> None:
            for it in self.revoked:
                status = await self.ask(node, it.request, f"healed {it.id}")
                found.append((node, it, status))

        jobs = [ask(node) for node in self.rig.nodes]
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*jobs)
        return found
