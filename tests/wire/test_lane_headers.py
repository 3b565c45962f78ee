"""Header hygiene over sockets: what an upstream may believe, and what a client may say.

THREATS T2, T8, T9, R4 and section 1 fact 5; PROTOCOLS section 17.
"""

import itertools
from types import SimpleNamespace

import pytest
from tests.fakes import FakeGate, decided
from tests.lane_kit import gateway, issuer_profile, public, service, snapshot_of
from tests.recorder import recording

from fastgate.domain.route import Route
from fastgate.domain.token import TokenFacts
from fastgate.domain.verdict import Verdict

IDENTITY = (
    ("X-Fastgate-Subject", "bob"),
    ("X-Fastgate-Client", "web"),
    ("X-Fastgate-Scope", "orders"),
    ("X-Fastgate-Region", "eu"),
    ("X-Fastgate-Token-Id", "jti-1"),
)


def facts() -> TokenFacts:
    lines = "\r\n".join(f"{name}: {value}" for name, value in IDENTITY)
    return SimpleNamespace(identity=IDENTITY, identity_lines=lines.encode(), kid="k1")


def protected(base: str, **changes: object) -> Route:
    return Route(0, "api", "/", service(base), issuer=issuer_profile(), **changes)


def admitting(**fields: object) -> FakeGate:
    """A gate that allows everything with a token and an identity."""
    return FakeGate(
        lambda head, snapshot, _: decided(
            Verdict.ALLOW,
            snapshot,
            head,
            **({"token": b"phantom", "facts": facts(), "kind": "opaque"} | fields),
        )
    )


def get(*lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: api.example\r\n" + b"".join(
        line + b"\r\n" for line in (*lines, b"")
    )


async def test_lane_puts_the_verified_token_and_identity_in_place_of_the_clients():
    """The phantom token is forwarded, and each identity header is there once."""
    async with (
        recording() as up,
        gateway(snapshot_of(protected(up.base)), gate=admitting()) as gw,
    ):
        got = await gw.ask(
            get(b"Authorization: Bearer opaque", b"x-fastgate-subject: mallory")
        )
        assert got.status == 200
        (request,) = up.requests
        assert request.one("authorization") == b"Bearer phantom"
        for name, value in IDENTITY:
            assert request.all(name.lower()) == [value.encode()]


async def test_lane_removes_identity_headers_also_where_it_sets_none():
    """A header that the gateway would set is not the client's to set instead."""
    async with (
        recording() as up,
        gateway(snapshot_of(protected(up.base)), gate=admitting(facts=None)) as gw,
    ):
        await gw.ask(get(b"X-Fastgate-Subject: mallory", b"Authorization: Bearer x"))
        assert up.requests[0].all("x-fastgate-subject") == []
        assert b"mallory" not in up.requests[0].raw


async def test_lane_passes_the_clients_credentials_where_no_token_is_judged():
    """Client authentication at an OAuth endpoint belongs to the upstream."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        await gw.ask(get(b"Authorization: Basic Y2xpZW50OnNlY3JldA=="))
        assert up.requests[0].one("authorization") == b"Basic Y2xpZW50OnNlY3JldA=="


SPOOFS = [
    b"X-Fastgate-Subject",
    b"X-Fastgate-Admin",
    b"X-Auth-Request-User",
    b"Remote-User",
    b"Client-Cert",
    b"Client-Cert-Chain",
    b"X-Forwarded-For",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Host",
    b"X-Forwarded-Port",
    b"X-Forwarded-Prefix",
    b"X-Forwarded-Server",
    b"Forwarded",
    b"X-Real-IP",
    b"X-Fastgate-Hops",
    b"X-Request-Id",
]


@pytest.mark.parametrize("name", SPOOFS)
async def test_lane_removes_every_reserved_name_in_any_case(name):
    """Nothing of the client's copy reaches the upstream (T8)."""
    spellings = {name, name.lower(), name.upper(), name.swapcase()}
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(
            get(*(s + b": mallory-%d" % i for i, s in enumerate(sorted(spellings))))
        )
        assert got.status == 200
        assert b"mallory" not in up.requests[0].raw


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"X_Forwarded_Proto", id="cve_2026_39858"),
        pytest.param(b"X-Forwarded_For", id="cve_2026_54763"),
        pytest.param(b"Remote_User", id="cve_2026_52845_user"),
        pytest.param(b"Remote-Groups_", id="cve_2026_52845_groups"),
        pytest.param(b"x_fastgate_subject", id="ours"),
        pytest.param(b"X_Real_IP", id="real_ip"),
        pytest.param(b"Content_Length", id="length"),
        pytest.param(b"Transfer_Encoding", id="coding"),
        pytest.param(b"Host_", id="host"),
    ],
)
async def test_t8_aliases_with_underscores_are_refused(name):
    """Upstreams read X_Forwarded_Proto as X-Forwarded-Proto, as CGI does."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(get(name + b": mallory"))
        assert (got.status, got.one("connection")) == (400, "close")
        assert not up.requests


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param(b"X-Fastgate-Subject", id="cve_2024_45410"),
        pytest.param(b"X-Forwarded-For", id="cve_2024_45410_forwarded"),
        pytest.param(b"x-fastgate-token-id, close", id="cve_2026_29054_lower_case"),
        pytest.param(b"X-FORWARDED-FOR", id="cve_2026_29054_upper_case"),
    ],
)
async def test_t9_connection_naming_ours_in_any_case_is_refused(connection):
    """Only the spelling that was first reported was fixed at first."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(get(b"Connection: " + connection))
        assert got.status == 400
        assert not up.requests


