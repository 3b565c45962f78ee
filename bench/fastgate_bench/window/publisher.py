"""Publisher: publishes revocations in batches, 10,000 a second, as one more gateway.

Owns:      its events and their numbers, and a connection to the bus.
Called by: window.bursts starts it: `python -m fastgate_bench.window.publisher JOB`.

JOB is JSON. Events, frames and the way into the stream are the product's; journal and
admission are left out, which cost more for each event than these two cores have. One in
so many events is written to `told` when the stream has its batch, with the time of
CLOCK_MONOTONIC, which all processes of a host share.
"""

import asyncio
import pathlib
import secrets
import sys
import time
from dataclasses import replace
from typing import Any, Final, TextIO

import orjson
import uvloop

from fastgate.adapters.nats_bus.bus import NatsBus
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.control.journal import TTL_SLACK_S
from fastgate.domain.entry import Entry, Lifetimes, make_event
from fastgate.domain.event import (
    MAX_EVENTS,
    Batch,
    Event,
    encode_batch,
    ids_digest,
    key_id,
)
from fastgate.domain.revocation import KeyHasher, Kind
from fastgate.domain.stream import Stored
from fastgate.errors import ControlError
from fastgate_bench.tokens import ISSUER

__all__: list[str] = []

_READY_S: Final = 30.0
_PUBLISH_S: Final = 20.0
_RETRY_S: Final = 0.1
_LIFETIMES: Final = Lifetimes(max_token_s=3_600, max_session_s=43_200, leeway_s=5)


class _Listener:
    """Wants nothing of the bus but to be connected."""

    def __init__(self) -> None:
        self.up = asyncio.Event()

    def live(self, stored: Stored) -> None:
        """Leave it to the gateways."""

    def reported(self, sender: str, payload: bytes) -> None:
        """Leave it to the gateways."""

    def urged(self, origin: str, publisher: str, payload: bytes) -> None:
        """Leave it to the gateways."""

    def connected(self, up: bool) -> None:
        """Note it."""
        if up:
            self.up.set()

    async def handed(self, payload: bytes) -> bytes:
        """Leave it to the gateways. Raises ControlError always."""
        raise ControlError(f"nothing is taken here, {len(payload)} bytes")


class _Publisher:
    """A publisher of a region, with a name of its own as long as it lives."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.region = job["region"]
        self.name = f"{job['node']}.{secrets.token_hex(8)}"
        self._prefix = job["name"]
        self._key = job["hash_key"].encode()
        self._hasher = KeyHasher(self._key, ISSUER)

    def batch(self, first: int, count: int) -> Batch:
        """Return the next events; first: Number of the first of them, from 1."""
        now, name = time.time(), key_id(self._key)
        return Batch(
            self.region,
            self.name,
            tuple(self._event(seq, now, name) for seq in range(first, first + count)),
        )

    def value(self, seq: int) -> str:
        """Return the session that an event revokes."""
        return f"{self._prefix}{seq}"

    def _event(self, seq: int, now: float, name: str) -> Event:
        entry = Entry(Kind.SID, ISSUER, "login", self.value(seq), self.region)
        made = make_event(
            entry,
            id_=secrets.token_hex(12),
            key=self._hasher.key(Kind.SID, entry.value),
            key_id=name,
            origin=self.region,
            hand=(),
            now=now,
            lifetimes=_LIFETIMES,
        )
        return replace(made, seq=seq)


def _batches(publisher: _Publisher, total: int) -> list[tuple[Batch, bytes]]:
    """Return all of a burst as it is published: making it must not slow it down."""
    found = []
    for done in range(0, total, MAX_EVENTS):
        batch = publisher.batch(done + 1, min(MAX_EVENTS, total - done))
        found.append((batch, encode_batch(batch)))
    return found


async def _store(bus: NatsBus, batch: Batch, frame: bytes) -> None:
    """Publish a batch until the stream has it. Raises ControlError after 20 s."""
    first, last = batch.events[0].seq, batch.events[-1].seq
    name = f"{batch.publisher}/{first}-{last}/{ids_digest(batch.events)}"
    life_s = max(event.expires for event in batch.events) - int(time.time())
    until = time.monotonic() + _PUBLISH_S
    while True:
        try:
            ttl_s = life_s + TTL_SLACK_S
            await bus.publish(batch.publisher, "sid", name, frame, ttl_s)
        except ControlError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(_RETRY_S)
        else:
            return


async def _publish(job: dict[str, Any], out: TextIO) -> None:
    region, node, origins = job["region"], job["node"], tuple(job["origins"])
    settings = NatsSettings(servers=(f"nats://127.0.0.1:{job['port']}",))
    bus = NatsBus(settings, region=region, node=node, origins=origins)
    listener, publisher = _Listener(), _Publisher(job)
    rate = job["rate"]
    batches = _batches(publisher, int(rate * job["seconds"]))
    await bus.start(listener)
    try:
        async with asyncio.timeout(_READY_S):
            await listener.up.wait()
        began, done = time.monotonic(), 0
        for batch, frame in batches:
            await asyncio.sleep(max(0.0, began + done / rate - time.monotonic()))
            await _store(bus, batch, frame)
            done += len(batch.events)
            _tell(publisher, batch, job["one_in"], out)
        found = {"published": done, "rate": done / (time.monotonic() - began)}
        out.write(orjson.dumps(found).decode() + "\n")
    finally:
        await bus.stop()


def _tell(publisher: _Publisher, batch: Batch, one_in: int, out: TextIO) -> None:
    told_ns = time.monotonic_ns()
    for event in batch.events:
        if event.seq % one_in == 0:
            value = publisher.value(event.seq)
            line = {"id": value, "event": event.id, "told": told_ns}
            out.write(orjson.dumps(line).decode() + "\n")
    out.flush()


def _main() -> None:
    job = orjson.loads(sys.argv[1])
    with pathlib.Path(job["told"]).open("a", encoding="ascii") as out:
        uvloop.run(_publish(job, out))


if __name__ == "__main__":
    _main()
