"""Logouts and security events over a real gateway: accepted tokens stop at once."""

import json
import time
from urllib.parse import urlencode

from tests import tokens
from tests.intake_kit import CAEP, signed
from tests.system.gateway import Gateway, free_ports, running, until, world

from fastgate.control.intake import Result

CLIENT = "web-app"
RECEIVER = "https://gateway.example.com"
EVENT = "http://schemas.openid.net/event/backchannel-logout"


def document(around, folder, **changes):
    """Return a configuration with every way in."""
    login = around.issuer.document(
        logout={"clients": [CLIENT]},
        ssf={"audience": [RECEIVER], "authorization": "Bearer of-the-stream"},
        global_revocation={"token": "a-token-of-the-issuer"},
    )
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    return around.document(
        folder, issuers={"login": login}, intake={"listen": listen}, **changes
    )


async def post(gateway, path, kind, body, *lines):
    """Send a POST to the intake listener."""
    port = int(gateway.document["intake"]["listen"].rpartition(":")[2])
    gateway.document["intake_port"] = f"127.0.0.1:{port}"
    head = [f"POST {path} HTTP/1.1", "Host: gw", "Connection: close", *lines]
    head += [f"Content-Type: {kind}", f"Content-Length: {len(body)}", "", ""]
    return await gateway.ask("\r\n".join(head).encode() + body, listener="intake_port")


async def logout(gateway, **claims):
    """Send a logout token of the issuer."""
    now = int(time.time())
    content = {
        "iss": tokens.ISSUER,
        "aud": CLIENT,
        "iat": now,
        "exp": now + 120,
        "jti": "logout-1",
        "events": {EVENT: {}},
    }
    token = signed(content | claims, "logout+jwt")
    body = urlencode({"logout_token": token}).encode()
    return await post(
        gateway, "/backchannel-logout", "application/x-www-form-urlencoded", body
    )


async def status_of(gateway, token):
    """Return what a request with this token is answered."""
    return (await gateway.get("/orders/1", token)).status


async def test_session_that_was_logged_out_is_refused_on_every_worker_b9(tmp_path):
    """And another session of the same user goes on."""
    ended, other = tokens.token(sid="s-1"), tokens.token(sid="s-2", jti="t-2")
    async with world() as around:
        gateway = Gateway(tmp_path, document(around, tmp_path))
        async with running(gateway):
            assert await status_of(gateway, ended) == 200
            answer = await logout(gateway, sid="s-1")
            assert answer.status == 200, answer.raw
            for _ in range(8):
                assert await status_of(gateway, ended) == 401
            assert await status_of(gateway, other) == 200
            assert (await logout(gateway, sid="s-1")).status == 400
            # Slowly: scrapes are limited.
            counts = await until(
                lambda: _counted(gateway, "logout"), "counted", every_s=0.25
            )
            assert counts == {"revoked": 1, "repeated": 1}
            shown = (await gateway.status())["intake"]["ways"]
            assert shown == {"logout": {"revoked": 1, "repeated": 1}}


async def _counted(gateway, way):
    """Return what came of the notices of a way, once two are counted."""
    series = {
        result: f'fastgate_intake_total{{result="{result}",way="{way}"}}'
        for result in Result
    }
    counts = await gateway.counts()
    found = {
        result.value: int(counts[name])
        for result, name in series.items()
        if counts[name]
    }
    return found if sum(found.values()) >= 2 else {}


async def test_replay_is_refused_by_the_next_agent_b10(tmp_path):
    """What was kept outlives the process that kept it."""
    async with world() as around:
        gateway = Gateway(tmp_path, document(around, tmp_path))
        async with running(gateway):
            assert (await logout(gateway, sid="s-1")).status == 200
            await gateway.stop()
            await gateway.start()
            assert (await logout(gateway, sid="s-1")).status == 400
            assert await status_of(gateway, tokens.token(sid="s-1")) == 401