async def test_ghsa_w9mr_28mw_j8hg_connection_cannot_strip_what_the_gateway_adds():
    """Removal by Connection comes before our headers are written (Oathkeeper)."""
    async with (
        recording() as up,
        gateway(snapshot_of(protected(up.base)), gate=admitting()) as gw,
    ):
        got = await gw.ask(
            get(
                b"Authorization: Bearer x",
                b"Connection: keep-alive, X-Custom, Via",
                b"X-Custom: 1",
                b"Keep-Alive: timeout=5",
                b"Proxy-Connection: keep-alive",
                b"Proxy-Authorization: Basic x",
                b"Upgrade: h2c",
                b"HTTP2-Settings: x",
                b"TE: gzip",
            )
        )
        assert got.status == 200
        (request,) = up.requests
        for name in (
            *("x-custom", "keep-alive", "proxy-connection", "proxy-authorization"),
            *("upgrade", "http2-settings", "te", "connection"),
        ):
            assert request.all(name) == []
        assert request.one("via") == b"1.1 fastgate"
        assert request.one("x-fastgate-subject") == b"bob"


async def test_lane_keeps_te_trailers_only():
    """`TE: trailers` passes, named by Connection as RFC 9110 section 10.1.4 wants."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        await gw.ask(get(b"TE: gzip, trailers"))
        assert up.requests[0].one("te") == b"trailers"
        assert up.requests[0].one("connection") == b"TE"


async def test_lane_writes_forwarding_headers_anew_for_an_unknown_peer():
    """The upstream learns the real peer, scheme and host, each once."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        await gw.ask(
            b"GET / HTTP/1.1\r\nHost: api.example:8443\r\nX-Forwarded-For: 1.2.3.4\r\n"
            b"X-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\n\r\n"
        )
        (request,) = up.requests
        assert request.one("x-forwarded-for") == b"127.0.0.1"
        assert request.one("x-forwarded-proto") == b"http"
        assert request.one("x-forwarded-host") == b"api.example:8443"
        assert request.one("x-forwarded-port") == b"8443"
        assert request.one("forwarded") == (
            b'for=127.0.0.1;proto=http;host="api.example:8443"'
        )


