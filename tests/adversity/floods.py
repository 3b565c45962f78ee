"""Flood a real gateway with tokens that are no good, and see what good clients notice.

    python -m tests.adversity.floods --seconds 8

One worker serves a good client at a constant rate, with tokens that it has seen
before. From another address comes a flood, one kind after the other, each token new to
the gateway (THREATS T10 to T13, F29). For each kind it prints what the good client got,
what the flood got, what memory the worker took meanwhile, and what a request of the
flood cost against a good one. A flood is twice as many requests a second as the worker
could serve with tokens that it never saw.
"""

import argparse
import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests import tokens
from tests.adversity import flooder
from tests.system.gateway import Gateway, running, world
from tests.system.issuer import Issuer

from fastgate_bench import generator, machine, stand_ins
from fastgate_bench.plan import Plan as LoadPlan
from fastgate_bench.tokens import Issuer as KeySet

PATH = "/orders/1"
GOOD, BAD = "127.0.0.1", "127.0.0.2"  # where clients come from
ANYWHERE = machine.Pins()
# Reason: no refusal is remembered by token, so a flood may come round again.
_DIFFERENT = 20_000
_KNOWN = 200
_FORGIVEN_S = 4.5  # a burst of 200 at 50 a second, and a bit
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _signed_parts(number: int, kid: str) -> bytes:
    header = {"alg": "ES256", "kid": kid, "typ": "at+jwt"}
    claims = tokens.claims(jti=f"j-{number}", exp=None)
    claims["exp"] = claims["iat"] + 3000
    parts = (tokens.b64(tokens.json.dumps(part).encode()) for part in (header, claims))
    return ".".join(parts).encode()


def _noise() -> str:
    # r and s below the group order, so that nothing but the verification can refuse it.
    return tokens.b64(b"".join(bytes([1]) + secrets.token_bytes(31) for _ in "rs"))


def malformed(number: int) -> bytes:
    """Three parts that are no JSON."""
    return f"{secrets.token_hex(40)}.{number:x}.{secrets.token_hex(40)}".encode()


def forged(number: int) -> bytes:
    """A token under the issuer's kid, whose signature is noise (T11)."""
    return _signed_parts(number, "es256-1") + b"." + _noise().encode()


def strange(number: int) -> bytes:
    """A token under a kid that nobody has seen (T13)."""
    return _signed_parts(number, secrets.token_hex(8)) + b"." + _noise().encode()


def opaque(number: int) -> bytes:
    """A token that only the issuer can judge (T12)."""
    return f"_{number}_{secrets.token_urlsafe(30)}".encode()


