"""Peers: CPU per request of fastgate and of other gateways, measured side by side.

Owns:      the bench `peers`.
Called by: suite.

One core is the gateway's, another is load's and the upstream's. All gateways run all
the time, and are asked in turn, round by round, so that what else the machine does
meets all of them. CPU is what the system accounts to all processes of a gateway, user
and system, divided by the answers. Load is a closed loop that keeps the gateway's core
full; where it cannot, the line has no figure, since a gateway that waits for its load
seems to be dearer than it is. With `--rate` every gateway gets the same open-loop load.
"""

import contextlib
import dataclasses
import pathlib
import statistics as stats
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fastgate_bench.charts import Bars, Lines
from fastgate_bench.comparison import MEASUREMENTS, MIB, SUBJECTS, Measurement
from fastgate_bench.figures import Measured, Stage, absent, refused
from fastgate_bench.gateways import Place, Running, Subject, prove, running, version_of
from fastgate_bench.generator import generate
from fastgate_bench.machine import Pins, account, choose_pins
from fastgate_bench.options import Options, Tell
from fastgate_bench.plan import Plan
from fastgate_bench.revoked import write_ids
from fastgate_bench.runs import Rounds, Used, in_turn, used_between
from fastgate_bench.stand_ins import TAG, Upstream, free_ports, upstream
from fastgate_bench.timing import Call, Timed, measure
from fastgate_bench.tokens import Issuer
from fastgate_bench.wrk import Answered, by_wrk, find_wrk

__all__ = ["run"]

_SEEN_TOKENS: Final = 64
# Reason: no gateway can verify more on its one core than the bare call does, so that
# none is sent a token twice; a fifth more, since cores are not equally fast.
_FRESH_SHARE: Final = 1.2
_US_PER_S: Final = 1e6
_REVOKED: Final = 100_000
_QUICK_REVOKED: Final = 1_000
# Reason: enough requests under way to keep a gateway's core full, which 32 are not.
_CONNECTIONS: Final = 64
_BIG_CONNECTIONS: Final = 8
_ECDSA: Final = ec.ECDSA(hashes.SHA256())


@dataclass(slots=True)
class _Bench:
    """What one run works with, and what it has found so far.

    gateways: By the names of their subjects; only those that are installed.
    """

    options: Options
    tell: Tell
    pins: Pins
    folder: pathlib.Path
    issuer: Issuer = field(default_factory=Issuer)
    gateways: dict[str, Running] = field(default_factory=dict)
    rounds: dict[str, Rounds] = field(default_factory=dict)
    wrk: dict[str, list[tuple[Answered, Used]]] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)

    @property
    def present(self) -> list[Measurement]:
        """The lines whose gateway runs."""
        return [one for one in MEASUREMENTS if one.subject.name in self.gateways]

    async def start(
        self, stack: contextlib.AsyncExitStack, api: Upstream, revoked: pathlib.Path
    ) -> None:
        """Start every gateway, and see that it does what its lines claim."""
        for number, (name, subject) in enumerate(SUBJECTS.items()):
            if subject.absence():
                continue
            self.tell(f"starting {name}", 0.1 * number / len(SUBJECTS))
            place = self._place(subject, api, revoked)
            if version := version_of(subject):
                self.conditions[subject.program] = version
            gateway = await stack.enter_async_context(
                running(subject, place, self.pins)
            )
            await prove(gateway)
            self.gateways[name] = gateway

    def _place(self, subject: Subject, api: Upstream, revoked: pathlib.Path) -> Place:
        port, admin, status = free_ports(3)
        return Place(
            folder=self.folder / subject.name,
            port=port,
            upstream_port=api.port,
            admin_port=admin,
            status_port=status,
            issuer=self.issuer,
            revoked=revoked,
            workers=subject.workers,
            access_log=self.options.access_log or subject.access_log,
        )

    def plan(self, one: Measurement, tokens: str) -> Plan:
        """Return one round of one line."""
        connections = self.options.connections or _CONNECTIONS
        if one.body_bytes >= MIB:
            connections = min(connections, _BIG_CONNECTIONS)
        return Plan(
            host="127.0.0.1",
            port=self.gateways[one.subject.name].place.port,
            rate=self.options.rate,
            seconds=self.options.length_s,
            connections=connections,
            method="POST" if one.body_bytes else "GET",
            target=one.target,
            body_bytes=one.body_bytes,
            tokens="" if one.tokens == "none" else tokens,
            tag=TAG,
            churn=self.options.churn,
            cpu=self.pins.load,
        )

    def pid(self, one: Measurement) -> int:
        """Return the root of the processes of a line's gateway."""
        return self.gateways[one.subject.name].pid

    async def measure(self, verify: "_Verify", fresh_count: int) -> None:
        """Measure every present gateway, and the floor, round by round."""
        seen = self.issuer.tokens(_SEEN_TOKENS, self.folder / "seen")
        present, count = self.present, self.options.round_count
        self.rounds = {one.name: Rounds() for one in present}
        pids = {one.name: self.pid(one) for one in present}
        for number, one in enumerate(present):
            self.tell(f"warming {one.name}", 0.1 + 0.1 * number / len(present))
            warm = dataclasses.replace(self.plan(one, seen), rate=200.0, seconds=1.0)
            await generate(warm)
        for turn in range(count):
            # Written anew each round; no gateway is sent one of them twice.
            fresh = self.issuer.tokens(fresh_count, self.folder / "fresh")
            verify.again()
            plans = {
                one.name: [self.plan(one, fresh if one.tokens == "fresh" else seen)]
                for one in present
            }
            done = 0
            async for name, load, used in in_turn(plans, pids):
                done += 1
                share = (turn + done / len(present)) / count
                self.tell(f"round {turn + 1} of {count}: {name}", 0.2 + 0.8 * share)
                self.rounds[name].loads.append(load)
                self.rounds[name].used.append(used)
            await self._by_wrk(seen)

    async def _by_wrk(self, seen: str) -> None:
        """Repeat some lines with a client that is not ours, if there is one."""
        wrk = find_wrk()
        if wrk is None or self.options.rate or self.options.churn:
            return
        for one in self.present:
            if not one.wrk:
                continue
            plan, pid = self.plan(one, seen), self.pid(one)
            before = account(pid)
            found = await by_wrk(wrk, plan)
            used = used_between(before, account(pid), found.count, plan.seconds)
            self.wrk.setdefault(one.name, []).append((found, used))


