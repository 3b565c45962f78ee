"""Revocation: look-ups against entries, apply rate, and revoke until refused.

Owns:      the bench `revocation`.
Called by: suite.

`revoke-refused` is taken on a real gateway: from sending the revocation to the admin
API until the last of all workers has refused the token on a connection that was open
already.
"""

import asyncio
import contextlib
import os
import pathlib
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Final

from fastgate.errors import BugError
from fastgate_bench.charts import Lines
from fastgate_bench.figures import Measured, Stage
from fastgate_bench.gate_kit import Index, boot_ns
from fastgate_bench.gateways import FASTGATE, Place, running
from fastgate_bench.histogram import curve, decoded, encoded, statistics
from fastgate_bench.machine import Pins, choose_pins
from fastgate_bench.options import Options, Tell
from fastgate_bench.propagation import propagation_stages
from fastgate_bench.reader_pause import pause_stages
from fastgate_bench.revocation_feed import feed_stages
from fastgate_bench.revoker import Revoker
from fastgate_bench.stand_ins import free_ports, upstream
from fastgate_bench.timing import Call, measure
from fastgate_bench.tokens import Issuer

__all__ = ["run"]

_KEYS_PER_TOKEN: Final = 6
_EXPIRING: Final = 1_000_000
_AGE_NS: Final = 10**10
_CLEAR: Final = 1
_REVOKED: Final = 2
_WORKERS: Final = 2
_US_PER_MS: Final = 1000
_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class _Size:
    entries: tuple[tuple[str, int], ...]
    calls: int
    rounds: int
    revocations: int


_FULL: Final = _Size(
    (("1k", 1_000), ("100k", 100_000), ("1m", 1_000_000), ("10m", 10_000_000)),
    5_000,
    10,
    200,
)
_QUICK: Final = _Size((("1k", 1_000), ("100k", 100_000)), 1_000, 2, 10)


async def run(options: Options, tell: Tell) -> Measured:
    """Measure index and gateway.

    Raises BugError where an answer of the index was wrong, StartError where a gateway
    does not start or does not refuse.
    """
    size = _QUICK if options.quick else _FULL
    rounds = options.rounds or size.rounds
    measured = Measured(
        conditions={
            "keys_of_a_check": _KEYS_PER_TOKEN,
            "rounds": rounds,
            "workers": _WORKERS,
            "revocations": size.revocations,
        }
    )
    points = []
    for number, (name, count) in enumerate(size.entries):
        tell(f"{count} entries", 0.6 * number / len(size.entries))
        index = Index(count)
        spent_ns = index.fill(count)
        stage = _look_ups(index, f"lookup-{name}", size.calls, rounds)
        measured.stages.append(stage)
        points.append((float(count), stage.values["p50"]))
        if number == len(size.entries) - 1:
            rate = count * _NS_PER_S / spent_ns
            note = f"{count} entries into the index, without journal and bus"
            measured.stages.append(
                Stage("apply", "/s", {"rate": rate}, "rate", note=note)
            )
        del index
    tell("applying batches", 0.58)
    stages = await asyncio.to_thread(feed_stages, size.entries[-1][1])
    measured.stages.extend(stages)
    tell("reading while entries expire", 0.59)
    entries = min(size.entries[-1][1], _EXPIRING)
    measured.stages.extend(await asyncio.to_thread(pause_stages, entries))
    measured.charts.append(
        Lines(
            "Cost of a look-up against number of revocations",
            "entries",
            "nanoseconds (median)",
            {"look-up": points},
            x_log=True,
        )
    )
    tell("starting upstream and gateway", 0.6)
    await _refusals(measured, size.revocations, tell)
    tell("starting three regions", 0.8)

    def later(what: str, share: float) -> None:
        tell(what, 0.8 + 0.2 * share)

    count = size.revocations
    stages = await propagation_stages(count, quick=options.quick, tell=later)
    measured.stages.extend(stages)
    return measured


def _look_ups(index: Index, name: str, calls: int, rounds: int) -> Stage:
    """Return the time of one look-up, of keys that nobody asked for before."""
    check = index.reader.check
    index.refresh()
    now_s = int(time.time())
    for key in index.some:
        if check(key, 0, now_s, boot_ns(), 0, _AGE_NS, 0, _AGE_NS) & 0xFF != _REVOKED:
            raise BugError("the index has lost an entry")
    now_ns = boot_ns()

    def keys() -> list[bytes]:
        nonlocal now_ns
        index.refresh()
        now_ns = boot_ns()
        return [os.urandom(16 * _KEYS_PER_TOKEN) for _ in range(calls)]

    def look_up(token: bytes) -> Any:
        return check(token, 0, now_s, now_ns, 0, _AGE_NS, 0, _AGE_NS)

    call = Call(
        look_up, keys, lambda code: code == _CLEAR, "ns", 1.0, parts=_KEYS_PER_TOKEN
    )
    return measure({name: call}, rounds, lambda _: None)[name].stage()


async def _refusals(measured: Measured, count: int, tell: Tell) -> None:
    """Revoke token after token at a real gateway."""
    issuer, pins = Issuer(), choose_pins()
    measured.conditions["upstream_core"] = pins.load
    async with contextlib.AsyncExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="fastgate-bench-")
        )
        folder = pathlib.Path(name)
        api = await stack.enter_async_context(upstream(folder, issuer, pins))
        port, admin, status = free_ports(3)
        place = Place(
            *(folder / "fastgate", port, api.port, admin, status, issuer),
            revoked=folder / "revoked",
            workers=_WORKERS,
        )
        # Workers and agent share what cores there are, as in production.
        gateway = await stack.enter_async_context(running(FASTGATE, place, Pins()))
        revoker = Revoker(gateway, _WORKERS)
        await revoker.connect()
        stack.callback(revoker.close)
        refused_us, answered_us = [], []
        for number in range(count):
            tell(f"revocation {number + 1} of {count}", 0.65 + 0.15 * number / count)
            refused, answered = await revoker.revoke()
            refused_us.append(refused)
            answered_us.append(answered)
    for name, times, note in (
        ("revoke-refused", refused_us, "until the last worker refused"),
        ("revoke-answered", answered_us, "until the admin API answered"),
    ):
        values = statistics(decoded(encoded(times)), 1 / _US_PER_MS)
        measured.stages.append(Stage(name, "ms", values, note=note))
    measured.charts.append(
        Lines(
            "Revoke until refused, on every worker",
            "share of revocations below",
            "milliseconds",
            {
                "refused": curve(decoded(encoded(refused_us)), 1 / _US_PER_MS),
                "answered": curve(decoded(encoded(answered_us)), 1 / _US_PER_MS),
            },
            x_nines=True,
        )
    )