KINDS = {
    "malformed": malformed,
    "forged": forged,
    "strange_kid": strange,
    "opaque": opaque,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one flood came to.

    good: Share of the good client's requests that got 200; others: further statuses.
    p99_ms: Of the good client. late: Why that is no figure of the gateway, or "".
    flood, rate: Statuses that the flood got, and how many a second. broken: Cut off.
    seconds: At most. grown: Bytes of the worker.
    cost_us: CPU of the gateway for a request of the flood.
    fetches, questions: Of keys and about tokens, that reached the issuer.
    """

    good: float
    others: dict[str, int]
    p99_ms: float
    late: str
    flood: dict[str, int]
    rate: float
    broken: int
    seconds: float
    grown: int
    cost_us: float
    fetches: int
    questions: int


class Rig:
    """A gateway with one worker, and clients around it.

    rate: Good requests a second. good_us: What one of them costs. idle_us: What the
        gateway uses in a second without any.
    """

    def __init__(self, folder: Path, gateway: Gateway, issuer: Issuer) -> None:
        self.folder = folder
        self.gateway = gateway
        self.issuer = issuer
        self.rate = 500.0
        self.good_us = 0.0
        self.idle_us = 0.0
        known = folder / "known"
        known.write_bytes(
            b"\n".join(tokens.token(jti=f"good-{n}") for n in range(_KNOWN))
        )
        self._good = LoadPlan(
            GOOD,
            gateway.port("listen"),
            self.rate,
            1.0,
            connections=8,
            target=PATH,
            tokens=str(known),
            tag="",
        )

    def worker(self) -> int:
        """Return the process of the worker."""
        return self.gateway.pids("worker0")[-1]

    def memory(self) -> int:
        """Return the resident bytes of the worker."""
        statm = Path(f"/proc/{self.worker()}/statm").read_text().split()
        return int(statm[1]) * _PAGE

    def used(self) -> float:
        """Return the CPU that the gateway has used, agent included, us.

        Source: the kernel's sched-stats.rst, /proc/PID/task/TID/schedstat, field 1.
        """
        assert self.gateway.process is not None
        return sum(
            int(stat.read_text().split()[0]) / 1_000
            for pid in machine.tree(self.gateway.process.pid)
            for stat in Path(f"/proc/{pid}/task").glob("*/schedstat")
        )

    def pin(self, pins: machine.Pins) -> None:
        """Give the gateway a core of its own, and everything else another."""
        assert self.gateway.process is not None
        if pins.gateway < 0:
            return
        for pid in machine.tree(self.gateway.process.pid):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {pins.gateway})
        os.sched_setaffinity(0, {pins.load})

    async def idle(self, seconds: float) -> float:
        """Return what the gateway uses in a second in which nobody asks, us."""
        before = self.used()
        await asyncio.sleep(seconds)
        return (self.used() - before) / seconds

    async def good_alone(self, seconds: float, **changes: Any) -> tuple[float, float]:
        """Return cost (us) and p99 (ms) of good requests that nobody disturbs."""
        before, began = self.used(), time.monotonic()
        load = await generator.generate(
            replace(self._good, seconds=seconds, rate=self.rate, **changes)
        )
        assert load.outcome.good == load.outcome.due, load.fault()
        spent_us = self._spent_us(before, began)
        return spent_us / load.outcome.answers, load.latency_ms()["p99"]

    def _spent_us(self, before: float, began: float) -> float:
        """Return what was used since then, beside what idling takes."""
        passed = time.monotonic() - began
        return max(0.0, self.used() - before - self.idle_us * passed)

    async def new_alone(self, count: int) -> float:
        """Return the cost (us) of good requests whose tokens were never seen."""
        new = self.folder / "new"
        new.write_bytes(b"\n".join(tokens.token(jti=f"new-{n}") for n in range(count)))
        seconds = count / self.rate
        return (await self.good_alone(seconds, tokens=str(new)))[0]

    async def forged_alone(self, seconds: float) -> float:
        """Return the cost (us) of a forged token that is still verified.

        They come at less than the rate that is forgiven, and nothing else does.
        """
        before, began = self.used(), time.monotonic()
        found = await flooder.flood(self._plan("forged", 40.0, seconds))
        assert found["statuses"].keys() == {"401"}, found
        return self._spent_us(before, began) / found["statuses"]["401"]

    def _plan(self, kind: str, rate: float, seconds: float) -> flooder.Plan:
        junk = self.folder / kind
        if not junk.exists():
            junk.write_bytes(b"\n".join(map(KINDS[kind], range(_DIFFERENT))))
        port = self.gateway.port("listen")
        return flooder.Plan(GOOD, port, BAD, PATH, str(junk), rate, seconds)

    async def flood(self, kind: str, rate: float, seconds: float) -> Seen:
        """Let a flood come while the good client goes on."""
        plan = self._plan(kind, rate, seconds)
        fetches, questions = self.issuer.fetches, self.issuer.questions
        memory, used, began = self.memory(), self.used(), time.monotonic()
        load, found = await asyncio.gather(
            generator.generate(replace(self._good, seconds=seconds, rate=self.rate)),
            flooder.flood(plan),
        )
        spent_us = self._spent_us(used, began) - self.good_us * load.outcome.answers
        answers = sum(found["statuses"].values())
        others = {code: n for code, n in load.outcome.statuses.items() if code != "200"}
        return Seen(
            good=load.outcome.good / load.outcome.due,
            others=others,
            p99_ms=load.latency_ms()["p99"],
            late=load.bottleneck(),
            flood=found["statuses"],
            rate=answers / found["seconds"],
            broken=found["broken"],
            seconds=time.monotonic() - began,
            grown=self.memory() - memory,
            cost_us=max(0.0, spent_us) / max(answers, 1),
            fetches=self.issuer.fetches - fetches,
            questions=self.issuer.questions - questions,
        )


@asynccontextmanager
async def rig(pins: machine.Pins = ANYWHERE) -> AsyncIterator[Rig]:
    """Start a gateway, with an issuer and an upstream that take what it asks."""
    folder = Path(tempfile.mkdtemp(prefix="fastgate-floods-"))
    try:
        async with (
            world() as here,
            stand_ins.upstream(folder, KeySet(), pins) as upstream,
        ):
            base = f"http://127.0.0.1:{upstream.port}"
            document = here.document(folder, log={"access": False}, workers=1)
            login = here.issuer.document(introspection=here.issuer.introspection())
            document["issuers"] = {"login": login}
            document["services"]["orders"] = {"eu": [base], "us": [base]}
            document["routes"][0]["token"]["accept"] = ["jwt", "opaque"]
            async with running(Gateway(folder / "eu", document)) as gateway:
                found = Rig(folder, gateway, here.issuer)
                found.pin(pins)
                await found.good_alone(_KNOWN / found.rate)  # each was seen once
                yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def measure(seconds: float, kinds: list[str]) -> int:
    """Print the figures; 1 where the good client lost, or memory grew."""
    out, fault = sys.stdout, 0
    async with rig(machine.choose_pins()) as here:
        here.rate = 1_000.0
        here.idle_us = await here.idle(3.0)
        here.good_us, quiet_ms = await here.good_alone(seconds)
        new_us = await here.new_alone(4_000)
        rate = 2e6 / new_us
        out.write(
            f"idle {here.idle_us / 1e4:.1f} % of a core, left out below; a good"
            f" request costs {here.good_us:.1f} us of CPU with a token seen before,"
            f" {new_us:.1f} us with a new one; p99 {quiet_ms:.2f} ms at"
            f" {here.rate:.0f}/s; floods of {rate:.0f}/s\n"
        )
        for kind in kinds:
            seen = await here.flood(kind, rate, seconds)
            lost = seen.good < 0.95 or seen.grown >= 16 << 20
            fault |= lost
            out.write(
                f"{kind}: good {seen.good:.2%}, p99 {seen.p99_ms:.2f} ms"
                f" ({seen.late or f'{seen.p99_ms / quiet_ms:.1f} x'});"
                f" {seen.rate:.0f}/s answered"
                f" {seen.flood}, {seen.broken} cut; worker {seen.grown / 2**20:+.1f}"
                f" MiB; {seen.cost_us:.1f} us each"
                f" ({seen.cost_us / here.good_us:.2f} x a good one); JWKS"
                f" {seen.fetches}, introspection {seen.questions}\n"
            )
        await asyncio.sleep(_FORGIVEN_S)
        verified_us = await here.forged_alone(seconds)
        out.write(
            f"forged, within the limit: {verified_us:.0f} us each"
            f" ({verified_us / here.good_us:.1f} x a good one)\n"
        )
    return int(fault)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return asyncio.run(measure(options.seconds, options.kinds))


if __name__ == "__main__":
    sys.exit(main())
