"""Steps: sign-in and OAuth messages find the user's home from anywhere.

Owns:      nothing.
Called by: demo.tour.
Source:    PROTOCOLS.md sections 15 and 16.
"""

import base64
import secrets

from fastgate.demo.scene import OK, Scene, hold
from fastgate.demo.visitor import Reply, Tokens, authorize_path
from fastgate.demo.world import DEFAULT_REGION, OAUTH

__all__ = ["first_visit", "front_channel", "oauth_messages"]

_SEE_OTHER = 303


async def first_visit(scene: Scene) -> str:
    """Nobody knows the user: the default region asks, then sets the cookie."""
    at, client = "ap", "web-app"
    path = authorize_path(client, secrets.token_urlsafe(32))
    page = await scene.visitor.ask(scene.gateway(at) + path)
    _routed(page, DEFAULT_REGION, "default", "login page")
    named = await scene.visitor.ask(
        scene.gateway(at) + path, method="POST", form={"username": "bob"}
    )
    hold(named.status == _SEE_OTHER, f"the login form was answered {named.status}")
    region = named.cookies.get("region")
    hold(region == "us", f"the cookie says {region}, bob's home is us")
    return f"{at} gateway, nobody known: routed {DEFAULT_REGION}; then cookie region=us"


async def front_channel(scene: Scene) -> str:
    """A browser with the cookie is sent home by it; the code comes back from there."""
    at, client, verifier = "eu", "web-app", secrets.token_urlsafe(32)
    path = authorize_path(client, verifier, login_hint="bob")
    url = scene.gateway(at)
    reply = await scene.visitor.ask(url + path, cookie="theme=dark; region=us")
    _routed(reply, "us", "cookie", "authorization request")
    # The code itself names the region, so no cookie is needed for it.
    tokens = await scene.visitor.redeem(url, reply, client, verifier)
    answer = await scene.accepted(at, tokens.access)
    hold(answer.home == "us", f"bob's token was routed {answer.home}")
    return f"GET at {at} routed us by cookie; the code routed us by form field"


async def oauth_messages(scene: Scene) -> str:
    """Refresh, introspection, revocation and userinfo go home, wherever they arrive."""
    tokens = await scene.sign_in("bob", at="eu")
    refreshed = await _post(
        scene,
        "eu",
        "token",
        grant_type="refresh_token",
        client_id="web-app",
        refresh_token=tokens.refresh,
    )
    _routed(refreshed, "us", "field", "refresh")
    newer = Tokens.of(refreshed.json())
    introspected = await _introspect(scene, "ap", newer.access)
    _routed(introspected, "us", "field", "introspection")
    active = introspected.json().get("active")
    hold(active is True, f"introspection says active: {active}")
    who = await scene.visitor.ask(
        f"{scene.gateway('ap')}{OAUTH}oauth-userinfo", token=newer.access
    )
    _routed(who, "us", "field", "userinfo")
    revoked = await _post(
        scene, "eu", "revoke", client_id="web-app", token=newer.refresh
    )
    _routed(revoked, "us", "field", "revocation")
    after = (await _introspect(scene, "ap", newer.access)).json().get("active")
    hold(after is False, f"after revocation introspection says active: {after}")
    return (
        f"refresh at eu routed us by form field, {refreshed.ms:.0f} ms;"
        " introspection, userinfo, revocation too"
    )


async def _introspect(scene: Scene, region: str, token: str) -> Reply:
    basic = base64.b64encode(f"gateway:{scene.regions.secret}".encode()).decode()
    return await scene.visitor.ask(
        f"{scene.gateway(region)}{OAUTH}oauth-introspect",
        method="POST",
        form={"token": token},
        headers={"Authorization": f"Basic {basic}", "Accept": "application/json"},
    )


async def _post(scene: Scene, region: str, name: str, **form: str) -> Reply:
    url = f"{scene.gateway(region)}{OAUTH}oauth-{name}"
    return await scene.visitor.ask(url, method="POST", form=form)


def _routed(reply: Reply, region: str, source: str, what: str) -> None:
    hold(
        reply.status in {OK, _SEE_OTHER} and reply.answered_by == region,
        f"{what}: {reply.status} from {reply.answered_by or 'the gateway'}"
        f" ({reply.code}), expected {region}",
    )
    hold(
        reply.source == source,
        f"{what}: routed by {reply.source}, expected {source}",
    )
