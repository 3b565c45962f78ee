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
from fastgate_bench.window.node import REGIONS, Node
from fastgate_bench.window.rig import Rig
from fastgate_bench.window.subjects import Subject, good_head, session, subject

__all__ = ["Load", "Revoked"]

_OK, _CREATED, _ACCEPTED, _REFUSED = 200, 201, 202, 401
_NOT_LIFTED: Final = frozenset({400, 404})
_WATCH_S: Final = 12.0
_PUBLISHED_LOOK_S: Final = 0.25
_GOOD_TOKENS: Final = 12
_LIFT_SHARE: Final = 0.06
# Of the lifts: asked of another region (in vain), late, and twice.
_STRANGE_LIFT_SHARE: Final = 0.3
_LATE_LIFT_SHARE: Final = 0.3
_TWICE_LIFT_SHARE: Final = 0.3
_LATE_LIFT_S: Final = 6.0
_LATE_LOOK_S: Final = 0.02
_LAST_PAUSE_S: Final = 0.1
_ASKERS: Final = 4  # connections to each node, at the end


@dataclass(slots=True)
class Revoked:
    """A revocation, and what became of it.

    node: Where it was entered. event: Its id there.
    told_ns: When a client was told that it is published; 0: it never was.
    entered: Some node has taken it, so that it must not be lost, told or not.
    lifted: 0 no, 1 asked for and nobody knows whether it was done, 2 done.
    """

    subject: Subject
    node: str
    event: str = ""
    told_ns: int = 0
    entered: bool = False
    lifted: int = 0

    @property
    def id(self) -> str:
        """The identifier that is revoked."""
        return self.subject.name

    def __str__(self) -> str:
        it = self.subject
        return f"{it.name} {it.kind} home {it.home} entered at {self.node}"


@dataclass(slots=True)
class Load:
    """The load of one round; made anew for each.

    rate: Revocations a second.
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
            good_head(self.rig.issuer, REGIONS[at % len(REGIONS)])
            for at in range(_GOOD_TOKENS)
        ]
        lag = asyncio.create_task(self._watch_ourselves())
        try:
            self._begin(self._ask_good(ended))
            began, count = time.monotonic(), 0
            while not ended.is_set():
                self._begin(self._revoke())
                count += 1
                pause_s = began + count / self.rate - time.monotonic()
                await asyncio.sleep(max(0.0, pause_s))
            while self._tasks:
                await asyncio.gather(*self._tasks)
        finally:
            for task in (lag, *self._tasks):
                task.cancel()

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
        chance = self.chance
        name = f"{self.name}-r{next(self._numbers)}"
        node = chance.choice(list(self.rig.nodes.values()))
        who = subject(self.rig.issuer, name, chance)
        it = Revoked(who, node.name)
        self.revoked.append(it)
        lifts = chance.random() < _LIFT_SHARE and who.known
        if chance.random() < 0.5:  # seen before: from the caches of that node
            await self.ask(chance.choice(list(self.rig.nodes)), who.heads[0], "")
        asked = who.asked | ({"home": who.home} if who.known else {})
        sent_ns = time.monotonic_ns()
        answer = await Caller.once(node.admin, "POST", "/v1/revocations", asked)
        status = answer[0] if answer is not None else 0
        if answer is not None and status in {_CREATED, _ACCEPTED}:
            it.event, it.entered = orjson.loads(answer[1])["id"], True
        if status == _CREATED:
            it.told_ns = time.monotonic_ns()
        elif status == _ACCEPTED:
            await self._until_told(node, it)
        self._write_revocation(it, sent=sent_ns, status=status)
        if it.told_ns and lifts:
            await self._lift(it)
        if it.told_ns and not it.lifted:
            self._begin_following(it)

    def published(self, name: str, event: str, home: str, told_ns: int) -> None:
        """Take a revocation that somebody else has entered and was told of."""
        who = session(self.rig.issuer, name, home)
        it = Revoked(who, "burst", event, told_ns, entered=True)
        self.revoked.append(it)
        self._write_revocation(it, sent=told_ns, status=_CREATED)
        self._begin_following(it)

    def _write_revocation(self, it: Revoked, **line: Any) -> None:
        self.write(
            log="revocation",
            id=it.id,
            kind=it.subject.kind,
            home=it.subject.home if it.subject.known else None,
            node=it.node,
            event=it.event,
            told=it.told_ns,
            **line,
        )

    def _begin_following(self, it: Revoked) -> None:
        for node in self.rig.nodes:
            self._begin(self._follow(node, it))

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
        """Undo it: of its home, at once or late, now and then twice; or in vain.

        At once the lift may be anywhere before its event is.
        """
        chance, home = self.chance, it.subject.home
        is_strange = chance.random() < _STRANGE_LIFT_SHARE
        nodes = [n for n in self.rig.nodes.values() if (n.region == home) != is_strange]
        if chance.random() < _LATE_LIFT_SHARE:
            await self._pause(chance.uniform(0.0, _LATE_LIFT_S))
        node, again = chance.choice(nodes), chance.random() < _TWICE_LIFT_SHARE
        # A lift counts only from the event's own region: asked of another one, it stays
        # revoked, whatever that one answers.
        it.lifted = 0 if is_strange else 1
        answers = set()
        for _ in range(1 + again):
            path = f"/v1/revocations/{it.event}/lift"
            answer = await Caller.once(node.admin, "POST", path, {})
            status = answer[0] if answer is not None else 0
            answers.add(status)
            self.write(log="lift", id=it.id, node=node.name, status=status)
        if it.lifted and _CREATED in answers:
            it.lifted = 2
        elif answers <= _NOT_LIFTED:
            it.lifted = 0

    async def _follow(self, node: str, it: Revoked) -> None:
        """Ask until refused, and once more later: what was refused stays refused."""
        pause_s, refused = 0.05, 0
        until_ns = it.told_ns + int(_WATCH_S * 1e9)
        heads, many = itertools.cycle(it.subject.heads), len(it.subject.heads)
        while refused < many and time.monotonic_ns() < until_ns:
            status = await self.ask(node, next(heads), it.id)
            refused = refused + 1 if status == _REFUSED else 0
            await self._pause(pause_s)
            pause_s = min(1.0, pause_s * 2)
        await self._pause(self.chance.uniform(0.0, 8.0))
        await self.ask(node, next(heads), it.id)

    async def _pause(self, pause_s: float) -> None:
        """Wait, or until the round is over and everything is healed."""
        if self._ended.is_set():
            await asyncio.sleep(min(pause_s, _LAST_PAUSE_S))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._ended.wait()

    async def ask_all_revoked(self) -> list[tuple[str, Revoked, int]]:
        """Ask every node with every token of the round; returns the answers.

        Tokens that no revocation may touch are asked beside them, for the log.
        """
        found: list[tuple[str, Revoked, int]] = []
        waiting = {node: iter(self.revoked) for node in self.rig.nodes}

        async def ask(node: str) -> None:
            for it in waiting[node]:
                for head in it.subject.heads:
                    status = await self.ask(node, head, f"healed {it.id}")
                    found.append((node, it, status))
                if it.subject.spared:
                    await self.ask(node, it.subject.spared, "good, spared")

        jobs = [ask(node) for node in self.rig.nodes for _ in range(_ASKERS)]
        await asyncio.gather(*jobs)
        return found
