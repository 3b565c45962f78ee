"""The configuration that DESIGN.md publishes serves as it is written."""

import contextlib
import re
from pathlib import Path

import pytest
from tests import tokens
from tests.config.documents import EXAMPLE, SECRET_PATH
from tests.nats_server import NatsServer
from tests.nats_server import running as serving
from tests.recorder import recording
from tests.system.gateway import (
    HOST,
    Gateway,
    free_ports,
    request,
    running,
    until,
    world,
)
from tests.system.issuer import SECRET

pytestmark = pytest.mark.system

OPAQUE = "_0XBPWQQ_3fa85f64-5717-4562-b3fc-2c963f66afa6"


class Place:
    """Where a published address is in this test, for the gateways of all regions."""

    def __init__(self, folder: Path, bus: str, here, identity) -> None:
        self.folder = folder
        self.issuer = here.issuer
        secret = folder / "introspection"
        secret.write_text(f"{SECRET}\n", "utf-8")
        self._replaced = {
            SECRET_PATH: str(secret),
            "https://login.example.com": here.issuer.base,
            "http://10.0.1.5:9000": here.apis["eu"].base,
            "http://10.1.1.5:9000": here.apis["us"].base,
            "http://10.0.1.9:8443": identity["eu"].base,
            "http://10.1.1.9:8443": identity["us"].base,
            "nats://127.0.0.1:4222": bus,
        }

    def gateway(self, region: str) -> Gateway:
        """Return the gateway of a region; one line of the example is its own."""
        data, admin, status = (f"127.0.0.1:{port}" for port in free_ports(3))
        replaced = self._replaced | {
            "0.0.0.0:8080": data,
            "127.0.0.1:8085": admin,
            "0.0.0.0:8086": status,
            "/var/lib/fastgate": str(self.folder / region / "state"),
            "region: eu ": f"region: {region} ",
        }
        text = EXAMPLE.read_text("utf-8")
        for published, ours in replaced.items():
            assert published in text, published
            text = text.replace(published, ours)
        addresses = {"listen": data, "admin": admin, "status": status}
        return Gateway(self.folder / region, addresses, text=text)

    def token(self, **claims) -> bytes:
        """Return a token of the issuer as it is named here."""
        iss = f"{self.issuer.base}/oauth/v2/oauth-anonymous"
        return tokens.token(**({"iss": iss} | claims))


def form(path: str, body: bytes, *lines: bytes) -> bytes:
    """Return a POST of a form."""
    head = b"POST %b HTTP/1.1\r\n%b" % (path.encode(), HOST)
    head += b"Content-Type: application/x-www-form-urlencoded\r\n"
    head += b"".join(line + b"\r\n" for line in lines)
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@contextlib.asynccontextmanager
async def placed(tmp_path):
    """The stand-ins of the example: an issuer, two services in two regions, a bus."""
    server = NatsServer(tmp_path / "nats")
    async with (
        world("eu", "us") as here,
        recording() as eu,
        recording() as us,
        serving(server),
    ):
        identity = {"eu": eu, "us": us}
        yield Place(tmp_path, server.url, here, identity), here, identity


async def test_published_example_serves_as_written(tmp_path):
    """API and OAuth routes, opaque tokens, regions, and who is not heard is 503."""
    async with placed(tmp_path) as (place, here, identity):
        eu = place.gateway("eu")
        async with running(eu, ready=False):
            at_home = place.token(region="eu")

            async def serves():
                return (await eu.get("/orders/1", at_home)).status == 200

            await until(serves, "its own origin is fresh")
            recorded = here.apis["eu"].requests[-1]
            assert recorded.one("authorization") == b"Bearer " + at_home
            assert recorded.one("x-fastgate-region") == b"eu"
            assert recorded.one("x-fastgate-subject") == b"user-bob-0001"
            assert (await eu.get("/public/1")).status == 200
            assert (await eu.get("/orders/1")).code == "missing_token"
            scope = await eu.get("/orders/1", place.token(region="eu", scope="read"))
            assert (scope.status, scope.code) == (403, "insufficient_scope")
            # Never heard of the other origins: not ready, and 503 for their users.
            assert (await eu.probe("/readyz")).status == 503
            away = await eu.get("/orders/1", place.token(region="us"))
            assert (away.status, away.code) == (503, "stale_revocation")

            place.issuer.opaque[OPAQUE] = place.token(region="eu", jti="phantom")
            answer = await eu.get("/orders/2", OPAQUE.encode())
            assert answer.status == 200
            assert here.apis["eu"].requests[-1].one("x-fastgate-token-id") == b"phantom"
            assert (await eu.get("/orders/2", b"_0XBPWQQ_unknown")).status == 401

            refresh = place.token(region="us", typ="refresh")
            body = b"grant_type=refresh_token&refresh_token=" + refresh
            assert (await eu.ask(form("/oauth/v2/oauth-token", body))).status == 200
            assert identity["us"].requests[-1].body == body
            page = request("/oauth/v2/oauth-authorize", None, b"Cookie: region=us")
            assert (await eu.ask(page)).status == 200
            assert identity["us"].requests[-1].target == b"/oauth/v2/oauth-authorize"
            assert (await eu.get("/oauth/v2/oauth-authorize")).status == 200
            assert identity["eu"].requests[-1].target == b"/oauth/v2/oauth-authorize"


async def test_published_example_makes_three_regions(tmp_path):
    """One line differs; then all are ready, and a session ends in all of them."""
    async with (
        placed(tmp_path) as (place, here, _),
        running(place.gateway("eu"), ready=False) as eu,
        running(place.gateway("us"), ready=False) as us,
        running(place.gateway("ap"), ready=False) as ap,
    ):
        gateways = (eu, us, ap)
        for gateway in gateways:
            await until(gateway.is_ready, "all origins were heard")
        away = place.token(region="us")
        for gateway in gateways:
            assert (await gateway.get("/orders/1", away)).status == 200
        assert len(here.apis["us"].requests) == 3
        nowhere = await eu.get("/orders/1", place.token(region="ap"))
        assert (nowhere.status, nowhere.code) == (503, "region_unavailable")
        receipt = await eu.revoke("sid", "s-1234567890", home="us", wait="regions")
        assert (receipt["origin"], receipt["complete"]) == ("us", True)
        assert set(receipt["receipt"]) == {"eu", "us", "ap"}
        for gateway in gateways:
            assert (await gateway.get("/orders/1", away)).status == 401


def test_example_is_the_published_one():
    """What these tests replace is addresses, and nothing else."""
    text = EXAMPLE.read_text("utf-8")
    assert len(re.findall(r"\d+\.\d+\.\d+\.\d+:\d+", text)) == 8
