"""Steps: tokens are verified on the spot, swapped where they are opaque, or refused.

Owns:      nothing.
Called by: demo.tour.
Source:    PROTOCOLS.md sections 1, 3, 4 and 17; RFC 8725.
"""

import hashlib
import hmac
import time
from typing import Any

import orjson

from fastgate.demo.gateway import WORKERS
from fastgate.demo.scene import FORBIDDEN, OK, REFUSED, Scene, hold
from fastgate.demo.signing import IssuerKeys
from fastgate.demo.visitor import Reply
from fastgate.demo.world import AUDIENCE, ISSUER, REGIONS
from fastgate.domain import base64url

__all__ = ["phantom", "refusals", "traveller"]

_AGAIN = 8


async def traveller(scene: Scene) -> str:
    """A user far from home is served by home, through whatever gateway is near."""
    token = (await scene.sign_in("bob")).access
    overheads = []
    for region in (*REGIONS, *REGIONS):
        reply = await scene.accepted(region, token)
        hold(
            reply.answered_by == "us" and reply.source == "claim",
            f"{region} gateway routed {reply.answered_by} by {reply.source}",
        )
        if region == "eu":
            overheads.append(await scene.overhead_us(region, reply))
    return (
        "bob (home us) at eu, us, ap gateways: 200, routed us by claim,"
        f" overhead {min(overheads) / 1000:.2f} ms"
    )


async def phantom(scene: Scene) -> str:
    """An opaque token is asked about once, then known; the API gets a JWT."""
    opaque = (await scene.sign_in("alice", "phone-app")).access
    wrapped = (await scene.sign_in("bob", "tv-app")).access
    details = []
    for name, token, home in (("opaque", opaque, "eu"), ("wrapped", wrapped, "us")):
        asked = scene.regions.identities[home].asked
        before = asked["introspect"]
        first = await scene.accepted("eu", token)
        questions = asked["introspect"] - before
        hold(questions == 1, f"{name}: {questions} questions for one token")
        hold(first.answered_by == home, f"{name}: routed {first.answered_by}")
        seen = first.json()["authorization"]
        hold(
            seen == {"scheme": "Bearer", "kind": "jwt", "typ": "at+jwt"},
            f"{name}: the API got {seen}",
        )
        again = [await scene.accepted("eu", token) for _ in range(_AGAIN)]
        # Each worker asks at most once for itself.
        questions = asked["introspect"] - before
        hold(questions <= WORKERS, f"{name}: {questions} questions for one token")
        cached_us = min([await scene.overhead_us("eu", reply) for reply in again])
        details.append(
            f"{name}: {home} asked, {first.ms:.0f} ms in all; then cached,"
            f" overhead {cached_us / 1000:.2f} ms"
        )
    return f"{'; '.join(details)}; the API got the JWT"


async def refusals(scene: Scene) -> str:
    """Spoofed headers vanish, foreign regions and hostile tokens are refused."""
    at = "ap"
    token = (await scene.sign_in("chie")).access
    spoofed = await scene.visitor.ask(
        scene.gateway(at) + "/orders/1",
        token=token,
        headers={"X-Fastgate-Subject": "admin", "x-fastgate-region": "eu"},
    )
    _check_identity(spoofed)
    underscore = await scene.visitor.ask(
        scene.gateway(at) + "/orders/1",
        token=token,
        headers={"X_Fastgate_Subject": "admin"},
    )
    hold(underscore.status != OK, "a header name with an underscore got through")
    before = {name: api.requests for name, api in scene.regions.upstreams.items()}
    nowhere = await scene.call(at, _signed(scene.regions.keys, region="mars"))
    if nowhere.status != FORBIDDEN or nowhere.code != "unknown_region":
        scene.unexpected("unknown region", nowhere, FORBIDDEN)
    hostile = _hostile(scene.regions.keys, token)
    for name, forged in hostile.items():
        reply = await scene.call(at, forged)
        if reply.status != REFUSED or "WWW-Authenticate" not in reply.headers:
            scene.unexpected(name, reply, REFUSED)
        hold(reply.code == "invalid_token", f"{name}: tells more than invalid_token")
    after = {name: api.requests for name, api in scene.regions.upstreams.items()}
    hold(before == after, "a refused request reached an API")
    return (
        "spoofed header removed; unknown region 403;"
        f" {len(hostile)} hostile tokens 401; no API was reached"
    )


def _check_identity(reply: Reply) -> None:
    hold(reply.status == OK, f"a spoofed header was answered {reply.status}")
    identity = reply.json()["identity"]
    hold(
        identity.get("subject") == ["chie"] and identity.get("region") == ["ap"],
        f"the API saw {identity}",
    )


def _claims(**override: Any) -> dict[str, Any]:
    now_s = int(time.time())
    return {
        "iss": ISSUER,
        "sub": "chie",
        "aud": AUDIENCE,
        "iat": now_s,
        "exp": now_s + 300,
        "jti": "P$forged",
        "scope": "orders",
        "region": "ap",
        **override,
    }


def _signed(keys: IssuerKeys, **override: Any) -> str:
    return keys.token(_claims(**override), "at+jwt")


def _hostile(keys: IssuerKeys, good: str) -> dict[str, str]:
    """Return tokens that must be refused, by what is wrong with them."""
    head, payload, signature = good.split(".")
    now_s = int(time.time())
    none = _segment({"alg": "none", "typ": "at+jwt"})
    hs256 = _segment({"alg": "HS256", "kid": keys.kid, "typ": "at+jwt"})
    forged = f"{hs256}.{payload}"
    # The old trick: the public key, which everybody has, as the secret.
    mac = hmac.digest(keys.public_pem(), forged.encode(), hashlib.sha256)
    flipped = "B" if signature[0] == "A" else "A"
    stranger = IssuerKeys()  # its key has the name of ours, and is another
    return {
        "alg none": f"{none}.{payload}.",
        "HS256 with the public key": f"{forged}.{base64url.encode(mac)}",
        "changed signature": f"{head}.{payload}.{flipped}{signature[1:]}",
        "changed claims": f"{head}.{_segment(_claims(sub='admin'))}.{signature}",
        "another issuer's key": _signed(stranger),
        "expired": _signed(keys, iat=now_s - 900, exp=now_s - 600),
        "another audience": _signed(keys, aud="somebody-else"),
    }


def _segment(document: dict[str, Any]) -> str:
    return base64url.encode(orjson.dumps(document))
