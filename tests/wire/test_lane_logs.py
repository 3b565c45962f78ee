"""What a request may leave in a log: no control of its own, and no credential."""

import json
import logging

import pytest
from tests.fakes import FakeGate, decided
from tests.lane_kit import gateway, issuer_profile, public, service, snapshot_of
from tests.recorder import recording
from tests.wire.scripts import saying

from fastgate.domain.log_line import encode_access
from fastgate.domain.route import Route
from fastgate.domain.verdict import Reason, Verdict

# A terminal's clear, C1, text direction, line ends as some readers see them.
HOSTILE = b"\xc2\x9b2J\xe2\x80\xae\xe2\x80\xa8\xe2\x80\xa9\xc2\x85 \t\xff"
CANARY = b"canary-5f3c9a"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"GET /%1b%5b2J%0d%0aok HTTP/1.1\r\nHost: a", id="escaped_path"),
        pytest.param(b"GET /\x1b[2J HTTP/1.1\r\nHost: a", id="raw_path"),
        pytest.param(b"GET /?a=" + b'"<x>\\' + b" HTTP/1.1\r\nHost: a", id="query"),
        pytest.param(b"G\x1bT / HTTP/1.1\r\nHost: a", id="method"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\x1b[2J", id="host"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + HOSTILE, id="agent"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + HOSTILE, id="request_id"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-" + HOSTILE + b"-01",
            id="trace",
        ),
    ],
)
async def test_cve_2020_7694_a_request_leaves_one_printable_line(line):
    """Whatever it holds: a line of JSON, of printable ASCII, for each request (T19)."""
    async with recording() as up, gateway(snapshot_of(public(up.base))) as gw:
        client = await gw.connect()
        await client.send(line + b"\r\nConnection: close\r\n\r\n")
        await client.read_to_end()
        assert (await gw.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
        lines = await gw.logged(2)
        assert len(lines) == 2
        for fields in lines:
            text = encode_access(
                {k: v for k, v in fields.items() if k != "peer"}, 3_072
            )
            assert all(0x20 <= byte < 0x7F for byte in text)
            assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("verdict", "upstream"),
    [
        pytest.param(Verdict.ALLOW, None, id="forwarded"),
        pytest.param(Verdict.ALLOW, b"garbage\r\n\r\n", id="bad_answer"),
        pytest.param(Verdict.ALLOW, b"", id="no_answer"),
        pytest.param(Verdict.DENY, None, id="refused"),
    ],
)
async def test_cve_2022_23469_no_credential_is_in_any_log(verdict, upstream, caplog):
    """Also where something fails, and where everything is logged (T20)."""
    caplog.set_level(logging.DEBUG)
    head = (
        b"GET /?access_token=%b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n"
        b"Cookie: session=%b\r\nX-Api-Key: %b\r\n\r\n" % ((CANARY,) * 4)
    )

    def judge(head, snapshot, _):
        reason = Reason.BAD_SIGNATURE if verdict is Verdict.DENY else None
        return decided(verdict, snapshot, head, reason=reason, kind="jwt")

    async with recording() as up:
        if upstream is not None:
            up.script = saying(upstream)
        route = Route(0, "api", "/", service(up.base), issuer=issuer_profile())
        async with gateway(snapshot_of(route), gate=FakeGate(judge)) as gw:
            got = await gw.ask(head)
            lines = await gw.logged(1)
            assert CANARY.decode() not in json.dumps(lines, default=str)
            assert CANARY.decode() not in caplog.text
            assert (CANARY in got.raw) is False
            broken = await gw.ask(head.replace(b"Host: a", b"Host : a"))
            assert broken.status == 400
            assert CANARY.decode() not in json.dumps(gw.log.lines, default=str)
            assert CANARY.decode() not in caplog.text
            assert CANARY not in broken.raw
