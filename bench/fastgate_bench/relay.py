"""Relay: requests end to end through a gateway, against the direct call.

Owns:      the bench `relay`, also for a URL of any other server.
Called by: suite.

Load and upstream share one core, the gateway has another. `added` is what the gateway
adds to a percentile of the direct call at the same rate. `away` are tokens of the other
region, whose upstream is the same here: what is left is what routing away costs.
"""

import dataclasses
import pathlib
import tempfile
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from fastgate.errors import ConfigError
from fastgate_bench.charts import Bars, Lines
from fastgate_bench.figures import Measured, Stage, refused
from fastgate_bench.gateways import FASTGATE, Place, running
from fastgate_bench.generator import generate
from fastgate_bench.holding import hold
from fastgate_bench.machine import Pins, choose_pins
from fastgate_bench.options import Options, Tell
from fastgate_bench.plan import Plan
from fastgate_bench.revoked import write_ids
from fastgate_bench.runs import Rounds, find_maximum, in_turn, rate_stage
from fastgate_bench.stand_ins import TAG, Upstream, free_ports, upstream
from fastgate_bench.tokens import Issuer

__all__ = ["run"]

_SEEN_TOKENS: Final = 64
CONNECTIONS: Final = 32
_SWEEP: Final = (0.1, 0.25, 0.5, 0.7, 0.85, 1.0, 1.2)
_QUICK_SWEEP: Final = (0.25, 1.0)
# Reason: what one core of load can hold with bodies of that size.
_RATE_4K: Final = 500.0
_RATE_1M: Final = 20.0
_REVOKED: Final = (100_000, 1_000)  # token ids in the index: full, quick


@dataclass(slots=True)
class _Bench:
    """What one run works with, and what it has found so far."""

    options: Options
    tell: Tell
    pins: Pins
    measured: Measured = field(default_factory=Measured)

    def plan(self, port: int, tokens: str, **changes: object) -> Plan:
        plan = Plan(
            host="127.0.0.1",
            port=port,
            rate=0.0,
            seconds=self.options.length_s,
            connections=self.options.connections or CONNECTIONS,
            target="/orders/1",
            tokens=tokens,
            tag=TAG,
            churn=self.options.churn,
            cpu=self.pins.load,
        )
        return dataclasses.replace(plan, **changes)  # type: ignore[arg-type]

    async def maximum(self, name: str, plan: Plan) -> float:
        """Note the most answers a second; return those that our generator got."""
        short = dataclasses.replace(plan, rate=0.0)
        found = await find_maximum(short)
        self.measured.stages.append(rate_stage(name, [found.rate], found.why, found.by))
        return found.own

    async def rounds(
        self, plans: dict[str, Plan], pids: dict[str, int]
    ) -> dict[str, Rounds]:
        """Run plans in turn."""
        count = self.options.round_count
        found = {name: Rounds() for name in plans}
        many = {name: [plan] * count for name, plan in plans.items()}
        done = 0
        async for name, load, used in in_turn(many, pids):
            done += 1
            share = done / (count * len(plans))
            self.tell(f"{name}, {load.plan.rate:.0f}/s", 0.2 + 0.4 * share)
            found[name].loads.append(load)
            found[name].used.append(used)
        return found

    async def sweep(self, name: str, plan: Plan, maximum: float) -> None:
        """Plot what is answered, and how late, against what is offered."""
        achieved, late = [], []
        shares = _QUICK_SWEEP if self.options.quick else _SWEEP
        for number, share in enumerate(shares):
            rate = max(1.0, maximum * share)
            self.tell(f"offered {rate:.0f}/s", 0.7 + 0.2 * number / len(shares))
            load = await generate(dataclasses.replace(plan, rate=rate))
            # Late and missing answers are what a plot of overload is about.
            why = load.bottleneck() or (load.outcome.mismatched and load.fault())
            if why:
                note = f"Offered {rate:.0f}/s is not in the plots: {why}."
                self.measured.notes.append(note)
                continue
            achieved.append((rate, load.achieved))
            late.append((rate, load.latency_ms()["p99"]))
        offered = "offered requests a second"
        self.measured.charts += [
            Lines(
                "Throughput against offered load",
                offered,
                "answers a second",
                {name: achieved, "offered": [(rate, rate) for rate, _ in achieved]},
            ),
            Lines(
                "Latency against offered load",
                offered,
                "p99, milliseconds",
                {name: late},
                y_log=True,
            ),
        ]


async def run(options: Options, tell: Tell) -> Measured:
    """Measure fastgate, or the target that the options name.

    Raises StartError where something does not start, ConfigError for a bad target.
    """
    # A foreign server runs where it runs; then the load may have any core.
    bench = _Bench(options, tell, Pins() if options.target else choose_pins())
    pins = bench.pins
    bench.measured.conditions = {
        "gateway_core": pins.gateway,
        "load_and_upstream_core": pins.load,
        "connections": options.connections or CONNECTIONS,
        "churn": options.churn or "connections are kept",
        "access_log": "on" if options.access_log else "off",
        "rounds": options.round_count,
        "seconds": options.length_s,
    }
    if options.target:
        await _foreign(bench)
        return bench.measured
    issuer = Issuer()
    with tempfile.TemporaryDirectory(prefix="fastgate-bench-") as name:
        folder = pathlib.Path(name)
        tell("starting upstream and gateway", 0.0)
        async with upstream(folder, issuer, pins) as api:
            bench.measured.conditions["upstream"] = api.kind
            await _own(bench, folder, issuer, api)
    return bench.measured


