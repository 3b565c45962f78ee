"""The whole gateway with TLS of its own: clients, renewal, and a bad start (F35)."""

import asyncio
import json
import ssl

import pytest
from tests import tokens
from tests.lane_kit import Client
from tests.system.gateway import (
    Gateway,
    command,
    free_ports,
    request,
    running,
    world,
)
from tests.wire.certificates import authority

pytestmark = pytest.mark.system

NAME = "gateway.test"


async def connected(
    gateway: Gateway, client: ssl.SSLContext, *, port: int | None = None
) -> Client:
    at = port or gateway.port("listen")
    return Client(
        *await asyncio.open_connection(
            "127.0.0.1", at, ssl=client, server_hostname=NAME
        )
    )


def certificate(client: Client) -> bytes:
    found = client.writer.get_extra_info("ssl_object")
    return found.getpeercert(binary_form=True)


async def test_gateway_serves_over_tls_and_shows_a_renewed_certificate(tmp_path):
    """Tokens are judged as without TLS; the file is exchanged while clients come."""
    trusted = authority(tmp_path)
    path = trusted.issue(NAME)
    async with world() as here:
        tls = {"cert": str(path), "key": str(path)}
        gateway = Gateway(tmp_path, here.document(tmp_path, tls=tls, workers=1))
        async with running(gateway):
            client = await connected(gateway, trusted.client())
            await client.send(request("/public/1"))
            assert (await client.response()).status == 200
            token = tokens.token(region="eu")
            await client.send(request("/orders/1", token))
            assert (await client.response()).status == 200
            told = here.apis["eu"].requests[-1]
            assert told.one("x-forwarded-proto") == b"https"
            before = certificate(client)
            trusted.issue(NAME)
            async with asyncio.timeout(20):
                while certificate(client) == before:
                    client.close()
                    client = await connected(gateway, trusted.client())
            await client.send(request("/public/1"))
            assert (await client.response()).status == 200
            client.close()


async def test_intake_takes_sets_over_tls_of_clients_that_its_authority_knows(tmp_path):
    """A certificate of its own, renewed while it serves; strangers say nothing."""
    trusted = authority(tmp_path)
    path = trusted.issue(NAME)
    port = free_ports(1)[0]
    section = {
        "listen": f"127.0.0.1:{port}",
        "tls": {"cert": str(path), "key": str(path), "client_ca": str(trusted.path)},
    }
    known, stranger = trusted.client(), trusted.client()
    known.load_cert_chain(trusted.issue("issuer.test"))
    # TLS 1.2, where the refusal is part of the handshake.
    stranger.maximum_version = ssl.TLSVersion.TLSv1_2
    pushed = b"POST /sets HTTP/1.1\r\nHost: gw\r\nContent-Length: 5\r\n"
    pushed += b"Content-Type: application/secevent+jwt\r\n\r\nx.y.z"
    async with world() as here:
        login = here.issuer.document(ssf={"audience": ["https://gw"]})
        document = here.document(
            tmp_path, issuers={"login": login}, intake=section, workers=1
        )
        async with running(Gateway(tmp_path, document)) as gateway:
            client = await connected(gateway, known, port=port)
            await client.send(pushed)
            assert (await client.response()).status == 400
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await connected(gateway, stranger, port=port)
            before = certificate(client)
            trusted.issue(NAME)
            async with asyncio.timeout(20):
                while certificate(client) == before:
                    client.close()
                    client = await connected(gateway, known, port=port)
            client.close()


@pytest.mark.parametrize("section", ["tls", "intake.tls"])
async def test_gateway_does_not_start_without_the_certificate_it_was_given(
    tmp_path, section
):
    """It says which section is wrong, and no process is left."""
    async with world() as here:
        tls = {"cert": str(tmp_path / "absent.pem"), "key": str(tmp_path / "absent")}
        given = {"tls": tls} if section == "tls" else {"intake": {"tls": tls}}
        path = tmp_path / "fastgate.yaml"
        path.write_text(json.dumps(here.document(tmp_path, **given)), "utf-8")
        said = await command("serve", str(path))
    assert said.code == 1
    assert f"fastgate: {section}: No such file or directory" in said.err
    assert "Traceback" not in said.err
