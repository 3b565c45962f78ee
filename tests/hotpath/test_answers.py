"""Answers as pure functions: heads, problems, challenges, cookies."""

import json

import pytest
from tests.lane_kit import public

from fastgate.domain.region import RegionCookie
from fastgate.domain.verdict import OUTCOMES, Challenge, Reason
from fastgate.hotpath.answers import (
    Framing,
    answer_head,
    challenge,
    http_date,
    problem,
    region_cookie,
)


@pytest.mark.parametrize("reason", list(Reason))
def test_problem_is_complete_for_every_reason(reason):
    """Status, stable public code, challenge on each 401, Retry-After on 502 and 503."""
    outcome = OUTCOMES[reason]
    head, body = problem(
        reason, route=None, request_id="r1", wall_s=0.0, close=outcome.close
    )
    told = json.loads(body)
    assert told["status"] == outcome.status
    assert told["code"] == outcome.public
    assert told["type"] == f"urn:fastgate:problem:{outcome.public}"
    assert told["request_id"] == "r1"
    assert head.startswith(b"HTTP/1.1 %d " % outcome.status)
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert (b"\r\nWWW-Authenticate: Bearer realm=" in head) or outcome.status != 401
    assert (b"\r\nRetry-After: " in head) or outcome.status not in {502, 503, 504, 429}
    assert (b"\r\nConnection: close\r\n" in head) == outcome.close
    if outcome.public == "invalid_token":
        # The exact reason is not the client's to know.
        assert f'"{reason.value}"'.encode() not in head + body


def test_challenge_quotes_what_the_operator_wrote():
    """A quote or backslash in a realm cannot end the string (RFC 9110, 5.6.4)."""
    route = public("http://a", realm='a"b\\c\u00e9')
    assert challenge(Challenge.BARE, route) == b'Bearer realm="a\\"b\\\\c?"'


def test_problem_asks_to_wait_as_long_as_the_issuer_asked():
    """Longer than the table's wins; where waiting does not help there is none."""
    fields = {"route": None, "request_id": "r", "wall_s": 0.0, "close": False}
    head, _ = problem(Reason.INTROSPECTION_UNAVAILABLE, retry_after_s=99, **fields)
    assert b"Retry-After: 99\r\n" in head
    head, _ = problem(Reason.REVOKED, retry_after_s=99, **fields)
    assert b"Retry-After" not in head


@pytest.mark.parametrize(
    ("length", "bodiless", "minor", "expected"),
    [
        (5, False, 1, (5, False, False)),
        (-1, False, 1, (-1, True, False)),
        (-1, False, 0, (-1, False, True)),
        (-1, True, 1, (-1, False, False)),
        (5, True, 1, (5, False, False)),
    ],
)
def test_framing_fits_client_and_body(length, bodiless, minor, expected):
    """Length where known, chunks where understood, else the end of the connection."""
    framing = Framing.of(length=length, bodiless=bodiless, minor=minor, close=False)
    assert (framing.length, framing.chunked, framing.close) == expected


@pytest.mark.parametrize("byte", [0, 1, 10, 13, 31, 127])
def test_answer_head_refuses_control_characters(byte):
    """Whatever parser stood before: none gets out (U2)."""
    framing = Framing(0, chunked=False, close=False)
    for name in (b"X", b"Date"):
        head = answer_head(
            200,
            [(name, b"a%cb" % byte)],
            framing,
            request_id="r",
            wall_s=0.0,
            extra=[],
        )
        assert head is None


def test_answer_head_keeps_the_upstreams_date_and_adds_one_where_it_lacks():
    """RFC 9110 section 6.6.1."""
    framing = Framing(0, chunked=False, close=False)
    fields = {"request_id": "r", "wall_s": 0.0, "extra": []}
    head = answer_head(200, [(b"Date", b"then")], framing, **fields)
    assert head.count(b"Date: ") == 1
    assert b"Date: then\r\n" in head
    head = answer_head(200, [], framing, **fields)
    assert b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in head


def test_answer_head_writes_an_unknown_status_without_a_phrase():
    """The phrase may be empty, the space before it may not be missing."""
    framing = Framing(0, chunked=False, close=False)
    head = answer_head(799, [], framing, request_id="r", wall_s=0.0, extra=[])
    assert head.startswith(b"HTTP/1.1 799 \r\n")


def test_date_changes_with_the_second():
    """One text a second, never an old one."""
    assert http_date(1.9) == http_date(1.0)
    assert http_date(2.0) != http_date(1.0)


def test_region_cookie_says_what_the_configuration_says():
    """PROTOCOLS section 16; no Domain unless configured, no Secure on plain http."""
    assert region_cookie(RegionCookie("zone"), "eu") == (
        b"Set-Cookie: zone=eu; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=2592000"
    )
    written = region_cookie(
        RegionCookie("r", max_age_s=9, domain="a.example", secure=False), "us"
    )
    assert written == (
        b"Set-Cookie: r=us; Path=/; HttpOnly; SameSite=Lax; Max-Age=9; Domain=a.example"
    )
