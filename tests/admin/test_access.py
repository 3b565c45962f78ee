"""Who may speak to the admin API (THREATS.md M1, T22)."""

import os
import socket

import pytest
from tests.admin.serving import admin, bound

from fastgate.admin.api import AdminListener
from fastgate.admin.rates import Rates
from fastgate.errors import ConfigError

TOKEN = "correct-horse-battery-staple-0001"
REVOKE = {"kind": "sid", "issuer": "login", "value": "s-1"}
MUTATIONS = ("/v1/revocations", "/v1/reload", "/v1/drain", "/v1/jwks/refresh")


def changed(agent):
    """Return what the agent was asked to change."""
    return [name for name, _ in agent.calls]


@pytest.mark.parametrize("path", MUTATIONS)
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_m1_cve_2026_27589_simple_post_of_a_page_changes_nothing(
    agent, path, kind
):
    """What a page of another site can send without preflight is refused by its type."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", path, REVOKE, {"Content-Type": kind})
    assert answer.status == 415
    assert answer.json["code"] == "unsupported_media_type"
    assert changed(agent) == []


@pytest.mark.parametrize("path", MUTATIONS)
async def test_m1_cve_2026_27589_post_without_body_and_type_changes_nothing(
    agent, path
):
    """An empty form post has no type at all, and is still refused."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", path, headers={"Content-Length": "0"})
    assert answer.status == 415
    assert changed(agent) == []


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1", "http://localhost:1"]
)
async def test_m1_cve_2026_27589_foreign_origin_is_refused(agent, origin):
    """A page is ours only if its host and port are the ones that were asked."""
    async with admin(agent) as wire:
        answer = await wire.send("POST", MUTATIONS[0], REVOKE, {"Origin": origin})
    assert answer.status == 403
    assert answer.json["code"] == "cross_origin"
    assert changed(agent) == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
async def test_m1_cross_site_get_is_refused(agent, site):
    """A GET of another site has no Origin, but says where it comes from."""
    async with admin(agent) as wire:
        answer = await wire.send("GET", "/v1/status", headers={"Sec-Fetch-Site": site})
    assert answer.status == 403


async def test_m1_preflight_grants_nothing(agent):
    """There is no CORS: an OPTIONS is a method that no resource has."""
    asks = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    async with admin(agent) as wire:
        foreign = await wire.send("OPTIONS", "/v1/revocations", headers=asks)
        own = await wire.send(
            "OPTIONS", "/v1/revocations", headers=asks | {"Origin": None}
        )
    assert (foreign.status, own.status) == (403, 405)
    for answer in (foreign, own):
        assert not [n for n, _ in answer.headers if n.lower().startswith("access-")]


async def test_own_origin_is_served(agent):
    """A page of this listener may ask it."""
    async with admin(agent) as wire:
        headers = {"Origin": f"http://{wire.host}", "Sec-Fetch-Site": "same-origin"}
        answer = await wire.send("POST", "/v1/revocations", REVOKE, headers)
    assert answer.status == 201


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8085", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8085", 200),
        ("gateway.internal:8085", 200),
        ("rebound.evil.example", 421),
        ("localhost.evil.example", 421),
        ("10.0.0.9", 421),
        ("127.0.0.1.evil.example:8085", 421),
        ("localhost:8085@evil.example", 400),
        ("localhost/", 400),
        ("", 400),
    ],
)
async def test_m1_dns_rebinding_finds_no_listener(agent, host, status):
    """A name that was made to point here is not one of ours."""
    async with admin(agent, names=("gateway.internal",)) as wire:
        answer = await wire.send("GET", "/v1/status", headers={"Host": host})
    assert answer.status == status


async def test_m1_wildcard_listener_answers_to_addresses_only(agent):
    """Where it binds every address, an IP literal cannot be rebound, a name can."""
    async with admin(agent, names=("0.0.0.0",)) as wire:
        literal = await wire.send("GET", "/v1/status", headers={"Host": "10.0.0.9:1"})
        name = await wire.send("GET", "/v1/status", headers={"Host": "evil.example"})
    assert (literal.status, name.status) == (200, 421)


async def test_two_hosts_are_refused(agent):
    """Which of two would count is nobody's to guess (RFC 9112 section 3.2)."""
    async with admin(agent) as wire:
        answer = await wire.raw(
            b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n"
        )
    assert answer.status == 400


