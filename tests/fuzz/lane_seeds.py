"""Seeds for the lanes: each known message with good company, and each kind of step.

Owns:      how a request or an answer becomes steps of tests.fuzz.lane.
Called by: tests.fuzz.targets.
"""

from collections.abc import Iterator

from tests.fuzz import seeds
from tests.fuzz.lane import STEP
from tests.fuzz.lane_rules import TOKEN

_GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
_POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
_CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_NONE = b"HTTP/1.1 204 No Content\r\n\r\n"
_LONG = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_END = b"HTTP/1.1 200 OK\r\n\r\n"
_EXPECTING = _POST.replace(b"Content", b"Expect: 100-continue\r\nContent")
_SIGNED = _GET.replace(b"/a", b"/private/").replace(
    b"a\r\n\r\n", b"a\r\nAuthorization: Bearer {token}\r\n\r\n"
)
_FORM = (
    b"POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
) % len(b"token=" + TOKEN)
_LYING = (
    b"GET /a HTTP/1.1\r\nHost: a\r\nX-Fastgate-Subject: root\r\nForwarded: for=b\r\n"
    b"X-Forwarded-For: 10.0.0.1\r\nConnection: x-a, close\r\nX-A: b\r\n\r\n"
)

SCRIPTS = (
    (b"C" + _GET, b"U" + _OK, b"C" + _GET, b"U" + _NONE),
    # Pipelined, answered in pieces; the second while the first is on its way.
    (b"C" + _GET * 3, b"UHTTP/1.1 200 OK\r\nCont", b"Uent-Length: 3\r\n\r\nab", b"Uc"),
    (b"C" + _GET * 2, b"U" + _LONG + b"3\r\nab", b"Uc\r\n0\r\n\r\n", b"U" + _OK),
    # A body that comes late, from either side, and an answer that comes early.
    (b"C" + _POST, b"Che", b"Cllo" + _GET, b"U" + _OK, b"U" + _OK),
    (b"C" + _CHUNKED + b"2\r\nhe", b"U" + _OK, b"C\r\n0\r\n\r\n" + _GET),
    (b"C" + _CHUNKED, b"C1\r\nx\r\n", b"Czz\r\n", b"U" + _OK),
    # Ends and resets at every moment.
    (b"C" + _GET, b"U" + _END + b"body", b"E", b"C" + _GET, b"U" + _OK),
    (b"C" + _GET, b"U" + _END + b"body", b"R"),
    (b"C" + _GET, b"U" + _OK, b"E", b"C" + _GET, b"U" + _OK),
    (b"C" + _GET, b"U" + _OK, b"C" + _GET, b"R", b"U" + _OK),
    (b"C" + _GET, b"U" + _OK, b"C" + _POST + b"hello", b"E"),
    (b"C" + _GET, b"E"),
    (b"C" + _GET, b"e"),
    (b"C" + _POST, b"Che", b"r"),
    (b"C" + _GET, b"U" + _LONG + b"5\r\nab", b"e"),
    # What nobody asked for, in the pool and behind an answer.
    (b"C" + _GET, b"U" + _OK, b"W" + _OK, b"C" + _GET, b"U" + _NONE),
    (b"C" + _GET, b"U" + _OK + b"HTTP/1.1 200 OK\r\n", b"C" + _GET, b"U" + _NONE),
    (b"C" + _GET, b"UHTTP/1.1 103 Early Hints\r\n\r\n" + _OK),
    # Dials that wait, fail, or come when nobody waits for them.
    (b"H", b"C" + _GET, b"F", b"S", b"U" + _OK),
    (b"H", b"C" + _GET * 2, b"F", b"F", b"F"),
    (b"H", b"C" + _GET.replace(b"/a", b"/two/"), b"F", b"S", b"U" + _OK),
    (b"H", b"C" + _GET, b"r", b"S", b"D" + _GET, b"W" + _OK),
    (b"H", b"C" + _POST + b"hel", b"t", b"S", b"Clo", b"U" + _OK),
    # Pauses of both peers.
    (
        b"C" + _GET,
        b"p",
        b"U" + _LONG + b"2\r\nab\r\n",
        b"U0\r\n\r\n",
        b"C" + _GET,
        b"p",
    ),
    (b"C" + _POST, b"P", b"Chello", b"P", b"U" + _OK),
    (b"C" + _CHUNKED + b"1\r\nx\r\n", b"P", b"C0\r\n\r\n", b"t", b"U" + _OK),
    # Timers, a new configuration, the end of the worker.
    (b"CGET / HT", b"t"),
    (b"C" + _GET, b"t", b"C" + _GET, b"U" + _OK),
    (b"C" + _GET, b"U" + _OK, b"n", b"C" + _GET, b"U" + _OK),
    (b"C" + _GET, b"g", b"U" + _OK, b"C" + _GET),
    # Two clients, one pool.
    (b"C" + _GET, b"U" + _OK, b"D" + _GET, b"C" + _POST, b"U" + _OK, b"Chello"),
    (b"+C" + _GET, b"+D" + _GET, b"U" + _OK, b"U" + _NONE),
    # The other lane, and back.
    (
        b"C" + _EXPECTING,
        b"Chello" + _GET,
        b"U" + _OK,
        b"U" + _OK,
    ),
    (b"CGET /a HTTP/1.0\r\n\r\n", b"U" + _LONG + b"2\r\nok\r\n0\r\n\r\n"),
    (b"C" + _GET.replace(b"/a", b"/private/"), b"C" + _GET, b"U" + _OK),
    (b"C" + _SIGNED * 2, b"U" + _OK, b"U" + _NONE),
    (b"H", b"C" + _SIGNED, b"t-", b"S", b"S", b"U" + _OK),
    (b"C" + _SIGNED.replace(b"GET", b"PROPFIND"), b"U" + _OK),
    (b"C" + _FORM, b"Ctoken=" + b"{token}", b"U" + _OK),
    (b"C" + _GET.replace(b"/a", b"http://a/x?y"), b"U" + _OK),
    (b"C" + _POST.replace(b"/b", b"/small/"), b"Chello", b"U" + _OK),
    (b"C" + _POST.replace(b"POST /b", b"GET /body/x"), b"Chello", b"U" + _OK),
    # What a client may not say, and what it may have removed.
    (
        b"C" + _LYING,
        b"UHTTP/1.1 200 OK\r\nConnection: close, x-b\r\nX-B: c\r\nServer: d\r\n\r\n",
        b"E",
    ),
)


def lanes() -> Iterator[bytes]:
    """Steps: the scripts, every request with an answer, every answer to a request."""
    yield from (STEP.join(script) for script in SCRIPTS)
    for request in seeds.requests():
        plain = request.replace(STEP, b"\xfe")
        yield STEP.join((b"C" + plain, b"U" + _OK, b"U" + _NONE))
    for answer in seeds.answers():
        said = answer.replace(STEP, b"\xfe")
        yield STEP.join((b"C" + _GET * 2, b"U" + said, b"Uhello", b"U" + _OK, b"E"))
