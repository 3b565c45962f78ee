"""The tap over a real gateway: what the issuer ends in passing ends here."""

import contextlib
import json
import signal
import time
from urllib.parse import urlencode

import pytest
from tests import tokens
from tests.recorder import answer
from tests.system.gateway import HOST, Gateway, running, until, world

FORM = "application/x-www-form-urlencoded"
ISSUER_HOST = b"https://login.example.com"


async def identity(request, talk):
    """Answer as an authorization server does: 200 for every revocation."""
    path, _, query = request.target.partition(b"?")
    if path == b"/oauth/logout":
        where = b"https://app.example.com/bye"
        if b"confirm" in query:
            where = ISSUER_HOST + b"/confirm"
        await talk.send(
            answer(b"", status=b"302 Found", headers=b"Location: %b\r\n" % where)
        )
    elif path == b"/oauth/broken":
        await talk.send(answer(b"", status=b"503 Service Unavailable"))
    else:
        await talk.send(answer(b"{}"))
    return True


@contextlib.asynccontextmanager
async def tapped(folder, *, opaque=None, **tap):
    scripts = {"eu": identity, "us": identity}
    async with world(scripts=scripts) as around:
        made = around.document(folder)
        if opaque is not None:
            # One worker: an opaque token is known to the one that asked about it.
            made["workers"] = 1
            around.issuer.opaque = opaque
            login = made["issuers"]["login"]
            login["introspection"] = around.issuer.introspection()
            made["routes"][0]["token"]["accept"] = ["jwt", "opaque"]
        rules = {
            "issuer": "login",
            "revocation": "/oauth/revoke",
            "end_session": "/oauth/logout",
        }
        made["routes"].append(
            {"path": "/oauth/", "service": "orders", "oauth": True, "tap": rules | tap}
        )
        async with running(Gateway(folder, made)) as gateway:
            yield gateway


async def post(gateway, path, **fields):
    body = urlencode(fields).encode()
    head = b"POST %b HTTP/1.1\r\n%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (
        path.encode(),
        HOST,
        FORM.encode(),
        len(body),
    )
    return await gateway.ask(head + body)


async def status_of(gateway, token):
    return (await gateway.get("/orders/1", token)).status


async def heard(gateway, result, count=1):
    """Wait until the agent has judged what the tap told it."""

    async def judged():
        ways = (await gateway.status())["intake"]["ways"]
        return ways.get("tap", {}).get(result, 0) >= count

    await until(judged, f"{count} {result}", every_s=0.02)


async def test_revoked_token_is_refused_once_its_revocation_is_answered_b8(tmp_path):
    """And another token of the same session is not: never wider than the token."""
    ended, other = tokens.token(jti="t-1"), tokens.token(jti="t-2")
    async with tapped(tmp_path) as gateway:
        assert await status_of(gateway, ended) == 200
        reply = await post(gateway, "/oauth/revoke", token=ended.decode())
        assert reply.status == 200
        for _ in range(6):
            assert await status_of(gateway, ended) == 401
        assert await status_of(gateway, other) == 200
        await post(gateway, "/oauth/revoke", token=ended.decode())
        await heard(gateway, "repeated")


@pytest.mark.parametrize("form", ["phantom", "members"])
async def test_opaque_token_is_refused_though_its_issuer_calls_it_active_b8(
    tmp_path, form
):
    """By its `jti`, so in every region; the issuer's own word comes late at times."""
    now = int(time.time())
    members = tokens.claims(jti="t-1", now=now) | {"active": True}
    said = {
        "phantom": tokens.token(jti="t-1"),
        "members": json.dumps(members).encode(),
    }[form]
    other = tokens.token(jti="t-2")
    known = {"_opaque-1_": said, "_opaque-2_": other}
    async with tapped(tmp_path, opaque=known) as gateway:
        for token in known:
            assert await status_of(gateway, token.encode()) == 200
        assert (await post(gateway, "/oauth/revoke", token="_opaque-1_")).status == 200
        await heard(gateway, "revoked")
        assert await status_of(gateway, b"_opaque-1_") == 401
        assert await status_of(gateway, b"_opaque-2_") == 200


async def test_long_token_is_refused_once_its_revocation_is_answered(tmp_path):
    """Nearly the 8 KiB that a token may have by default."""
    ended = tokens.token(jti="t-1", filler="x" * 5_700)
    assert 8_000 < len(ended) <= 8_192
    async with tapped(tmp_path) as gateway:
        assert await status_of(gateway, ended) == 200
        await post(gateway, "/oauth/revoke", token=ended.decode())
        assert await status_of(gateway, ended) == 401