async def _own(
    bench: _Bench, folder: pathlib.Path, issuer: Issuer, api: Upstream
) -> None:
    port, admin, status = free_ports(3)
    revoked = _REVOKED[1] if bench.options.quick else _REVOKED[0]
    bench.measured.conditions["revocations"] = revoked
    place = Place(
        *(folder / "fastgate", port, api.port, admin, status, issuer),
        revoked=write_ids(folder / "revoked", revoked),
        access_log=bench.options.access_log,
    )
    tokens = issuer.tokens(_SEEN_TOKENS, folder / "seen")
    measured = bench.measured
    await hold(
        *(bench.options, bench.tell, bench.pins, measured, folder, api, place),
        bench.plan(port, tokens),
    )
    async with running(FASTGATE, place, bench.pins) as gateway:
        through = bench.plan(port, tokens)
        away = dataclasses.replace(
            through, tokens=issuer.tokens(_SEEN_TOKENS, folder / "away", "us")
        )
        for plan in (through, away):  # every token seen, every connection pooled
            await generate(dataclasses.replace(plan, rate=200.0, seconds=1.0))
        bench.tell("maximum", 0.1)
        most = await bench.maximum("maximum", through)
        rate = bench.options.rate or max(1.0, most / 2)
        measured.conditions["rate"] = round(rate)
        plans = _plans(bench.plan(api.port, tokens), through, away, rate)
        pids = {name: gateway.pid for name in plans if not name.startswith("direct")}
        found = await bench.rounds(plans, pids)
        measured.stages += [one.latency(name) for name, one in found.items()]
        measured.stages += [
            found["seen"].cpu("gateway", "all processes, for each request"),
            _added(measured, "seen", "direct"),
        ]
        _plots(measured, found)
        await bench.sweep("fastgate", through, most)


def _plans(direct: Plan, through: Plan, away: Plan, rate: float) -> dict[str, Plan]:
    """Return what is measured in turn: small answers at the rate, bodies both ways."""
    public = dataclasses.replace(through, target="/public/1", tokens="")
    small = {"direct": direct, "public": public, "seen": through, "away": away}
    plans = {name: dataclasses.replace(one, rate=rate) for name, one in small.items()}
    bodies = (("4k", 4096, _RATE_4K), ("1m", 1 << 20, _RATE_1M))
    for name, plan in (("direct", direct), ("seen", through)):
        for size, count, slow in bodies:
            plans[f"{name}-{size}"] = dataclasses.replace(
                plan,
                target=f"/orders/{size}",
                body_bytes=count,
                method="POST",
                rate=slow,
            )
    return plans


def _added(measured: Measured, name: str, floor: str) -> Stage:
    """Return what a gateway adds to each percentile of the direct call."""
    through, direct = measured.stage(name), measured.stage(floor)
    assert through is not None
    assert direct is not None
    if through.missing or direct.missing:
        return refused("added", "us", through.missing or direct.missing)
    # Further out a percentile is a handful of requests, and differences mean nothing.
    values = {k: through.values[k] - direct.values[k] for k in ("p50", "p90", "p99")}
    return Stage(
        "added", "us", values, note="seen less direct, percentile by percentile"
    )


def _plots(measured: Measured, found: dict[str, Rounds]) -> None:
    small = {name: one.points() for name, one in found.items() if "-" not in name}
    measured.charts.append(
        Lines(
            "Latency distribution",
            "share of requests below",
            "microseconds",
            small,
            y_log=True,
            x_nines=True,
        )
    )
    stages = {name: measured.stage(name) for name in ("direct", "public", "seen")}
    if all(stage is not None and not stage.missing for stage in stages.values()):
        cost = {name: s.values["p50"] for name, s in stages.items() if s is not None}
        relay = max(0.0, cost["public"] - cost["direct"])
        checks = max(0.0, cost["seen"] - cost["direct"] - relay)
        parts = [("upstream", cost["direct"]), ("relay", relay), ("checks", checks)]
        rows = {"direct": parts[:1], "public route": parts[:2], "token seen": parts}
        measured.charts.append(Bars("Cost stack of a request (p50)", "us", rows))


async def _foreign(bench: _Bench) -> None:
    """Measure a URL of whatever server."""
    options = bench.options
    url = urlsplit(options.target)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ConfigError(f"--target {options.target!r}: write http://host:port/path")
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError as error:
        raise ConfigError(f"--target: {error}") from error
    tokens = ""
    if options.token_file is not None:
        tokens = str(options.token_file)
        try:
            words = options.token_file.read_text("ascii").split()
        except (OSError, ValueError) as error:
            raise ConfigError(f"--token-file {tokens}: {error}") from error
        if not words:
            raise ConfigError(f"--token-file {tokens}: holds no token")
    plan = dataclasses.replace(
        bench.plan(port, tokens),
        host=url.hostname,
        tls=url.scheme == "https",
        authority=url.netloc.rpartition("@")[2],
        target=(url.path or "/") + (f"?{url.query}" if url.query else ""),
        tag="",  # a foreign server need not send it back
        statuses=list(options.statuses),
    )
    bench.measured.notes.append("Answers are held against their status alone.")
    bench.measured.conditions["target"] = f"{url.scheme}://{plan.authority}{url.path}"
    bench.tell("maximum", 0.1)
    rate = options.rate
    if not rate:
        most = await bench.maximum("maximum", plan)
        rate = max(1.0, most / 2)
    bench.measured.conditions["rate"] = round(rate)
    found = await bench.rounds({"target": dataclasses.replace(plan, rate=rate)}, {})
    bench.measured.stages.append(found["target"].latency("target"))
    _plots(bench.measured, found)
    await bench.sweep("target", plan, 2 * rate)
