"""Propagation: from a revocation at one gateway until another one refuses.

Owns:      the stages `revoke-near`, `-across`, `-urgent` and `-healed`.
Called by: revocation.

Four gateways in three regions, on a mesh of NATS servers, as in `bench window`. The
link between the server of region us and the others has a set latency, which every
revocation from eu crosses once; it is taken off what is measured, so that a figure is
what gateways, servers and that link's own process add to it.
"""

import asyncio
import contextlib
import pathlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from fastgate.demo.bus import find_server
from fastgate.errors import StartError
from fastgate_bench.figures import Stage, absent
from fastgate_bench.histogram import decoded, encoded, statistics
from fastgate_bench.options import Tell
from fastgate_bench.revoker import Link, request_of
from fastgate_bench.window.node import Node
from fastgate_bench.window.rig import Rig

__all__ = ["propagation_stages"]

_NAMES: Final = ("revoke-near", "revoke-across", "revoke-urgent", "revoke-healed")
_MAX_STALENESS: Final = "10s"
# Reason: one way across a continent; far more than what is measured, and far less than
# what would make a view old.
_LINK_S: Final = 0.020
_CUT_S: Final = 12.0
_CUTS: Final = 3
_WARM: Final = 3
_DEADLINE_S: Final = 10.0
_HEAL_S: Final = 60.0
_LOOK_S: Final = 0.0005
_US_PER_MS: Final = 1000
_OK, _CREATED, _REFUSED, _STALE = 200, 201, 401, 503


@dataclass(frozen=True, slots=True)
class _Way:
    """From where to where, and how.

    link_s: Latency between the two, which is taken off.
    """

    name: str
    to: tuple[str, ...]
    urgent: bool
    link_s: float
    note: str


_LINK: Final = f"less the {_LINK_S * 1000:g} ms of the link between them"
_WAYS: Final = (
    _Way("revoke-near", ("eu-1", "eu-2"), False, 0.0, "both gateways of one region"),
    _Way("revoke-across", ("us-1",), False, _LINK_S, f"eu to us, {_LINK}"),
    _Way("revoke-urgent", ("us-1",), True, _LINK_S, f"the same, urgent, {_LINK}"),
)


async def propagation_stages(count: int, *, quick: bool, tell: Tell) -> list[Stage]:
    """Return the time until another gateway refuses, within a region and across.

    count: Revocations of each kind. Raises StartError where a gateway does not start,
    or answers what it must not.
    """
    if find_server() is None:
        why = 'nats-server is absent: pip install "fastgate[demo]"'
        return [absent(name, "ms", why) for name in _NAMES]
    stages = []
    with tempfile.TemporaryDirectory(prefix="fastgate-bench-") as name:
        async with _running(pathlib.Path(name)) as rig:
            rig.links["us"].slow(_LINK_S)
            for at, way in enumerate(_WAYS):
                tell(f"{way.name}: {count} revocations", at / (len(_WAYS) + 1))
                stages.append(await _stage(rig, way, count))
            cuts = 1 if quick else _CUTS
            times = []
            for number in range(cuts):
                share = (len(_WAYS) + number / cuts) / (len(_WAYS) + 1)
                tell(f"revoke-healed: cut {number + 1} of {cuts}", share)
                times.append(await _healed(rig))
            values = {"max": max(times)}
            note = f"{cuts} cuts of {_CUT_S:g} s; revoked meanwhile, and a good token"
            stages.append(Stage("revoke-healed", "s", values, "max", note=note))
    return stages


@contextlib.asynccontextmanager
async def _running(folder: pathlib.Path) -> AsyncIterator[Rig]:
    rig = Rig(folder, _MAX_STALENESS)
    try:
        await rig.start()
        # Past the links that faults need: each would add what no gateway has.
        for node in rig.nodes.values():
            bus = rig.buses[node.region]
            node.configure(bus=f"nats://{bus.host}:{bus.port}")
            await node.stop()
            await node.start()
        if await rig.until_healed(_HEAL_S) is None:
            raise StartError(f"not complete: {await rig.explain()}")
        yield rig
    finally:
        await rig.stop()


