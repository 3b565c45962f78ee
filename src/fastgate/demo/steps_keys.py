"""Steps: keys change and nobody notices; made-up keys cost the issuer nothing.

Owns:      nothing.
Called by: demo.tour.
Source:    PROTOCOLS.md section 2; THREATS.md T13.
"""

import asyncio
import time

import orjson

from fastgate.demo.load import load
from fastgate.demo.scene import OK, REFUSED, Scene, hold
from fastgate.demo.world import AUDIENCE, ISSUER, REGIONS, USERS
from fastgate.domain import base64url

__all__ = ["key_rotation", "kid_flood"]

_BEFORE, _AFTER = 60, 150
_FLOOD, _FLOOD_CALLERS = 1_000, 16
_GOOD_BESIDE = 50


async def key_rotation(scene: Scene) -> str:
    """The issuer publishes a key, the gateways fetch it, then it signs; under load."""
    regions = scene.regions
    fetched = {name: regions.identities[name].asked["jwks"] for name in REGIONS}
    old = [(await scene.sign_in(user)).access for user in USERS]
    pairs = [(region, token) for region in REGIONS for token in old]
    async with load(scene, pairs) as requests:
        await requests.more(_BEFORE)
        kid = regions.keys.publish()
        await asyncio.gather(*(_refresh(scene, region) for region in REGIONS))
        regions.keys.sign_with(kid)
        new = [(await scene.sign_in(user)).access for user in USERS]
        requests.pairs += [(region, token) for region in REGIONS for token in new]
        await requests.more(_AFTER)
    fetches = [regions.identities[r].asked["jwks"] - fetched[r] for r in REGIONS]
    hold(requests.failed == 0, f"requests failed: {requests.summary}")
    hold(fetches == [1] * len(REGIONS), f"JWKS fetches in {REGIONS}: {fetches}")
    return (
        f"{requests.total} requests, 0 failed; new key {kid};"
        " 1 JWKS fetch per region; old tokens stay good"
    )


async def _refresh(scene: Scene, region: str) -> None:
    """Have a gateway fetch the keys now, as an operator does before a switch."""
    reply = await scene.visitor.ask(
        f"{scene.admin(region)}/v1/jwks/refresh",
        method="POST",
        document={"wait": "local"},
    )
    hold(reply.status == OK, f"{region}: the refresh was answered {reply.status}")


async def kid_flood(scene: Scene) -> str:
    """A thousand tokens with keys nobody has: one fetch, and nobody is slowed down."""
    at = "eu"
    asked = scene.regions.identities[at].asked
    good = (await scene.sign_in("alice")).access
    await scene.accepted(at, good)
    before = asked["jwks"]
    bogus = iter([_bogus(number) for number in range(_FLOOD)])
    refused = [0]

    async def flood() -> None:
        for token in bogus:
            reply = await scene.call(at, token)
            if reply.status != REFUSED:
                scene.unexpected("bogus kid", reply, REFUSED)
            refused[0] += 1

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(_FLOOD_CALLERS):
            group.create_task(flood())
        worst_ms = 0.0
        for _ in range(_GOOD_BESIDE):
            worst_ms = max(worst_ms, (await scene.accepted(at, good)).ms)
    took_s = time.perf_counter() - began
    fetches = asked["jwks"] - before
    # A miss of the last half minute may have taken the one fetch already.
    hold(fetches <= 1, f"{fetches} JWKS fetches")
    return (
        f"{refused[0]} bogus kids at {at} in {took_s:.1f} s: all 401,"
        f" {fetches} JWKS fetch; {_GOOD_BESIDE} good requests beside them 200,"
        f" slowest {worst_ms:.0f} ms"
    )


def _bogus(number: int) -> str:
    now_s = int(time.time())
    header = {"alg": "ES256", "kid": f"made-up-{number}", "typ": "at+jwt"}
    claims = {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "iat": now_s,
        "exp": now_s + 300,
        "jti": f"P$bogus-{number}",
        "scope": "orders",
        "region": "eu",
    }
    parts = [base64url.encode(orjson.dumps(part)) for part in (header, claims)]
    return ".".join([*parts, base64url.encode(bytes(range(1, 65)))])