@pytest.mark.parametrize(
    "given",
    [
        None,
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN} {TOKEN}",
    ],
)
@pytest.mark.parametrize("path", ["/v1/status", "/v1/no-such-thing"])
async def test_t22_admin_token_is_asked_for_before_anything_is_told(agent, given, path):
    """Without it not even the existence of a path shows."""
    async with admin(agent, token=TOKEN) as wire:
        answer = await wire.send("GET", path, headers={"Authorization": given})
    assert answer.status == 401
    assert answer.all["www-authenticate"] == 'Bearer realm="fastgate admin"'
    assert TOKEN not in answer.body.decode()


async def test_admin_token_lets_in_and_names_the_actor(agent):
    """The audit line tells who used the token, and from where."""
    headers = {"Authorization": f"bearer {TOKEN}"}
    async with admin(agent, token=TOKEN) as wire:
        answer = await wire.send("POST", "/v1/revocations", REVOKE, headers)
    assert answer.status == 201
    [(actor, action, fields)] = agent.lines
    assert (actor, action, fields["peer"]) == ("admin_token", "revoke", "127.0.0.1")


async def test_admin_token_of_a_newer_configuration_counts(agent):
    """After a reload the old token is worth nothing; losing it opens nothing."""
    async with admin(agent, token=TOKEN) as wire:
        agent.admin_token = "the-next-admin-token-0123456789"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        old = await wire.send("GET", "/v1/status", headers=headers)
        agent.admin_token = None
        none = await wire.send("GET", "/v1/status")
    assert (old.status, none.status) == (401, 401)


async def test_s1_3_listener_off_loopback_without_token_does_not_start(agent):
    """An open admin API on the network is a bad configuration, not a warning."""
    sock = bound(host="0.0.0.0")
    listener = AdminListener(agent, token=None, names=())
    with pytest.raises(ConfigError, match="admin_token"):
        await listener.start(sock)
    sock.close()
    async with admin(agent, token=TOKEN, host="0.0.0.0") as wire:
        assert (await wire.send("GET", "/v1/status")).status == 401


async def test_unix_socket_names_its_peer_by_uid(agent, tmp_path):
    """The kernel says who asks; nobody can claim to be another."""
    async with admin(agent, path=tmp_path / "admin") as wire:
        answer = await wire.send("POST", "/v1/revocations", REVOKE)
    assert answer.status == 201
    assert agent.lines[0][0] == f"uid:{os.getuid()}"


async def test_m1_flood_of_one_peer_is_refused(agent):
    """Guesses and loops run into a limit; it is told when to come back."""
    async with admin(agent, token=TOKEN) as wire:
        reader, writer = await wire.connect()
        request = f"GET /v1/status HTTP/1.1\r\nHost: {wire.host}\r\n\r\n".encode()
        statuses = set()
        for _ in range(3000):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            statuses.add(int(head.split(b" ")[1]))
            size = head.lower().split(b"content-length: ")[1].split(b"\r")[0]
            await reader.readexactly(int(size))
            if 429 in statuses:
                break
        writer.close()
    assert statuses == {401, 429}
    assert b"retry-after: 1" in head.lower()


def test_rates_refill_with_time_and_by_peer():
    """A bucket empties for one peer alone, and fills again."""
    now = [0.0]
    rates = Rates(burst=2, per_s=1, now_s=lambda: now[0])
    assert [rates.take("a") for _ in range(3)] == [True, True, False]
    assert rates.take("b")
    now[0] = 1.0
    assert [rates.take("a") for _ in range(2)] == [True, False]


def test_rates_hold_a_bounded_number_of_peers():
    """Many addresses cost no memory: the one unseen for longest is forgotten."""
    rates = Rates(burst=1, per_s=0, now_s=lambda: 0.0)
    for number in range(5000):
        assert rates.take(f"peer-{number}")
    assert not rates.take("peer-4999")
    assert rates.take("peer-0")


@pytest.mark.parametrize("family", [socket.AF_INET6])
async def test_loopback_of_either_family_is_private(agent, family):
    """[::1] needs no token either."""
    sock = socket.socket(family)
    try:
        sock.bind(("::1", 0))
    except OSError:
        sock.close()
        pytest.skip("this host has no IPv6 loopback")
    sock.listen()
    listener = AdminListener(agent, token=None, names=())
    await listener.start(sock)
    await listener.stop()