async def test_lane_believes_a_configured_peer_and_adds_itself():
    """From a trusted proxy the chain is continued, prefix and request id included."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), trusted_peers=("127.0.0.0/8",))
        async with gateway(snapshot) as gw:
            got = await gw.ask(
                get(
                    b"X-Forwarded-For: 1.2.3.4",
                    b"X-Forwarded-Proto: https",
                    b"X-Forwarded-Host: shop.example",
                    b"X-Forwarded-Port: 443",
                    b"X-Forwarded-Prefix: /shop",
                    b"Forwarded: for=1.2.3.4",
                    b"X-Request-Id: req-1",
                )
            )
            (request,) = up.requests
            assert request.one("x-forwarded-for") == b"1.2.3.4, 127.0.0.1"
            assert request.one("x-forwarded-proto") == b"https"
            assert request.one("x-forwarded-host") == b"shop.example"
            assert request.one("x-forwarded-port") == b"443"
            assert request.one("x-forwarded-prefix") == b"/shop"
            assert request.one("forwarded").startswith(b"for=1.2.3.4, for=127.0.0.1")
            assert request.one("x-request-id") == b"req-1"
            assert got.one("x-request-id") == "req-1"


async def test_lane_takes_forwarding_headers_of_a_trusted_peer_all_or_none():
    """One value that is no visible ASCII makes the others unbelievable too."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), trusted_peers=("127.0.0.1/32",))
        async with gateway(snapshot) as gw:
            await gw.ask(get(b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Host: \xff"))
            assert up.requests[0].one("x-forwarded-for") == b"127.0.0.1"
            assert up.requests[0].one("x-forwarded-host") == b"api.example"


@pytest.mark.parametrize("value", [b"a b", b"x" * 129, b"\xff", b""])
async def test_lane_names_a_request_itself_where_the_given_name_is_unfit(value):
    """128 visible ASCII characters are the most that is taken, from anybody."""
    async with recording() as up:
        snapshot = snapshot_of(public(up.base), trusted_peers=("127.0.0.1/32",))
        async with gateway(snapshot) as gw:
            got = await gw.ask(get(b"X-Request-Id: " + value))
            assert len(got.one("x-request-id")) == 36
            assert (
                up.requests[0].one("x-request-id") == got.one("x-request-id").encode()
            )


async def test_lane_counts_hops_and_answers_508_past_the_limit():
    """Two gateways pass, a third is a loop; only trusted peers are believed (R4)."""
    async with recording() as up:
        trusting = snapshot_of(public(up.base), trusted_peers=("127.0.0.1/32",))
        async with gateway(trusting) as gw:
            await gw.ask(get(b"X-Fastgate-Hops: 1"))
            assert up.requests[-1].one("x-fastgate-hops") == b"2"
            got = await gw.ask(get(b"X-Fastgate-Hops: 2"))
            assert (got.status, got.code) == (508, "loop")
            got = await gw.ask(get(b"X-Fastgate-Hops: -1"))
            assert got.status == 400
            got = await gw.ask(get(b"X-Fastgate-Hops: 1", b"X-Fastgate-Hops: 1"))
            assert got.status == 400
            assert len(up.requests) == 1
        async with gateway(snapshot_of(public(up.base))) as gw:
            assert (await gw.ask(get(b"X-Fastgate-Hops: 9"))).status == 200
            assert up.requests[-1].one("x-fastgate-hops") == b"1"


async def test_lane_passes_traces_and_unknown_headers_untouched():
    """Order, case, doubles and bytes outside ASCII stay as they were."""
    lines = [
        b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        b"tracestate: a=b",
        b"baggage: k=v",
        b"X-Odd: one",
        b"x-oDD: tw\xc3\xb6",
        b"X-HTTP-Method-Override: DELETE",
        b"Cookie: a=b; c=d",
        b"Accept-Encoding: gzip",
    ]
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        await gw.ask(get(*lines))
        raw = up.requests[0].raw
        places = [raw.index(line + b"\r\n") for line in lines]
        assert places == sorted(places)
        assert up.requests[0].method == "GET"


async def test_cve_2026_30851_no_permutation_of_spoofs_reaches_the_upstream():
    """Every order of spoofed, listed and own headers ends the same (T8, T9)."""
    spoofs = [
        b"X-Fastgate-Subject: mallory",
        b"x-forwarded-for: mallory",
        b"Connection: x-a",
        b"X-A: mallory",
        b"REMOTE-USER: mallory",
    ]
    async with (
        recording() as up,
        gateway(snapshot_of(protected(up.base)), gate=admitting()) as gw,
    ):
        client = await gw.connect()
        for order in itertools.permutations(spoofs):
            await client.send(get(*order))
            assert (await client.response()).status == 200
        for request in up.requests:
            assert b"mallory" not in request.raw
            assert request.one("x-fastgate-subject") == b"bob"