async def run(options: Options, tell: Tell) -> Measured:
    """Measure whoever is installed. Raises StartError where one does not start."""
    pins = choose_pins()
    tell("bare verify", 0.0)
    verify = _Verify(options)
    most = _FRESH_SHARE * _US_PER_S / verify.again().values["p50"]
    fresh_count = int((options.rate or most) * options.length_s) + 1
    count = _QUICK_REVOKED if options.quick else _REVOKED
    measured = Measured(conditions=_conditions(options, pins, count))
    with tempfile.TemporaryDirectory(prefix="fastgate-bench-") as name:
        bench = _Bench(options, tell, pins, pathlib.Path(name))
        async with contextlib.AsyncExitStack() as stack:
            tell("starting upstream", 0.0)
            api = await stack.enter_async_context(
                upstream(bench.folder, bench.issuer, pins)
            )
            measured.conditions["upstream"] = api.kind
            revoked = write_ids(bench.folder / "revoked", count)
            await bench.start(stack, api, revoked)
            await bench.measure(verify, fresh_count)
    measured.conditions |= bench.conditions
    measured.stages += [verify.again(), *_stages(bench)]
    _describe(measured, bench)
    return measured


def _conditions(options: Options, pins: Pins, revoked: int) -> dict[str, Any]:
    return {
        "gateway_core": pins.gateway,
        "load_and_upstream_core": pins.load,
        "connections": f"{options.connections or _CONNECTIONS}, "
        f"{_BIG_CONNECTIONS} with bodies of 1 MiB",
        "rate": options.rate or "as fast as it is answered",
        "access_log": "on, in every gateway"
        if options.access_log
        else "off, but for the lines that end in -log",
        "workers": "1 (fastgate-2-workers: 2, on any core)",
        "revoked_ids": f"{revoked}, in fastgate's index and in HAProxy's file",
        "wrk": "also used, in lines that end in -wrk" if find_wrk() else "absent",
        "rounds": options.round_count,
        "seconds": options.length_s,
    }


