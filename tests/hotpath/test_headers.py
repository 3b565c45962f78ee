"""Header rules as pure functions: what sockets cannot reach, or only slowly."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.domain.snapshot import Limits
from fastgate.domain.verdict import Reason
from fastgate.hotpath.headers import Inbound, read_head, upstream_head
from fastgate.hotpath.peers import TrustedPeers, new_request_id
from fastgate.hotpath.way import Way, hops_behind

HOST = (b"Host", b"a.example")


def read(*headers: tuple[bytes, bytes], **changes: object) -> Inbound | Reason:
    fields = {"method": "GET", "target": b"/", "version": (1, 1)} | changes
    return read_head(
        fields["method"],
        fields["target"],
        fields["version"],
        headers,
        peer="192.0.2.1",
        limits=Limits(),
    )


def sent(inbound: Inbound, **changes: object) -> bytes:
    way = Way(peer="192.0.2.1", trusted=False, hops=1, request_id="id")
    fields = {
        "authority": b"up:80",
        "token": b"",
        "own_credentials": True,
        "identity": b"",
    }
    return upstream_head(inbound, way, **(fields | changes))


@pytest.mark.parametrize(
    "host",
    [b"a", b"a.example:80", b"192.0.2.1:8080", b"[::1]", b"[2001:db8::1]:443", b"a:"],
)
def test_read_head_takes_a_plain_host(host):
    """A name or address, with a port or without (RFC 3986 section 3.2.2)."""
    inbound = read((b"Host", host))
    expected = Reason.BAD_REQUEST if host.endswith(b":") else host
    assert (inbound.host if isinstance(inbound, Inbound) else inbound) == expected


@pytest.mark.parametrize(
    "host",
    [
        b"a,b",
        b"a b",
        b"u@a",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a:b",
        b"a:99999",
        b"[a]",
        b"\xff",
    ],
)
def test_read_head_refuses_a_host_that_is_none(host):
    """A list, userinfo, a path or an odd port is refused (T6)."""
    assert read((b"Host", host)) is Reason.BAD_REQUEST


def test_read_head_gives_the_gate_what_it_needs():
    """Path, query, credential, cookies, type: each from where it stands."""
    inbound = read(
        HOST,
        (b"Authorization", b"Bearer x"),
        (b"Cookie", b"a=1"),
        (b"cookie", b"region=us"),
        (b"Content-Type", b"Application/X-WWW-Form-Urlencoded; charset=utf-8"),
        (b"Content-Length", b"3"),
        method="POST",
        target=b"/a%41?q=%31",
    )
    head = inbound.head
    assert (head.method, head.path, head.query) == ("POST", "/aA", b"q=%31")
    assert (head.authorization, head.credentials) == (b"Bearer x", 1)
    assert head.cookie == "a=1; region=us"
    assert head.content_type == "application/x-www-form-urlencoded"
    assert head.has_body


def test_read_head_sees_no_body_in_a_length_of_zero():
    """Nothing is announced, and the header still goes upstream."""
    inbound = read(HOST, (b"Content-Length", b"0"), method="POST")
    assert not inbound.head.has_body
    assert b"Content-Length: 0\r\n" in sent(inbound)


def test_upstream_head_removes_before_it_adds():
    """Connection's list cannot reach what is written afterwards (fact 5)."""
    inbound = read(HOST, (b"Connection", b"via, x-b"), (b"X-B", b"1"), (b"X-A", b"2"))
    lines = sent(inbound, identity=b"X-Fastgate-Subject: bob").split(b"\r\n")
    assert b"X-A: 2" in lines
    assert b"Via: 1.1 fastgate" in lines
    assert b"X-Fastgate-Subject: bob" in lines
    assert not any(line.lower().startswith((b"x-b", b"connection")) for line in lines)


def test_upstream_head_never_sends_the_clients_credential_for_a_judged_one():
    """Without a token to forward there is none, not the client's."""
    inbound = read(HOST, (b"Authorization", b"Bearer secret"))
    assert b"secret" not in sent(inbound, own_credentials=False)
    assert b"Authorization: Bearer jwt\r\n" in sent(inbound, token=b"jwt")


def test_upstream_head_frames_a_body_that_was_read_by_its_size():
    """A chunked form that was read completely goes on with its length."""
    inbound = read(HOST, (b"Transfer-Encoding", b"chunked"), method="POST")
    head = sent(inbound, body_bytes=5)
    assert b"Content-Length: 5\r\n" in head
    assert b"chunked" not in head


# What a client may try to send as header names and values, legal or not.
NAMES = st.one_of(
    st.sampled_from(
        [
            b"Connection",
            b"X-Fastgate-Subject",
            b"Forwarded",
            b"X-A",
            b"Remote-User",
            b"TE",
        ]
    ),
    st.binary(min_size=1, max_size=8),
)
VALUES = st.one_of(
    st.sampled_from([b"x-a", b"close, x-fastgate-subject", b"chunked", b"host"]),
    st.binary(max_size=12),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_upstream_head_is_well_formed_for_whatever_was_accepted(headers):
    """One Host, at most one framing, no control character, no reserved name (T2)."""
    inbound = read(HOST, *headers)
    if not isinstance(inbound, Inbound):
        return
    head = sent(inbound, identity=b"X-Fastgate-Subject: bob")
    assert head.endswith(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or b"\x00" in line for line in lines)
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert names.count(b"x-fastgate-subject") == 1
    assert b"remote-user" not in names
    assert not any(b"_" in name for name in names)


@pytest.mark.parametrize(
    ("claim", "trusted", "hops"),
    [
        (b"", True, 0),
        (b"2", True, 2),
        (b"2", False, 0),
        (b"-1", True, None),
        (b"1_0", True, None),
        (b"1,1", True, None),
        (b"9999", True, None),
        (b" 1", True, None),
    ],
)
def test_hops_are_read_from_trusted_peers_only_and_strictly(claim, trusted, hops):
    """What Python's int would take is not what a hop counter says (fact 8)."""
    assert hops_behind(claim, trusted=trusted) == hops


def test_trusted_peers_are_matched_by_network():
    """Also an IPv4 address that an IPv6 socket names; text that is none never is."""
    peers = TrustedPeers(("10.0.0.0/8", "2001:db8::/32"))
    assert peers.trusts("10.1.2.3")
    assert peers.trusts("::ffff:10.1.2.3")
    assert peers.trusts("2001:db8::1")
    assert not peers.trusts("192.0.2.1")
    assert not peers.trusts("")
    assert not peers.trusts("10.0.0.0/8")
    assert not TrustedPeers(()).trusts("10.1.2.3")


def test_request_ids_are_version_7_and_differ():
    """Sortable by time, version and variant in place (RFC 9562 section 5.7)."""
    first, second = new_request_id(1_700_000_000.0), new_request_id(1_700_000_001.0)
    assert first < second
    assert new_request_id(1.0) != new_request_id(1.0)
    parsed = uuid.UUID(first)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == 1_700_000_000_000
