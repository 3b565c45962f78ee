"""Fakes around the keyring: time that tests move, an issuer's endpoint, a disk."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, Self

import orjson
from tests.fakes import FakeClock

from fastgate.control.key_policy import KeySource
from fastgate.control.keyring import Keyring
from fastgate.control.keys_document import PublishedKeys, read_published
from fastgate.errors import ControlError
from fastgate.ports import Fetched

NS = 1_000_000_000


async def settle() -> None:
    """Let every task run as far as it gets without time passing."""
    for _ in range(60):
        await asyncio.sleep(0)


class ManualTime(FakeClock):
    """A clock with a control.keyring.Pause that only `pass_by` wakes."""

    def __init__(self) -> None:
        super().__init__()
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def now_s(self) -> float:
        """CLOCK_BOOTTIME, seconds."""
        return self.boot_ns() / NS

    async def pause(self, wake: asyncio.Event, delay_s: float) -> None:
        due = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now_s() + delay_s, next(self._order), due))
        waits = {asyncio.ensure_future(wake.wait()), asyncio.ensure_future(due.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def pass_by(self, seconds: float) -> None:
        """Move both clocks on, waking sleepers in order of their time."""
        end = self.now_s() + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, due = heapq.heappop(self._sleepers)
            self.advance(max(at - self.now_s(), 0.0))
            due.set()
            await settle()
        self.advance(max(end - self.now_s(), 0.0))
        await settle()


def key_set(*jwks: Any, status: int = 200, **headers: str) -> Fetched:
    """Return an answer of a key endpoint; header names with _ for -."""
    body = orjson.dumps({"keys": list(jwks)})
    return answer(body, status=status, **headers)


def answer(body: bytes = b"", *, status: int = 200, **headers: str) -> Fetched:
    """Return an answer; header names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fetched(status, {"content-type": "application/json", **named}, body)


class Endpoint:
    """A ports.Fetcher that answers by script and remembers what was asked.

    say: What every fetch gets, an answer or an exception; or a function of the URL.
    held: While cleared, fetches wait.
    """

    def __init__(self, say: Any) -> None:
        self.say = say
        self.calls: list[tuple[str, str, dict[str, str], bytes | None]] = []
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.running = 0
        self.most_running = 0

    async def fetch(
        self, method, url, *, headers=None, body=None, timeout_s, max_bytes
    ) -> Fetched:
        self.calls.append((method, url, dict(headers or {}), body))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.let_go.wait()
        finally:
            self.running -= 1
        said = self.say(url) if isinstance(self.say, Callable) else self.say
        if isinstance(said, Exception):
            raise said
        return said


class MemoryStore:
    """A control.key_saver.KeyStore in memory; `broken` makes it a full disk."""

    def __init__(self, boot_id: str = "boot-1") -> None:
        self.boot_id = boot_id
        self.documents: dict[str, bytes] = {}
        self.broken = False
        self.saves = 0

    def load(self, alias: str) -> bytes | None:
        if self.broken:
            raise ControlError("broken")
        return self.documents.get(alias)

    def save(self, alias: str, document: bytes) -> None:
        if self.broken:
            raise ControlError("broken")
        self.saves += 1
        self.documents[alias] = document


class Alarms:
    """Takes alarms and keeps those that hold; each call must change something."""

    def __init__(self) -> None:
        self.holding: set[tuple[str, str]] = set()
        self.history: list[tuple[str, str, bool]] = []

    def __call__(self, alarm: str, dependency: str, active: bool) -> None:
        assert active != ((alarm, dependency) in self.holding)
        self.history.append((alarm, dependency, active))
        (self.holding.add if active else self.holding.discard)((alarm, dependency))

    def names(self) -> set[str]:
        return {name for name, _ in self.holding}


def steady() -> Any:
    """Return a source of chance that never adds jitter."""

    class Steady:
        def random(self) -> float:
            return 0.0

    return Steady()


LOGIN = KeySource(
    "login", "https://login.example.com", "https://login.example.com/jwks"
)
OTHER = KeySource(
    "other", "https://other.example.com", "https://other.example.com/jwks"
)


class Node:
    """A keyring with everything around it faked; a context that starts and stops it."""

    def __init__(
        self, *sources: KeySource, say: Any, store: MemoryStore | None = None
    ) -> None:
        self.time = ManualTime()
        self.endpoint = Endpoint(say)
        self.store = store or MemoryStore()
        self.alarms = Alarms()
        self.documents: list[bytes] = []
        self.keyring = Keyring(
            issuers=sources or (LOGIN,),
            fetcher=self.endpoint,
            clock=self.time,
            store=self.store,
            publish=self.publish,
            alarms=self.alarms,
            rng=steady(),
            wait=self.time.pause,
        )

    def publish(self, document: bytes) -> None:
        """Take what the keyring publishes."""
        self.documents.append(document)

    async def __aenter__(self) -> Self:
        await self.keyring.start()
        await settle()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.endpoint.let_go.set()
        await self.keyring.stop()

    def published(self, alias: str = "login") -> PublishedKeys:
        """Return what the workers know of an issuer."""
        return read_published(self.documents[-1])[alias]

    def kids(self, alias: str = "login") -> set[object]:
        """Return the names of the published keys."""
        return {jwk.get("kid") for jwk in self.published(alias).jwks}

    def status(self, alias: str = "login") -> dict[str, Any]:
        """Return the status item of an issuer."""
        return next(each for each in self.keyring.status() if each["alias"] == alias)
