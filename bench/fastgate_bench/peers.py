"""Peers: CPU per request of fastgate and of other gateways, measured side by side.

Owns:      the bench `peers`.
Called by: suite.

One core is the gateway's, another is load's and the upstream's. All gateways run all
the time, and are asked in turn, round by round, so that what else the machine does
meets all of them. CPU is what the system accounts to all processes of a gateway, user
and system, divided by the answers; it holds however busy the load core is.
"""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fastgate_bench.charts import Bars, Lines
from fastgate_bench.figures import Measured, Stage, absent
from fastgate_bench.gateways import (
    FASTGATE,
    Place,
    Running,
    Subject,
    prove,
    running,
    version_of,
)
from fastgate_bench.generator import generate
from fastgate_bench.machine import Pins, choose_pins
from fastgate_bench.options import Options, Tell
from fastgate_bench.plan import Plan
from fastgate_bench.runs import Rounds, in_turn
from fastgate_bench.stand_ins import TAG, Upstream, free_ports, upstream
from fastgate_bench.subjects import (
    ENVOY_CACHE,
    ENVOY_JWT,
    ENVOY_PLAIN,
    HAPROXY_JWT,
    HAPROXY_PLAIN,
    NGINX_JWT,
    NGINX_PLAIN,
)
from fastgate_bench.timing import Call, Timed, measure
from fastgate_bench.tokens import Issuer

__all__ = ["MEASUREMENTS", "run"]

_SEEN_TOKENS: Final = 64
# Reason: no gateway can verify more on its one core than the bare call does, so that
# none is sent a token twice; a fifth more, since cores are not equally fast.
_FRESH_SHARE: Final = 1.2
_US_PER_S: Final = 1e6
_REVOKED: Final = 100_000
_QUICK_REVOKED: Final = 1_000
_BIG_CONNECTIONS: Final = 8
_MIB: Final = 1 << 20
_ECDSA: Final = ec.ECDSA(hashes.SHA256())