async def _stage(rig: Rig, way: _Way, count: int) -> Stage:
    async with _links([rig.nodes[name] for name in way.to]) as links:
        for _ in range(_WARM):
            await _refused_us(rig, links, urgent=way.urgent)
        link_us = round(way.link_s * 1e6)
        times = [
            max(1, await _refused_us(rig, links, urgent=way.urgent) - link_us)
            for _ in range(count)
        ]
    values = statistics(decoded(encoded(times)), 1 / _US_PER_MS)
    return Stage(way.name, "ms", values, note=way.note)


@contextlib.asynccontextmanager
async def _links(nodes: Sequence[Node]) -> AsyncIterator[list[Link]]:
    links = await asyncio.gather(*(Link.to(node.port) for node in nodes))
    try:
        yield links
    finally:
        for link in links:
            link.close()


async def _refused_us(rig: Rig, links: Sequence[Link], *, urgent: bool) -> int:
    """Revoke a new token at eu-1; returns when the last link was refused."""
    jti = f"propagated-{time.monotonic_ns()}"
    request = request_of(rig.issuer.token(jti=jti))
    for link in links:
        if (status := await link.ask(request)) != _OK:
            raise StartError(f"a good token was answered {status}")
    began = time.perf_counter_ns()
    try:
        async with asyncio.timeout(_DEADLINE_S):
            _, *refused = await asyncio.gather(
                _enter(rig.nodes["eu-1"], jti, urgent=urgent),
                *(_until(link, request, _REFUSED, (_OK,)) for link in links),
            )
    except TimeoutError:
        raise StartError(f"not refused within {_DEADLINE_S:g} s") from None
    return (max(refused) - began) // 1000


async def _healed(rig: Rig) -> float:
    """Cut region us off, revoke in eu, heal; returns seconds until us is right again.

    Right is to refuse the token that was revoked meanwhile, and to take a good one.
    """
    cut, node = rig.links["us"], rig.nodes["us-1"]
    jti = f"propagated-{time.monotonic_ns()}"
    bad, good = (request_of(rig.issuer.token(**c)) for c in ({"jti": jti}, {}))
    cut.hold()
    try:
        await asyncio.sleep(_CUT_S / 2)
        await _enter(rig.nodes["eu-1"], jti, urgent=False)
        await asyncio.sleep(_CUT_S / 2)
    finally:
        cut.heal()
        cut.slow(_LINK_S)
    began = time.perf_counter_ns()
    # An old view is answered 503 for both of them.
    async with _links((node, node)) as (one, two):
        try:
            async with asyncio.timeout(_HEAL_S):
                ends = await asyncio.gather(
                    _until(one, bad, _REFUSED, (_STALE, _OK)),
                    _until(two, good, _OK, (_STALE,)),
                )
        except TimeoutError:
            raise StartError(f"not healed within {_HEAL_S:g} s") from None
    if await rig.until_healed(_HEAL_S) is None:
        raise StartError(f"not healed: {await rig.explain()}")
    return (max(ends) - began) / 1e9


async def _enter(node: Node, jti: str, *, urgent: bool) -> int:
    """Enter a revocation; returns when it was published (perf_counter_ns)."""
    body = orjson.dumps(
        {
            "kind": "jti",
            "issuer": "login",
            "value": jti,
            "home": "eu",
            "urgent": urgent,
        }
    )
    head = (
        "POST /v1/revocations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    link = await Link.to(node.admin)
    try:
        status = await link.ask(head.encode() + body)
    finally:
        link.close()
    if status != _CREATED:
        raise StartError(f"the admin API answered {status}")
    return time.perf_counter_ns()


async def _until(
    link: Link, request: bytes, wanted: int, meanwhile: tuple[int, ...]
) -> int:
    """Ask until the answer is `wanted`; returns when that was (perf_counter_ns)."""
    while (status := await link.ask(request)) != wanted:
        if status not in meanwhile:
            raise StartError(f"a token was answered {status}, not {wanted}")
        await asyncio.sleep(_LOOK_S)
    return time.perf_counter_ns()
