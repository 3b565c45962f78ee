"""HTTP requests of third parties, raw against a running gateway."""

import pytest
from tests.conformance import http_judge, http_sets, naughty_sets
from tests.conformance.http_sets import REFUSE, Payload
from tests.conformance.http_wire import LANES, Seen
from tests.vectors import vectors_dir

pytestmark = pytest.mark.system

TRIED = {"Http11Probe": 121, "HTTP Desync Guardian": 73, "llhttp": 166, "gunicorn": 113}
# Reason: all of them go in pieces where the page is written; here it has to be quick.
PIECES_OF = 4


@pytest.mark.parametrize("lane", LANES)
async def test_requests_of_others_are_judged_as_their_labels_say(lane):
    """Nothing is wrong, all is answered, and nobody else gets what is not his."""
    judgement = await http_judge.judge(vectors_dir(), lane, pieces_of=PIECES_OF)
    assert judgement.faults == []
    assert {name: judgement.wrong(name) for name in TRIED} == {
        name: [] for name in TRIED
    }
    for name, cases in judgement.cases.items():
        assert len({case.case_id for case in cases}) == TRIED[name]
        # Some are sent in pieces as well.
        assert len(cases) > TRIED[name]
        assert any(case.accept and case.accepted for case in cases)
        assert any(not case.accept and not case.accepted for case in cases)


@pytest.mark.parametrize("lane", LANES)
async def test_naughty_strings_stay_in_their_place(lane):
    """One line and one head an answer, whatever a request says (T7, T19)."""
    cases, wire = await naughty_sets.judge(vectors_dir(), lane)
    assert wire.faults == []
    for of_set in cases.values():
        assert [case.case_id for case in of_set if case.accepted] == []
    assert {name: len(of_set) for name, of_set in cases.items()} == {
        "Naughty strings in requests": 3 * 515,
        "CRLF injection": 17,
    }
    # A line for each of them, and for the request that was sent after it.
    assert len(wire.lines) == 2 * wire.sent
    assert all(line["msg"] == "access" for line in wire.lines)


def test_host_is_added_where_a_message_has_none():
    """The label must be tested, not the missing Host; bodies are left alone."""
    two = b"PUT /a HTTP/1.1\r\nX: y\r\n\r\nPUT /b HTTP/1.1\r\nhost: c\r\n\r\n"
    assert http_sets.with_host(two) == two.replace(
        b"/a HTTP/1.1\r\n", b"/a HTTP/1.1\r\nHost: localhost\r\n"
    )
    absolute = b"GET http://example.com/x HTTP/1.1\r\n\r\n"
    assert b"\r\nHost: example.com\r\n" in http_sets.with_host(absolute)
    old = b"GET / HTTP/1.0\r\n\r\n"
    assert http_sets.with_host(old) == old


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"TRACE / HTTP/1.1", "a method that is not forwarded"),
        (b"M-SEARCH / HTTP/1.1", "a method that is not forwarded"),
        (b"GET /a#b HTTP/1.1", "a target"),
        (b"GET /%0d HTTP/1.1", "a target"),
        (b"GET / HTTP/1.1\r\nA_b: c", "an underscore in a name"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked", "a coding in HTTP/1.0"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip", "a coding that is not chunked"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1", "a body with GET"),
        (b"GET /a?b=c HTTP/1.1\r\nHost: a_b", ""),
    ],
)
def test_our_own_rules_are_told_apart(line, rule):
    """What others call legal is expected to be refused for a reason that has a name."""
    assert http_sets.our_refusal(line + b"\r\n\r\n") == rule


PROBLEM = b'{"type":"urn:fastgate:problem:x","status":400,"code":"x"}'
HEAD = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(PROBLEM)
)


@pytest.mark.parametrize(
    ("raw", "statuses", "why"),
    [
        (HEAD + PROBLEM, [400], ""),
        (b"", [], "no answer"),
        (HEAD.replace(b"400", b"502"), [502], "answered 502"),
        (HEAD, [400], "an empty body"),
        (HEAD + PROBLEM[:-1] + b";", [400], "a body that says something else"),
        (
            HEAD + PROBLEM.replace(b"400", b"404"),
            [400],
            "a body that says something else",
        ),
        (HEAD + PROBLEM + b"x", [400], "something stands behind the refusal"),
        (HEAD.replace(b"problem+", b"") + PROBLEM, [400], "no problem body"),
        (
            HEAD.replace(b"close", b"keep-alive") + PROBLEM,
            [400],
            "the refusal does not say that it is the last answer",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value else None,
)
def test_refusals_that_are_not_told_as_such_are_found(raw, statuses, why):
    """The judge does not take any 4xx for a refusal."""
    seen = Seen(statuses=statuses, raw=raw, closed=True)
    payload = Payload("x", (b"GET /\r\n\r\n",), REFUSE, 0)
    assert http_judge.rudeness(payload, seen) == why


def test_refusal_with_a_byte_upstream_or_an_open_connection_is_found():
    """A head that is malformed has no part that an upstream may see."""
    payload = Payload("x", (b"GET / HTTP/1.1\r\nA\r\n\r\n",), REFUSE, 0)
    seen = Seen(statuses=[400], raw=HEAD + PROBLEM)
    assert http_judge.rudeness(payload, seen) == "the connection was left open"
    seen = Seen(statuses=[400], raw=HEAD + PROBLEM, closed=True, begun=1)
    assert http_judge.rudeness(payload, seen) == "some of it was sent upstream"


@pytest.mark.parametrize("size", [0, 1, 999, 1_000, 1_001, 2_500, 3_000_000])
def test_pieces_are_the_payload(size):
    """Whatever its size, nothing is lost or changed by cutting, and it stays quick."""
    payload = (b"abc\r\n" * (size // 5 + 1))[:size]
    for cut in (http_judge.bytewise, http_judge.by_line):
        assert b"".join(cut(payload)) == payload
    assert len(http_judge.bytewise(payload)) <= 1_020
    assert all(len(piece) == 1 for piece in http_judge.bytewise(payload)[:1_000])
