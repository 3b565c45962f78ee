"""The listener's certificate: what is refused, and what a renewal changes (F35)."""

import asyncio
import ssl

import pytest
from tests.wire.certificates import Authority, authority

from fastgate.adapters.tls_files import ServerTls
from fastgate.errors import StartError

NAME = "gateway.test"


@pytest.fixture
def trusted(tmp_path) -> Authority:
    return authority(tmp_path)


def tls_of(trusted: Authority, **options: str) -> ServerTls:
    path = str(trusted.issue(NAME))
    return ServerTls(path, path, **options)


async def shown(context: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """The certificate that a client sees, as its octets."""
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=NAME
        )
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return found


async def test_f35_renewed_certificate_is_shown_to_new_connections(trusted):
    """The context stays, so listeners go on; nothing new is no renewal."""
    tls = tls_of(trusted)
    context, client = tls.context, trusted.client()
    before = await shown(context, client)
    assert not tls.refresh()
    trusted.issue(NAME)
    assert tls.refresh()
    assert tls.context is context
    assert await shown(context, client) != before
    assert not tls.refresh()


async def test_f35_broken_renewal_leaves_the_old_certificate(trusted):
    """Half a file is refused once, and clients go on with what was good."""
    tls = tls_of(trusted)
    before = await shown(tls.context, trusted.client())
    path = trusted.folder / f"{NAME}.pem"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(StartError, match="tls:"):
        tls.refresh()
    assert not tls.refresh()
    assert await shown(tls.context, trusted.client()) == before


async def test_tls_refuses_clients_without_a_certificate_where_one_is_asked(trusted):
    """And takes those that its authority vouches for."""
    tls = tls_of(trusted, client_ca=str(trusted.path))
    known = trusted.client()
    known.load_cert_chain(trusted.issue("client.test"))
    assert await shown(tls.context, known)
    # TLS 1.2, where the refusal is part of the handshake.
    stranger = trusted.client()
    stranger.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await shown(tls.context, stranger)


@pytest.mark.parametrize("what", ["absent", "empty", "no_pem", "a_folder"])
async def test_cve_2026_27586_authorities_that_cannot_be_read_let_nobody_in(
    trusted, tmp_path, what
):
    """No start with them; and a renewal that breaks them asks for certificates on."""
    path = tmp_path / "authorities.pem"

    def spoil() -> None:
        path.unlink(missing_ok=True)
        match what:
            case "empty":
                path.write_bytes(b"")
            case "no_pem":
                path.write_bytes(b"-----BEGIN CERTIFICATE-----\nnone\n")
            case "a_folder":
                path.mkdir()

    path.write_bytes(trusted.path.read_bytes())
    tls = tls_of(trusted, client_ca=str(path))
    spoil()
    with pytest.raises(StartError, match="tls: "):
        tls_of(trusted, client_ca=str(path))
    with pytest.raises(StartError, match="tls: "):
        tls.refresh()
    assert tls.context.verify_mode is ssl.CERT_REQUIRED
    stranger = trusted.client()
    stranger.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await shown(tls.context, stranger)


def test_tls_speaks_no_version_before_1_2(trusted):
    """RFC 8996 has retired them; this OpenSSL offers none either, so a look must do."""
    assert tls_of(trusted).context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("what", ["absent", "empty", "no_pem", "another_key"])
def test_tls_names_its_section_when_files_cannot_be_used(trusted, what):
    """The gateway does not start without what it was told to show."""
    cert = str(trusted.issue(NAME))
    key = trusted.folder / "key.pem"
    match what:
        case "empty":
            key.write_bytes(b"")
        case "no_pem":
            key.write_bytes(b"\x00 no key")
        case "another_key":
            key.write_bytes(trusted.issue("other.test").read_bytes())
    with pytest.raises(StartError, match="tls: "):
        ServerTls(cert, str(key))