async def test_forged_token_ends_nobody_though_the_issuer_says_200_b10(tmp_path):
    """RFC 7009 section 2.2: 200 is also the answer for an unknown token."""
    victim = tokens.token(jti="t-1")
    forger = tokens.SigningKey("ES256", tokens.signing_key().kid)
    forged = tokens.token(forger, jti="t-1")
    async with tapped(tmp_path) as gateway:
        for token in (forged, tokens.token(iss="https://evil", jti="t-1")):
            reply = await post(gateway, "/oauth/revoke", token=token.decode())
            assert reply.status == 200
        await heard(gateway, "refused", 2)
        assert await status_of(gateway, victim) == 200


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/oauth/introspect", {}),
        ("/oauth/token", {"grant_type": "refresh_token"}),
        ("/oauth/broken", {}),
        ("/oauth/revoke", {"state": "x"}),
    ],
    ids=["introspection", "rotation", "failed", "with-state"],
)
async def test_what_is_no_revocation_ends_nothing_b8(tmp_path, path, fields):
    """A rotated refresh token least of all; only the endpoint's own 200 counts."""
    token = tokens.token(jti="t-1", region="eu")
    marker = tokens.token(jti="t-2")
    revocation = "/oauth/broken" if path == "/oauth/broken" else "/oauth/revoke"
    async with tapped(tmp_path, revocation=revocation) as gateway:
        sent = {"token": token.decode(), "refresh_token": token.decode()} | fields
        if path == "/oauth/revoke":
            del sent["token"]
        await post(gateway, path, **sent)
        # Whatever was told by then has been judged before this one.
        await post(
            gateway,
            "/oauth/logout",
            id_token_hint=tokens.token(sid="s-9", sub="x").decode(),
        )
        await heard(gateway, "revoked")
        assert await status_of(gateway, token) == 200
        assert await status_of(gateway, marker) == 200


async def test_refresh_token_ends_its_grant_and_if_asked_its_session(tmp_path):
    refresh = tokens.token(jti="r-1", grant_id="g-1", sid="s-1")
    granted = tokens.token(jti="t-1", grant_id="g-1", sid="s-2")
    session = tokens.token(jti="t-2", grant_id="g-2", sid="s-1")
    fields = {"token": refresh.decode(), "token_type_hint": "refresh_token"}
    async with tapped(tmp_path / "a") as gateway:
        await post(gateway, "/oauth/revoke", **fields)
        await heard(gateway, "revoked")
        assert await status_of(gateway, granted) == 401
        assert await status_of(gateway, session) == 200
    async with tapped(tmp_path / "b", refresh_ends_session=True) as gateway:
        await post(gateway, "/oauth/revoke", **fields)
        await heard(gateway, "revoked")
        assert await status_of(gateway, session) == 401


async def test_logout_ends_the_session_once_the_browser_is_sent_away(tmp_path):
    """By GET too, which the compiled lane leaves alone; a page that asks is none."""
    now = int(time.time())
    token = tokens.token(sid="s-1")
    hint = tokens.token(
        header={"typ": "JWT"}, sid="s-1", aud="web", iat=now - 9000, exp=now - 60
    ).decode()
    async with tapped(tmp_path) as gateway:
        asks = f"/oauth/logout?confirm=1&id_token_hint={hint}"
        assert (await gateway.get(asks)).status == 302
        assert await status_of(gateway, token) == 200
        done = f"/oauth/logout?id_token_hint={hint}"
        assert (await gateway.get(done)).status == 302
        assert await status_of(gateway, token) == 401


async def test_answer_is_held_for_a_quarter_second_at_most(tmp_path):
    """An agent that is away costs the client that much and no more."""
    token = tokens.token(jti="t-1").decode()
    async with tapped(tmp_path) as gateway:
        await post(gateway, "/oauth/revoke", token=tokens.token(jti="t-0").decode())
        [agent] = gateway.pids("agent")[-1:]
        gateway.send(signal.SIGSTOP, agent)
        began = time.monotonic()
        reply = await post(gateway, "/oauth/revoke", token=token)
        took_s = time.monotonic() - began
        gateway.send(signal.SIGCONT, agent)
        assert reply.status == 200
        assert 0.2 < took_s < 1.5
        await heard(gateway, "revoked", 2)
