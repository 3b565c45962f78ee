"""Nothing of an unverified token, and no secret, comes to rest anywhere (T20)."""

import base64
import json
from pathlib import Path

import pytest
from tests import tokens
from tests.system.gateway import HOST, Gateway, command, request, running, world
from tests.tokens import b64, encode, signing_key

pytestmark = pytest.mark.system

CANARY = "CANARY7f3a9c"
PATH = "/orders/1"


def unverified():
    """Tokens with a canary in each part, none of which is good."""
    key = signing_key()
    stranger = signing_key("ES256", CANARY)
    claims = tokens.claims(sub=CANARY, sid=CANARY, jti=CANARY, scope=CANARY)
    head = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}
    good = tokens.token(key, region="eu")
    yield encode({**head, "kid": CANARY}, claims, stranger)
    yield encode({**head, "typ": CANARY}, claims, key)
    yield encode({**head, "alg": CANARY}, claims, key)
    yield encode(head | {"crit": [CANARY]}, claims, key)
    yield encode(head, claims | {"iss": CANARY}, key)
    yield encode(head, claims | {"aud": CANARY}, key)
    yield encode(head, claims | {"exp": 1}, key)
    yield encode(head, json.dumps(claims)[:-9].encode(), key)
    yield good.rpartition(b".")[0] + b"." + b64(CANARY.encode() * 6)[:86].encode()
    yield CANARY.encode()
    yield f"{CANARY}.{CANARY}.{CANARY}".encode()
    yield f"_0XBPWQQ_{CANARY}".encode()


def other_places(token):
    """Requests with a credential elsewhere, or a canary where a line may show it."""
    canary = CANARY.encode()
    yield request(f"/orders/1?access_token={CANARY}")
    yield request("/orders/1", token, b"Cookie: region=%b; sid=%b" % (canary, canary))
    yield request(f"/orders/{CANARY}")
    yield request(f"/{CANARY}", token)
    yield request("/public/1", None, b"X-Request-Id: %b" % canary)
    yield request("/public/1", None, b"traceparent: %b" % canary)
    yield request("/public/1", None, b"X-Fastgate-Subject: %b" % canary)
    yield request("/orders/1", token, b"Authorization: Bearer %b" % token)
    yield b"%b /orders/1 HTTP/1.1\r\n%b\r\n" % (canary, HOST)
    yield b"GET /public/1 HTTP/1.1\r\n%b%b : x\r\n\r\n" % (HOST, canary)
    form = b"grant_type=refresh_token&refresh_token=%b" % token
    head = b"POST /oauth/token HTTP/1.1\r\n%bContent-Length: %d\r\n" % (HOST, len(form))
    yield head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + form


def spellings():
    """The canary as text, and the three ways it may look in base64."""
    yield CANARY.encode()
    for shift in range(3):
        raw = b"\0" * shift + CANARY.encode()
        whole = base64.urlsafe_b64encode(raw)
        # The first and last characters also hold bits of the neighbours.
        yield whole[(0, 2, 3)[shift] : len(whole) - 4]


async def test_nothing_of_an_unverified_token_is_written_anywhere(tmp_path):
    """Log, metrics, state, audit and process output are searched for a canary."""
    async with world() as here:
        document = here.document(tmp_path, log={"level": "debug"})
        here.issuer.mood = "good"
        document["issuers"]["login"]["introspection"] = here.issuer.introspection()
        document["routes"][0]["token"]["accept"] = ["jwt", "opaque"]
        document["routes"].append(
            {"path": "/oauth/", "service": "orders", "oauth": True}
        )
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            sent = 0
            for token in unverified():
                answer = await gateway.get(PATH, token)
                assert answer.status == 401, (token, answer.raw)
                assert CANARY.encode() not in answer.raw
                asked = {"token": token.decode(), "method": "GET", "path": PATH}
                await gateway.admin("POST", "/v1/explain", asked)
                for data in other_places(token):
                    answer = await gateway.ask(data)
                    sent += 1
                sent += 1
            revoked = {"kind": "sid", "issuer": "login", "value": CANARY}
            await gateway.admin("POST", "/v1/revocations", revoked)
            env = {"FASTGATE_CONFIG": str(gateway.path)}
            said = await command("status", "--json", env=env)
            pages = {
                "metrics": (await gateway.probe("/metrics")).body,
                "status": said.out.encode(),
            }
        assert len(gateway.access()) == sent
        files = [gateway.out, gateway.err, *(tmp_path / "state").rglob("*")]
        pages |= {str(path): path.read_bytes() for path in files if path.is_file()}
        assert len(pages) >= 6
        for place, content in pages.items():
            for spelling in spellings():
                assert spelling not in content, (place, spelling)


def shown_of(pid):
    """What the kernel tells others of a process: arguments and environment."""
    place = Path(f"/proc/{pid}")
    return (place / "cmdline").read_bytes() + (place / "environ").read_bytes()


async def test_cve_2026_33247_secrets_are_in_no_argument_and_no_environment(tmp_path):
    """Every process of the host can read the arguments; children inherit the rest."""
    secrets = {
        name: f"c4n4ry-{name}-0123456789" for name in ("admin", "hash", "issuer")
    }
    for name, secret in secrets.items():
        (tmp_path / name).write_text(f"{secret}\n")
    async with world() as here:
        document = here.document(tmp_path, admin_token=f"${{file:{tmp_path}/admin}}")
        document["revocation"]["hash_key"] = f"${{file:{tmp_path}/hash}}"
        document["issuers"]["login"]["introspection"] = here.issuer.introspection(
            client_secret=f"${{file:{tmp_path}/issuer}}"
        )
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            roles = {line["role"] for line in gateway.named("started")}
            pids = [pid for role in roles for pid in gateway.pids(role)]
            assert len(pids) >= 3
            for pid in (gateway.process.pid, *pids):
                shown = shown_of(pid)
                assert b"fastgate" in shown
                for secret in secrets.values():
                    assert secret.encode() not in shown


async def test_secrets_of_the_configuration_are_shown_nowhere(tmp_path):
    """Not by check, status, log, metrics or a refused reload."""
    secret = "c4n4ry-secret-0123456789"
    async with world() as here:
        document = here.document(tmp_path, admin_token=secret, log={"level": "debug"})
        document["revocation"]["hash_key"] = secret
        document["issuers"]["login"]["introspection"] = here.issuer.introspection(
            client_secret=secret
        )
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            env = {"FASTGATE_CONFIG": str(gateway.path)}
            said = [
                await command("check", str(gateway.path)),
                await command("status", "--json", env=env),
            ]
            gateway.write(document | {"admin_token": secret, "routs": secret})
            said.append(await command("check", str(gateway.path)))
            page = await gateway.probe("/metrics")
        written = [gateway.out.read_text(), gateway.err.read_text(), page.body.decode()]
        for text in (*written, *(one.out + one.err for one in said)):
            assert secret not in text