async def test_pushed_event_and_request_end_the_users_tokens(tmp_path):
    """Each ends what was issued before, and no more."""
    now = int(time.time())
    before, bob = tokens.token(now=now - 30), tokens.token()
    alice = tokens.token(sub="alice", jti="t-3")
    user = {"format": "iss_sub", "iss": tokens.ISSUER, "sub": "user-bob-0001"}
    event = signed(
        {
            "iss": tokens.ISSUER,
            "aud": [RECEIVER],
            "iat": now,
            "jti": "set-1",
            "sub_id": user,
            "events": {f"{CAEP}session-revoked": {"event_timestamp": now - 10}},
        },
        "secevent+jwt",
    ).encode()
    async with world() as around:
        gateway = Gateway(tmp_path, document(around, tmp_path))
        async with running(gateway):
            kind = "application/secevent+jwt"
            answer = await post(gateway, "/sets", kind, event)
            assert json.loads(answer.body)["err"] == "authentication_failed"
            header = "Authorization: Bearer of-the-stream"
            answer = await post(gateway, "/sets", kind, event, header)
            assert (answer.status, answer.body) == (202, b"")
            assert await status_of(gateway, before) == 401
            assert await status_of(gateway, bob) == 200
            body = json.dumps({"sub_id": user}).encode()
            header = "Authorization: Bearer a-token-of-the-issuer"
            path = "/global-token-revocation"
            answer = await post(gateway, path, "application/json", body, header)
            assert answer.status == 204
            assert await status_of(gateway, bob) == 401
            assert await status_of(gateway, alice) == 200


async def test_intake_may_be_published_through_a_route(tmp_path):
    """It is an upstream like any other then."""
    async with world() as around:
        made = document(around, tmp_path)
        made["services"]["intake"] = {"eu": [f"http://{made['intake']['listen']}"]}
        path = "/backchannel-logout"
        made["routes"].append({"path": path, "service": "intake", "token": "none"})
        gateway = Gateway(tmp_path, made)
        async with running(gateway):
            body = b"logout_token=nonsense"
            head = (
                f"POST {path} HTTP/1.1\r\nHost: gateway.test\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            answer = await gateway.ask(head.encode() + body)
            assert answer.status == 400
            assert json.loads(answer.body)["error"] == "invalid_request"
            assert answer.one("cache-control") == "no-store"


async def test_claims_that_changed_are_asked_for_again_by_every_worker(tmp_path):
    """An opaque token whose answer is kept for a minute, and news about its user."""
    async with world() as around:
        made = document(around, tmp_path)
        login = made["issuers"]["login"]
        login["introspection"] = around.issuer.introspection()
        made["routes"][0]["token"]["accept"] = ["jwt", "opaque"]
        around.issuer.opaque = {"_opaque_": tokens.token(sub="bob")}
        async with running(Gateway(tmp_path, made)) as gateway:

            async def asked_by_all():
                await status_of(gateway, b"_opaque_")
                return around.issuer.questions == made["workers"] == 2

            await until(asked_by_all, "every worker has asked")
            subject = {"format": "iss_sub", "iss": tokens.ISSUER, "sub": "bob"}
            claims = {
                "iss": tokens.ISSUER,
                "aud": RECEIVER,
                "iat": int(time.time()),
                "jti": "set-1",
                "sub_id": subject,
                "events": {f"{CAEP}token-claims-change": {"claims": {"role": "x"}}},
            }
            body = signed(claims, "secevent+jwt").encode()
            line = "Authorization: Bearer of-the-stream"
            kind = "application/secevent+jwt"
            assert (await post(gateway, "/sets", kind, body, line)).status == 202
            await until(
                lambda: _asked_again(gateway, around), "every worker asks again"
            )
            assert await status_of(gateway, b"_opaque_") == 200
            (stream,) = (await gateway.status())["intake"]["streams"]
            assert stream["events"] == {"token-claims-change": 1}


async def _asked_again(gateway, around):
    await status_of(gateway, b"_opaque_")
    return around.issuer.questions == 4
