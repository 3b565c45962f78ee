"""Methods: which are forwarded, which are refused and how, in front of both lanes.

RFC 9110 section 9, THREATS T5 and section 7: a closed list, 405 for what would tunnel
or echo, 501 for any other method, 400 for what is none.
"""

import pytest
from tests.lane_kit import gateway, public, snapshot_of
from tests.recorder import Recorded, Talk, answer, recording

from fastgate.hotpath.headers import FORWARDED_METHODS

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

REGISTERED = (
    *("ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY"),
    *("DELETE", "GET", "HEAD", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY"),
    *("MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "OPTIONS"),
    *("ORDERPATCH", "PATCH", "POST", "PRI", "PROPFIND", "PROPPATCH", "PUT", "QUERY"),
    *("REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK"),
    *("UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL"),
)
TUNNELLING = ("CONNECT", "TRACE", "TRACK")
# The last are methods of other protocols, or none at all, and tokens all the same.
UNKNOWN = (
    *sorted(set(REGISTERED) - FORWARDED_METHODS - set(TUNNELLING)),
    *("FOOBAR", "GETT", "GE", "MKCOLA", "get", "Post", "connect", "trace", "PURGE"),
    *("M-SEARCH", "NOTIFY", "SOURCE", "ANNOUNCE", "DESCRIBE", "G_T", "-BLARGH", "1"),
    *("!#$%&'*+-.^_`|~", "A" * 32),
)
MALFORMED = {
    "colon": b"GET:",
    "slash": b"GE/T",
    "quote": b'"GET"',
    "parenthesis": b"GET()",
    "nul": b"GET\x00",
    "control": b"bad_method\x01",
    "not_ascii": b"GET\xc3\x9f",
    "longer_than_32": b"A" * 33,
    "blank_before": b" GET",
    "blank_after": b"GET ",
    "tab_after": b"GET\t",
}


def _pieces(line: bytes) -> list[list[bytes]]:
    payload = line + b" / HTTP/1.1\r\nHost: a\r\n\r\n"
    return [
        [payload],
        [payload[at : at + 1] for at in range(len(payload))],
        [part + b"\r\n" for part in payload.split(b"\r\n")[:-1]],
    ]


async def _refused(method: bytes, status: int, code: str) -> None:
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        for pieces in _pieces(method):
            client = await gw.connect()
            for piece in pieces:
                await client.send(piece)
            got = await client.response()
            assert (got.status, got.code) == (status, code)
            assert got.problem["status"] == status
            assert got.one("connection") == "close"
            if status == 405:
                assert "GET" in (got.one("allow") or "")
            assert await client.read_to_end() == b""
        assert not up.received


@pytest.mark.parametrize("method", sorted(FORWARDED_METHODS))
async def test_t5_lane_forwards_a_method_of_the_list(method):
    """Each arrives as it was sent, with its body where it has one."""

    async def echo(request: Recorded, talk: Talk) -> bool:
        said = answer(headers=b"X-Method: %b\r\n" % request.method.encode())
        await talk.send(said if method != "HEAD" else said[:-2])
        return True

    body = b"" if method in {"GET", "HEAD", "DELETE"} else b"hello"
    payload = b"%b /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (
        method.encode(),
        len(body),
        body,
    )
    async with recording(echo) as up, gateway(snapshot_of(public(up.base))) as gw:
        got = await gw.ask(payload, head_only=method == "HEAD")
        assert (got.status, got.one("x-method")) == (200, method)
        (request,) = up.requests
        assert (request.method, request.body) == (method, body)


@pytest.mark.parametrize("method", UNKNOWN)
async def test_t5_lane_answers_501_to_a_method_that_is_not_of_the_list(method):
    """Whatever a route may mean by it, no rule of ours was written for it."""
    await _refused(method.encode(), 501, "not_supported")


@pytest.mark.parametrize("method", TUNNELLING)
async def test_t5_lane_answers_405_to_what_would_tunnel_or_echo(method):
    """CONNECT and TRACE, and what Microsoft once called TRACE."""
    await _refused(method.encode(), 405, "method_not_allowed")


@pytest.mark.parametrize("name", MALFORMED)
async def test_t5_lane_answers_400_to_what_is_no_method(name):
    """A method is a token (RFC 9110 section 5.6.2), and not a long one."""
    await _refused(MALFORMED[name], 400, "bad_request")