class _Verify:
    """The bare call of the library, the floor of a token never seen."""

    def __init__(self, options: Options) -> None:
        data = b"x" * 400
        key = ec.generate_private_key(ec.SECP256R1())
        signature, public = key.sign(data, _ECDSA), key.public_key()
        self._call = Call(
            lambda _: public.verify(signature, data, _ECDSA),
            lambda: [None] * (100 if options.quick else 2_000),
            lambda found: found is None,
            note="in this process, on any core",
        )
        self._timed = Timed("verify", self._call)

    def again(self) -> Stage:
        """Measure once more, as each round of the gateways does; returns all so far."""
        found = measure({"verify": self._call}, 1, lambda _: None)["verify"]
        self._timed.rounds += found.rounds
        return self._timed.stage()


def _stages(bench: _Bench) -> list[Stage]:
    stages: list[Stage] = []
    for one in MEASUREMENTS:
        rounds = bench.rounds.get(one.name)
        if rounds is None:
            stages.append(absent(one.name, "us", one.subject.absence()))
            continue
        rate = stats.median(load.achieved for load in rounds.loads)
        stages.append(rounds.cpu(one.name, f"{one.note()}; {rate:,.0f}/s"))
        if one.name in bench.wrk:
            stages.append(_wrk_stage(one, bench.wrk[one.name]))
    if found := bench.rounds.get("fastgate-seen"):
        stages.append(found.background("fastgate-background"))
    return stages


def _wrk_stage(one: Measurement, runs: Sequence[tuple[Answered, Used]]) -> Stage:
    name = f"{one.name}-wrk"
    # As in the rounds of our own generator: either the gateway is full or wrk is.
    good = [(a, u) for a, u in runs if not a.bottleneck() or not u.is_waiting]
    if 2 * len(good) < len(runs):
        return refused(name, "us", runs[0][0].bottleneck())
    every = [used.cpu_us for _, used in good]
    rate = stats.median(answered.rate for answered, _ in good)
    return Stage(
        *(name, "us", {"cpu": stats.median(every)}, "cpu", (min(every), max(every))),
        note=f"the same by wrk, which checks statuses alone; {rate:,.0f}/s",
    )


def _family(one: Measurement) -> str:
    """Return whose line it is, which gives it its colour."""
    return one.subject.name.partition("-")[0]


def _cost_stack(measured: Measured) -> list[Bars]:
    """Return what a request through fastgate is made of, if all of it has a figure."""
    names = ("fastgate-public", "fastgate-seen", "fastgate-fresh")
    stages = [measured.stage(name) for name in names]
    cost = [s.values["cpu"] for s in stages if s is not None and not s.missing]
    if len(cost) < len(names):
        return []
    relay, seen, fresh = cost
    parts = [
        ("relay", relay),
        ("checks of a token seen before", max(0.0, seen - relay)),
        ("signature and first sight of a token", max(0.0, fresh - seen)),
    ]
    rows = {"open route": parts[:1], "token seen": parts[:2], "token never seen": parts}
    return [Bars("Cost stack of a request through fastgate (CPU)", "us", rows)]


def _describe(measured: Measured, bench: _Bench) -> None:
    rate = bench.options.rate
    small = [one for one in MEASUREMENTS if not one.body_bytes]
    bodies = [one for one in MEASUREMENTS if one.body_bytes]
    for title, lines in (
        ("CPU per request against peers", small),
        ("CPU per request with bodies of 4 KiB and 1 MiB both ways", bodies),
    ):
        stages = [measured.stage(one.name) for one in lines]
        rows = {
            stage.name: [(_family(one), stage.values["cpu"])]
            for one, stage in zip(lines, stages, strict=True)
            if stage is not None and not stage.missing
        }
        measured.charts.append(Bars(title, "us", rows))
    measured.charts += _cost_stack(measured)
    if rate:
        names = [one.name for one in small if one.name in bench.rounds]
        points = {name: bench.rounds[name].points() for name in names}
        measured.charts.append(
            Lines(
                f"Latency at {rate:.0f} requests a second",
                "share of requests below",
                "microseconds",
                {name: found for name, found in points.items() if found},
                y_log=True,
                x_nines=True,
            )
        )
    for name, subject in SUBJECTS.items():
        if subject.absence():
            measured.notes.append(f"{name}: {subject.absence()}")
        elif subject.lacks and not subject.access_log:
            measured.notes.append(f"{name} cannot do all: {subject.lacks}.")
