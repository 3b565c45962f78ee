"""HTTP requests of third parties, raw against a running gateway."""

import pytest
from tests.conformance import http_sets, naughty_sets
from tests.vectors import vectors_dir

pytestmark = pytest.mark.system

TRIED = {"Http11Probe": 121, "HTTP Desync Guardian": 73, "llhttp": 166, "gunicorn": 113}
# Wrong by its label, and known: each may leave this list, none may join it.
TABLED = {
    # A method that nobody registered is forwarded, for the upstream to refuse.
    "Http11Probe": {"COMP-UNKNOWN-METHOD"},
    "HTTP Desync Guardian": set(),
    # A Content-Type among the trailers, where RFC 9110 section 6.5.1 wants none.
    # And the unregistered method again.
    "llhttp": {"129 Trailing headers", "55 Invalid method"},
    # The same; and blanks around a chunk extension, which are bad whitespace.
    "gunicorn": {"valid/012", "valid/013"},
}


async def test_requests_of_others_are_judged_as_their_labels_say():
    """Nothing new is wrong, all is answered, and nobody else gets what is not his."""
    judgement = await http_sets.judge(vectors_dir())
    assert judgement.faults == []
    wrong = {name: set(judgement.wrong(name)) for name in TABLED}
    assert {name: sorted(ids - TABLED[name]) for name, ids in wrong.items()} == {
        name: [] for name in TABLED
    }
    for name, cases in judgement.cases.items():
        assert len({case.case_id for case in cases}) == TRIED[name]
        # Some are sent in pieces as well.
        assert len(cases) > TRIED[name]
        assert any(case.accept and case.accepted for case in cases)
        assert any(not case.accept and not case.accepted for case in cases)


async def test_naughty_strings_stay_in_their_place():
    """One line and one head an answer, whatever a request says (T7, T19)."""
    cases, wire = await naughty_sets.judge(vectors_dir())
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
        (b"TRACE / HTTP/1.1", "CONNECT and TRACE"),
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
