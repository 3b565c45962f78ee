"""Kill the agent and the workers of a real gateway under load, again and again.

    python -m tests.adversity.system_kills --kills 200

Clients ask with good tokens without a pause, while revocations are entered. The agent
or a worker is ended with SIGKILL at random moments. Whatever dies when:

- a token whose revocation was acknowledged (201 or 202) is accepted by nobody again;
- a good token is never refused (401 or 403);
- a successor comes up, and serves;
- no counter falls from one scrape to the next.
"""

import argparse
import asyncio
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from tests import tokens
from tests.system.gateway import Gateway, running, until, world
from tests.system.load import Load, quiet_api, under_load

ROLES = ("agent", "worker0", "worker1")
KINDS = {"sid": "sid", "jti": "jti", "sub": "sub", "client": "client_id"}
PATH = "/orders/1"
_GONE = (ConnectionError, EOFError, asyncio.IncompleteReadError)
_WATCHED = 500  # revoked tokens that are asked for again and again
_SCRAPE_S = 0.5
_YOUNG_S = 1.5


@dataclass
class Report:
    """What a run has shown."""

    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    revoked: int = 0
    refusals: int = 0
    scrapes: int = 0
    slowest_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one line."""
        kills = ", ".join(f"{count} {role}" for role, count in self.kills.items())
        statuses = ", ".join(f"{n} x {code}" for code, n in self.statuses.items())
        return (
            f"{self.kills.total()} kills ({kills}) in {self.seconds:.1f} s; good"
            f" tokens: {statuses}, {self.lost} lost with their worker; {self.revoked}"
            f" revocations acknowledged, {self.refusals} times refused since;"
            f" {self.scrapes} scrapes; slowest successor {self.slowest_s:.2f} s:"
            f" {len(self.violations)} violations"
        )


class Run:
    """One run against one gateway."""

    def __init__(self, gateway: Gateway, seed: int) -> None:
        self.gateway = gateway
        self.report = Report()
        self.draw = random.Random(seed)
        self.revoked: deque[bytes] = deque(maxlen=_WATCHED)
        self.ending = False
        self.born: dict[str, float] = {}
        self.early: Counter[str] = Counter()

    def fault(self, text: str) -> None:
        """Note a violation."""
        sys.stderr.write(f"{text}\n")
        self.report.violations.append(text)

    async def status(self, token: bytes) -> int:
        """Return the status of a request on a new connection; 0 where it was cut."""
        try:
            return (await self.gateway.get(PATH, token)).status
        except _GONE:
            return 0
        except TimeoutError:
            self.fault("a request had no answer and no end")
            return 0

    # -- what goes on all the time -----------------------------------------------------

    async def revoke(self) -> None:
        """Revoke one token after the other; what was acknowledged is watched."""
        number = 0
        while not self.ending:
            number += 1
            kind, claim = self.draw.choice(list(KINDS.items()))
            value = f"{kind}-{number}"
            mine = {"jti": f"j{number}", "sid": f"s{number}", "region": "eu"}
            token = tokens.token(**(mine | {claim: value}))
            seen = await self.status(token)
            if seen in {401, 403}:
                self.fault(f"a good token got {seen}")
            asked = {"kind": kind, "issuer": "login", "value": value}
            try:
                answer = await self.gateway.admin("POST", "/v1/revocations", asked)
            except (*_GONE, TimeoutError):
                continue  # nobody promised anything
            if answer.status in {201, 202}:
                self.report.revoked += 1
                self.revoked.append(token)
                await self.refused(token)

    async def watch(self) -> None:
        """Ask with revoked tokens, on new connections, old and young ones alike."""
        while not self.ending:
            if self.revoked:
                await self.refused(self.draw.choice(self.revoked))
            await asyncio.sleep(0)

    async def refused(self, token: bytes) -> None:
        """Ask with a token that is revoked."""
        status = await self.status(token)
        if 200 <= status < 300:
            self.fault("a revoked token was accepted")
        self.report.refusals += status == 401

    async def scrape(self) -> None:
        """Read all counters twice a second."""
        before: dict[str, float] = {}
        while not self.ending:
            with contextlib.suppress(*_GONE, TimeoutError):
                counts = await self.gateway.counts()
                self.report.scrapes += 1
                for series, count in counts.items():
                    if count < before.get(series, 0.0):
                        self.fault(f"{series} fell to {count}")
                before |= counts
            await asyncio.sleep(_SCRAPE_S)

    # -- the kills ---------------------------------------------------------------------

    async def kill(self, role: str) -> None:
        """Kill the present process of a role, and wait for its successor.

        Its first moments are as good as any other, but what dies young again and again
        is started after longer and longer pauses, and those are not looked for here.
        """
        young_s = self.born.get(role, 0.0) + _YOUNG_S - time.monotonic()
        if young_s > 0 and self.early[role] > 0:
            await asyncio.sleep(young_s)
            young_s = 0
        self.early[role] = self.early[role] + 1 if young_s > 0 else 0
        before = self.gateway.pids(role)
        began = time.monotonic()
        self.gateway.send(signal.SIGKILL, before[-1])
        await until(lambda: len(self.gateway.pids(role)) > len(before), "a successor")
        self.report.slowest_s = max(self.report.slowest_s, time.monotonic() - began)
        self.report.kills[role] += 1
        self.born[role] = time.monotonic()

    async def settled(self) -> bool:
        """Tell whether the newest process of every role serves."""
        try:
            workers = (await self.gateway.status())["workers"]
        except (*_GONE, TimeoutError):
            return False
        pids = [self.gateway.pids(f"worker{worker['slot']}")[-1] for worker in workers]
        return [worker["pid"] for worker in workers] == pids

    async def go(self, kills: int) -> Report:
        """Kill, with everything else going on."""
        began = time.monotonic()
        good = tokens.token(region="eu", sub="nobody revokes me", client_id="nor me")
        async with under_load(self.gateway, good, count=8) as load:
            async with asyncio.TaskGroup() as tasks:
                for job in (self.revoke, self.watch, self.watch, self.scrape):
                    tasks.create_task(job())
                for _ in range(kills):
                    # From a process that is not up yet to one that worked for a while.
                    await asyncio.sleep(
                        self.draw.choice((0.05, 0.3, 1.5)) * self.draw.random()
                    )
                    await self.kill(self.draw.choice(ROLES))
                await until(self.settled, "all successors serve", every_s=0.1)
                self.ending = True
            await load.more(5)
        report = self.report
        report.seconds = time.monotonic() - began
        report.statuses.update(load.statuses)
        report.lost = load.lost
        self.judge(load)
        return report

    def judge(self, load: Load) -> None:
        """Note what the clients with good tokens should not have met."""
        for status in {401, 403} & set(load.statuses):
            self.fault(f"good tokens got {status}")
        killed = self.report.kills["worker0"] + self.report.kills["worker1"]
        if any(asker.lost > killed for asker in load.askers):
            self.fault("a client lost more requests than workers were killed")
        if not self.revoked or not self.report.refusals:
            self.fault("nothing was revoked")


async def run(kills: int, seed: int) -> Report:
    """Start a gateway of its own, and kill its processes so many times."""
    folder = Path(tempfile.mkdtemp(prefix="fastgate-kills-"))
    try:
        async with world() as here, quiet_api() as base:
            document = here.document(folder, log={"access": False})
            document["services"]["orders"] = {"eu": [base], "us": [base]}
            document["revocation"]["capacity"] = 100_000
            async with running(Gateway(folder / "eu", document)) as gateway:
                return await Run(gateway, seed).go(kills)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run from the command line; 1 where an invariant did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFFFF)
    options = parser.parse_args()
    print(f"seed {options.seed}")  # noqa: T201 - to repeat a run
    report = asyncio.run(run(options.kills, options.seed))
    print(report)  # noqa: T201 - the result
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
