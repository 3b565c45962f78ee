"""Third-party HTTP requests, and what each set wants done with them.

Called by: http_judge.py here, which sends them; the differential tests of the lanes.
Labels are read as SOURCES.md says: where a set calls legal what THREATS.md refuses, the
refusal is wanted (`our_refusal` names the rules). Payloads without Host get one, since
otherwise that alone would be tested again and again.

A request is accepted when it arrived at the upstream, whole and as often as it was
sent. What breaks off in its body may have begun to arrive, and is refused by its end.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.http_wire import Seen

from fastgate.hotpath.headers import FORWARDED_METHODS

ACCEPT, REFUSE, EITHER = "accept", "refuse", "either"
_PAUSES = 21


@dataclass(frozen=True)
class Payload:
    """A payload, and what is wanted of it.

    steps: Sent one after the other on one connection. want: accept, refuse or either.
    messages: Complete requests that may arrive; with `accept` exactly as many.
    kept: What must be true of an accepted answer.
    by_rule: Its set takes it, or leaves it open; we refuse it, and say why.
    """

    case_id: str
    steps: tuple[bytes, ...]
    want: str
    messages: int = 1
    kept: Callable[[Seen], bool] = lambda _: True
    by_rule: bool = False


# -- what fastgate refuses although others accept it -----------------------------------

_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.[01]")
_PATH = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*(\?[!-\"$-~]*)?")
_OTHER_CODING = re.compile(rb"\r\ntransfer-encoding:(?![ \t]*chunked[ \t]*\r\n)")
_ABSOLUTE = re.compile(rb"https?://([^/@?]+)(/.*)", re.IGNORECASE)


def our_refusal(payload: bytes) -> str:
    """Return the rule by which the first message is refused, "" where none is.

    Source: THREATS.md T1, T3, T5, T6, T7, T8, T18.
    """
    head, _, _ = payload.lstrip(b"\r\n").partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    match = _LINE.fullmatch(line)
    if match is None:
        return "a request line that is not of HTTP/1"
    fields = b"\r\n" + rest.lower() + b"\r\n"
    method = match[1]
    body = b"\r\ntransfer-encoding:" in fields or re.search(
        rb"\r\ncontent-length:[ \t]*0*[1-9]", fields
    )
    rules = {
        "a method that is not forwarded": method.decode() not in FORWARDED_METHODS,
        "a target": _target_refused(match[2]),
        "a coding that is not chunked": _OTHER_CODING.search(fields) is not None,
        "two codings": fields.count(b"\r\ntransfer-encoding:") > 1,
        "a coding in HTTP/1.0": line.endswith(b"0") and b"\r\ntransfer-enc" in fields,
        "an underscore in a name": re.search(rb"\n[^:\r\n]*_[^:\r\n]*:", fields),
        "a body with GET": body and method in {b"GET", b"HEAD", b"DELETE"},
        "a folded line": re.search(rb"\r\n[ \t]", fields) is not None,
    }
    return next((name for name, found in rules.items() if found), "")


def _target_refused(target: bytes) -> bool:
    absolute = _ABSOLUTE.fullmatch(target)
    path = absolute[2] if absolute else target
    if not _PATH.fullmatch(path) or b"//" in path.partition(b"?")[0]:
        return True
    return bool(re.search(rb"%(0[0-9a-f]|1[0-9a-f]|7f|2f|5c)", path, re.IGNORECASE))


def with_host(payload: bytes) -> bytes:
    """Return the payload with a Host in each message of HTTP/1.1 that has none."""
    done, at = b"", 0
    for match in re.finditer(rb"[A-Z]+ ([^ \r\n]+) HTTP/1\.1\r\n", payload):
        head = payload[match.start() : payload.find(b"\r\n\r\n", match.start()) + 2]
        done += payload[at : match.end()]
        at = match.end()
        if not re.search(rb"\r?\nhost[ \t]*:", head, re.IGNORECASE):
            absolute = _ABSOLUTE.fullmatch(match[1])
            done += b"Host: %b\r\n" % (absolute[1] if absolute else b"localhost")
    return done + payload[at:]


# -- the sets --------------------------------------------------------------------------

# Where Http11Probe takes both, THREATS.md does not (T1, T3, T5, T7, T8, T17, T18).
_PROBE_REFUSED = frozenset(
    {
        *("RFC9112-2.2-BARE-LF-REQUEST-LINE", "RFC9112-2.2-BARE-LF-HEADER"),
        *("RFC9112-3-MULTI-SP-REQUEST-LINE", "RFC9112-3.2-FRAGMENT-IN-TARGET"),
        *("COMP-OPTIONS-STAR", "COMP-REQUEST-LINE-TAB", "COMP-METHOD-CASE"),
        *("COMP-METHOD-TRACE", "COMP-TRACE-WITH-BODY", "COMP-TRACE-SENSITIVE"),
        *("COMP-EXPECT-UNKNOWN", "COMP-GET-WITH-CL-BODY", "COMP-HTTP12-VERSION"),
        *("MAL-URL-BACKSLASH", "MAL-URL-PERCENT-NULL", "MAL-URL-PERCENT-CRLF"),
        *("MAL-CHUNK-EXT-64K", "COOK-NUL", "COOK-CONTROL-CHARS"),
    }
)
_PROBE_EITHER = frozenset(
    {
        *("COMP-LEADING-CRLF", "COMP-HTTP10-NO-HOST", "COMP-DUPLICATE-CT"),
        *("MAL-RANGE-OVERLAPPING", "COOK-OVERSIZED", "COOK-EMPTY"),
        *("COOK-MALFORMED", "COOK-MANY-PAIRS"),
    }
)


def _no_body(seen: Seen) -> bool:
    return seen.raw.endswith(b"\r\n\r\n") and b"\r\ncontent-length: 2" in seen.head


_PROBE_KEPT: Mapping[str, Callable[[Seen], bool]] = {
    "COMP-405-ALLOW": lambda seen: seen.statuses == [405] and b"allow:" in seen.head,
    "COMP-DATE-HEADER": lambda seen: b"\r\ndate: tue, 15 nov 1994" in seen.head,
    "COMP-DATE-FORMAT": lambda seen: b"\r\ndate: tue, 15 nov 1994" in seen.head,
    "COMP-NO-CL-IN-204": lambda seen: (
        seen.statuses == [204] and b"content-length" not in seen.head
    ),
    "COMP-OPTIONS-ALLOW": lambda seen: b"\r\nallow: get, post" in seen.head,
    "COMP-CONTENT-TYPE": lambda seen: b"\r\ncontent-type: text/plain" in seen.head,
    "COMP-HEAD-NO-BODY": _no_body,
    "COMP-CONNECTION-CLOSE": lambda seen: b"\r\nconnection: close" in seen.head,
    "COOK-ECHO": lambda seen: seen.arrived[0].one("cookie") == b"foo=bar",
}


def probe(folder: Path) -> Iterator[Payload]:
    """Http11Probe: its expectation is the minimum, ours is in THREATS.md."""
    document = json.loads((folder / "http11probe/payloads.json").read_bytes())
    for case in document["tests"]:
        name, expected = case["id"], case["expected"]
        steps = tuple(base64.b64decode(s["payload_b64"]) for s in case["steps"])
        refusing = expected.startswith(
            ("400", "Exact(400)", "501", "Reject", "405/501")
        )
        want = ACCEPT
        if name in _PROBE_EITHER:
            want = EITHER
        elif name in _PROBE_REFUSED or (refusing and "2xx" not in expected):
            want = REFUSE
        kept = _PROBE_KEPT.get(name, lambda seen: max(seen.statuses, default=0) < 300)
        messages = 0 if want == REFUSE else len(steps)
        by_rule = name in _PROBE_REFUSED
        yield Payload(name, steps, want, messages, kept, by_rule)


def guardian(folder: Path) -> Iterator[Payload]:
    """HTTP Desync Guardian: heads as fields; Host and a body are added."""
    document = json.loads((folder / "http-desync-guardian/cases.json").read_bytes())
    for case in document["cases"]:
        lines = [f"{case['method']} {case['uri']} {case['version']}"]
        lines += [f"{h['name']}:{h['value']}" for h in case["headers"]]
        if not any(h["name"].lower() == "host" for h in case["headers"]):
            lines.insert(1, "Host: localhost")
        text = "\r\n".join(lines) + "\r\n\r\n"
        try:
            head = text.encode("latin-1")
        except UnicodeEncodeError:
            head = text.encode()
        payload = head + _body(case["headers"])
        legal = case["expected"]["tier"] == "Compliant"
        by_rule = legal and our_refusal(payload) != ""
        name = f"{case['file'].removesuffix('.yaml')} {case['n']}"
        want, messages = (ACCEPT, 1) if legal and not by_rule else (REFUSE, 0)
        yield Payload(name, (payload,), want, messages, by_rule=by_rule)


def _body(headers: list[dict[str, str]]) -> bytes:
    named = {h["name"].strip().lower(): h["value"] for h in headers}
    if "transfer-encoding" in named:
        return b"5\r\nhello\r\n0\r\n\r\n"
    length = re.search(r"[0-9]+", named.get("content-length", ""))
    return b"x" * min(int(length[0]), 4_000_000) if length else b""


def llhttp(folder: Path) -> Iterator[Payload]:
    """Node's parser: its errors bind us, and whatever needs leniency is bad.

    `messages` counts the complete ones before the end, or before the error. Error 5 is
    data behind `Connection: close`: one answer, and no more is read. Errors from 21 are
    pauses and upgrades.
    """
    document = json.loads((folder / "llhttp/cases.json").read_bytes())
    for at, case in enumerate(document["cases"]):
        payload = with_host(base64.b64decode(case["payload_b64"]))
        code = (case["error"] or {}).get("code", 0)
        messages, want, by_rule = case["messages"], ACCEPT, False
        if case["lenient"]:
            want = REFUSE
            # What comes before the bad message is good, but for `Connection: close`.
            messages -= "keep-alive" not in case["type"]
        elif 0 < code < _PAUSES or messages == 0:
            want = REFUSE
        elif our_refusal(payload):
            want, messages, by_rule = REFUSE, 0, True
        elif code or case["meta"].get("skipBody"):
            want = EITHER
        name = f"{at} {case['name'].rpartition(' / ')[2]}"
        yield Payload(name, (payload,), want, max(0, messages), by_rule=by_rule)


# Gunicorn's limits are lower: of these, fastgate takes what is within its own.
_GUNICORN_LIMITS = frozenset(
    {"invalid/006", "invalid/007", "invalid/008", "invalid/017"}
)
# Half of the body that Content-Length promises; gunicorn's test reads what is there.
_GUNICORN_CUT = "valid/099"


def gunicorn(folder: Path) -> Iterator[Payload]:
    """Gunicorn's own; those that need an option of gunicorn's are left out."""
    document = json.loads((folder / "gunicorn/cases.json").read_bytes())
    for case in document["cases"]:
        if case["gunicorn_cfg"]:
            continue
        name = case["name"]
        payload = with_host(base64.b64decode(case["payload_b64"]))
        invalid = case["class"] == "invalid" or name == _GUNICORN_CUT
        by_rule = not invalid and our_refusal(payload) != ""
        if name in _GUNICORN_LIMITS:
            want, messages = EITHER, 1
        elif invalid or by_rule:
            want, messages = REFUSE, 0
        else:
            # After an answer to HTTP/1.0 the connection ends, as RFC 9112 9.3 allows.
            once = b" HTTP/1.0\r\n" in payload.partition(b"\n")[0] + b"\n"
            want, messages = ACCEPT, 1 if once else len(case["expect"])
        yield Payload(name, (payload,), want, messages, by_rule=by_rule)


SETS: dict[str, Callable[[Path], Iterator[Payload]]] = {
    "Http11Probe": probe,
    "HTTP Desync Guardian": guardian,
    "llhttp": llhttp,
    "gunicorn": gunicorn,
}