_TWO: Final = dataclasses.replace(FASTGATE, name="fastgate-2-workers", workers=2)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the comparison.

    name: Of its stage. tokens: `seen` (all of them verified before), `fresh` (each
        once), `none`.
    """

    name: str
    subject: Subject
    tokens: str = "seen"
    target: str = "/orders/1"
    body_bytes: int = 0

    def note(self) -> str:
        """Return what a reader must know."""
        words = [self.subject.lacks or "every check"]
        if self.tokens == "none":
            words = ["open route: no check"]
        return "; ".join(words)


MEASUREMENTS: Final = (
    Measurement("fastgate-public", FASTGATE, "none", "/public/1"),
    Measurement("fastgate-seen", FASTGATE),
    Measurement("fastgate-fresh", FASTGATE, "fresh"),
    Measurement("fastgate-2-workers", _TWO),
    Measurement("haproxy-plain", HAPROXY_PLAIN),
    Measurement("haproxy-jwt", HAPROXY_JWT),
    Measurement("haproxy-jwt-fresh", HAPROXY_JWT, "fresh"),
    Measurement("nginx-plain", NGINX_PLAIN),
    Measurement("nginx-jwt", NGINX_JWT),
    Measurement("envoy-plain", ENVOY_PLAIN),
    Measurement("envoy-jwt", ENVOY_JWT),
    Measurement("envoy-jwt-cache", ENVOY_CACHE),
    Measurement("envoy-jwt-cache-fresh", ENVOY_CACHE, "fresh"),
    Measurement("fastgate-4k", FASTGATE, "seen", "/orders/4k", 4096),
    Measurement("haproxy-plain-4k", HAPROXY_PLAIN, "seen", "/orders/4k", 4096),
    Measurement("fastgate-1m", FASTGATE, "seen", "/orders/1m", _MIB),
    Measurement("haproxy-plain-1m", HAPROXY_PLAIN, "seen", "/orders/1m", _MIB),
)


async def run(options: Options, tell: Tell) -> Measured:
    """Measure whoever is installed. Raises StartError where one does not start."""
    pins, issuer = choose_pins(), Issuer()
    measured = Measured(conditions=_conditions(options, pins))
    tell("bare verify", 0.0)
    verify = _Verify(options)
    most = _FRESH_SHARE * _US_PER_S / verify.again().values["p50"]
    fresh_count = int((options.rate or most) * options.length_s) + 1
    with tempfile.TemporaryDirectory(prefix="fastgate-bench-") as name:
        folder = pathlib.Path(name)
        async with contextlib.AsyncExitStack() as stack:
            tell("starting upstream", 0.0)
            api = await stack.enter_async_context(upstream(folder, issuer, pins))
            measured.conditions["upstream"] = api.kind
            revoked = _write_revoked(folder, options)
            gateways: dict[str, Running] = {}
            for subject in {
                one.subject.name: one.subject for one in MEASUREMENTS
            }.values():
                if subject.absence():
                    continue
                tell(f"starting {subject.name}", 0.05)
                place = _place(folder, subject, api, issuer, revoked, options)
                if version := version_of(subject):
                    measured.conditions[subject.program] = version
                gateway = await stack.enter_async_context(running(subject, place, pins))
                await prove(gateway)
                gateways[subject.name] = gateway
            found = await _rounds(
                options, tell, pins, folder, gateways, fresh_count, verify
            )
    measured.stages.append(verify.again())
    for one in MEASUREMENTS:
        why = one.subject.absence()
        if why:
            measured.stages.append(absent(one.name, "us", why))
        else:
            measured.stages.append(found[one.name].cpu(one.name, one.note()))
    _describe(measured, found, options)
    return measured


def _conditions(options: Options, pins: Pins) -> dict[str, Any]:
    load = "as fast as it is answered"
    return {
        "gateway_core": pins.gateway,
        "load_and_upstream_core": pins.load,
        "connections": options.connections,
        "rate": options.rate or load,
        "access_log": "on, in every gateway"
        if options.access_log
        else "off, everywhere",
        "workers": "1 (fastgate-2-workers: 2, on any core)",
        "revoked_ids_for_haproxy": _QUICK_REVOKED if options.quick else _REVOKED,
        "rounds": options.round_count,
        "seconds": options.length_s,
    }


def _write_revoked(folder: pathlib.Path, options: Options) -> pathlib.Path:
    """Write token ids that no token of the run has."""
    path = folder / "revoked"
    count = _QUICK_REVOKED if options.quick else _REVOKED
    ids = (f"00000000-4aaf-4ab9-b633-{number:012}\n" for number in range(count))
    path.write_text("".join(ids), "ascii")
    return path


def _place(
    folder: pathlib.Path,
    subject: Subject,
    api: Upstream,
    issuer: Issuer,
    revoked: pathlib.Path,
    options: Options,
) -> Place:
    port, admin, status = free_ports(3)
    return Place(
        folder=folder / subject.name,
        port=port,
        upstream_port=api.port,
        admin_port=admin,
        status_port=status,
        issuer=issuer,
        revoked=revoked,
        workers=subject.workers,
        access_log=options.access_log,
    )


def _plan(
    one: Measurement, gateway: Running, tokens: str, options: Options, pins: Pins
) -> Plan:
    """Return one round of one line."""
    connections = options.connections
    if one.body_bytes >= _MIB:
        connections = min(connections, _BIG_CONNECTIONS)
    return Plan(
        host="127.0.0.1",
        port=gateway.place.port,
        rate=options.rate,
        seconds=options.length_s,
        connections=connections,
        method="POST" if one.body_bytes else "GET",
        target=one.target,
        body_bytes=one.body_bytes,
        tokens="" if one.tokens == "none" else tokens,
        tag=TAG,
        churn=options.churn,
        cpu=pins.load,
    )


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


async def _rounds(
    options: Options,
    tell: Tell,
    pins: Pins,
    folder: pathlib.Path,
    gateways: Mapping[str, Running],
    fresh_count: int,
    verify: _Verify,
) -> dict[str, Rounds]:
    """Measure every present gateway, and the floor, round by round."""
    present = [one for one in MEASUREMENTS if one.subject.name in gateways]
    issuer = next(iter(gateways.values())).place.issuer
    seen = issuer.tokens(_SEEN_TOKENS, folder / "seen")
    count = options.round_count
    found = {one.name: Rounds() for one in present}
    pids = {one.name: gateways[one.subject.name].pid for one in present}

    def plan(one: Measurement, tokens: str) -> Plan:
        return _plan(one, gateways[one.subject.name], tokens, options, pins)

    for number, one in enumerate(present):
        tell(f"warming {one.name}", 0.1 + 0.1 * number / len(present))
        await generate(dataclasses.replace(plan(one, seen), rate=200.0, seconds=1.0))
    for turn in range(count):
        # Written anew each round; no gateway is sent one of them twice.
        fresh = issuer.tokens(fresh_count, folder / "fresh")
        verify.again()
        plans = {
            one.name: [plan(one, fresh if one.tokens == "fresh" else seen)]
            for one in present
        }
        done = 0
        async for name, load, cpu_us in in_turn(plans, pids):
            done += 1
            share = (turn + done / len(present)) / count
            tell(f"round {turn + 1} of {count}: {name}", 0.2 + 0.75 * share)
            found[name].loads.append(load)
            found[name].cpu_us.append(cpu_us)
    return found


def _describe(
    measured: Measured, found: Mapping[str, Rounds], options: Options
) -> None:
    small = [one for one in MEASUREMENTS if not one.body_bytes]
    cpu = {
        one.name: [("CPU per request", stage.values["cpu"])]
        for one in small
        if (stage := measured.stage(one.name)) is not None and not stage.missing
    }
    measured.charts.append(Bars("CPU per request against peers", "us", cpu))
    rates: dict[str, Sequence[tuple[float, float]]] = {}
    if options.rate:
        rates = {
            one.name: found[one.name].points() for one in small if one.name in found
        }
        measured.charts.append(
            Lines(
                f"Latency at {options.rate:.0f} requests a second",
                "share of requests below (nines: 1 = 90 %, 2 = 99 %)",
                "microseconds",
                {name: points for name, points in rates.items() if points},
                y_log=True,
            )
        )
    for subject in {one.subject.name: one.subject for one in MEASUREMENTS}.values():
        if subject.absence():
            measured.notes.append(f"{subject.name}: {subject.absence()}")
        elif subject.lacks:
            measured.notes.append(f"{subject.name} cannot do all: {subject.lacks}.")
    measured.notes.append(
        "fastgate's index holds no entries here; what a look-up costs against entries "
        "is in `bench revocation`."
    )
