"""Third-party HTTP requests, sent raw at a running gateway, and what it did with each.

Called by: test_http_vectors.py here, and the command that writes docs/conformance.md.
Labels are read as SOURCES.md says: where a set calls legal what THREATS.md refuses, the
refusal is wanted (`our_refusal` names the rules). Payloads without Host get one, since
otherwise that alone would be tested again and again.

A request is accepted when it arrived at the upstream, whole and as often as it was
sent. What breaks off in its body may have begun to arrive, and is refused by its end.
"""

import asyncio
import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.http_wire import Seen, wire
from tests.conformance.rows import Case, Row, count
from tests.vectors import find_vectors

ACCEPT, REFUSE, EITHER = "accept", "refuse", "either"
_PAUSES = 21
_SPLIT_EVERY = 4
_SPLIT_MAX_BYTES = 600


@dataclass(frozen=True)
class Payload:
    """A payload, and what is wanted of it.

    steps: Sent one after the other on one connection. want: accept, refuse or either.
    messages: Complete requests that may arrive; with `accept` exactly as many.
    kept: What must be true of an accepted answer.
    """

    case_id: str
    steps: tuple[bytes, ...]
    want: str
    messages: int = 1
    kept: Callable[[Seen], bool] = lambda _: True


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
        "CONNECT and TRACE": method in {b"CONNECT", b"TRACE"},
        "a method of other letters": not re.fullmatch(rb"[A-Z][A-Z-]*", method),
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
        yield Payload(name, steps, want, messages, kept)


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
        legal = case["expected"]["tier"] == "Compliant" and not our_refusal(payload)
        name = f"{case['file'].removesuffix('.yaml')} {case['n']}"
        want, messages = (ACCEPT, 1) if legal else (REFUSE, 0)
        yield Payload(name, (payload,), want, messages)


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
        messages, want = case["messages"], ACCEPT
        if case["lenient"]:
            want = REFUSE
            # What comes before the bad message is good, but for `Connection: close`.
            messages -= "keep-alive" not in case["type"]
        elif 0 < code < _PAUSES or messages == 0:
            want = REFUSE
        elif our_refusal(payload):
            want, messages = REFUSE, 0
        elif code or case["meta"].get("skipBody"):
            want = EITHER
        name = f"{at} {case['name'].rpartition(' / ')[2]}"
        yield Payload(name, (payload,), want, max(0, messages))


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
        if name in _GUNICORN_LIMITS:
            want, messages = EITHER, 1
        elif (
            case["class"] == "invalid" or name == _GUNICORN_CUT or our_refusal(payload)
        ):
            want, messages = REFUSE, 0
        else:
            # After an answer to HTTP/1.0 the connection ends, as RFC 9112 9.3 allows.
            once = b" HTTP/1.0\r\n" in payload.partition(b"\n")[0] + b"\n"
            want, messages = ACCEPT, 1 if once else len(case["expect"])
        yield Payload(name, (payload,), want, messages)


SETS: dict[str, Callable[[Path], Iterator[Payload]]] = {
    "Http11Probe": probe,
    "HTTP Desync Guardian": guardian,
    "llhttp": llhttp,
    "gunicorn": gunicorn,
}


# -- the verdict -----------------------------------------------------------------------


def judged(payload: Payload, seen: Seen) -> Case:
    """Say what was wanted and what happened; wrong is whatever differs.

    With `either`, more requests at the upstream than messages sent is wrong.
    """
    arrived = len(seen.arrived)
    if payload.want == ACCEPT:
        answered = len(seen.statuses) >= payload.messages
        accepted = arrived == payload.messages and answered and payload.kept(seen)
        return Case(payload.case_id, accept=True, accepted=accepted)
    good = sum(status < 300 for status in seen.statuses)
    too_many = max(arrived, good) > payload.messages
    return Case(payload.case_id, accept=False, accepted=too_many)


def cuts(payload: bytes) -> Iterator[list[bytes]]:
    """Yield the payload byte by byte, and split behind each CRLF."""
    yield [payload[at : at + 1] for at in range(len(payload))]
    yield re.findall(rb".*?\r\n|.+", payload, re.DOTALL)


@dataclass
class Judgement:
    """What a run over all sets found: cases by set, and what may never happen."""

    cases: dict[str, list[Case]]
    faults: list[str]

    def wrong(self, name: str) -> list[str]:
        """Return the ids of a set that went wrong either way, each once."""
        return list(
            dict.fromkeys(
                case.case_id
                for case in self.cases[name]
                if case.accept != case.accepted
            )
        )


async def judge(folder: Path) -> Judgement:
    """Send every payload whole, and some also byte by byte and split at CRLF."""
    runs: dict[str, list[tuple[Payload, asyncio.Task[Seen]]]] = {}
    async with wire() as open_wire, asyncio.TaskGroup() as tasks:
        for name, read in SETS.items():
            runs[name] = []
            for at, payload in enumerate(read(folder)):
                for steps in _ways(payload, at):
                    task = tasks.create_task(open_wire.play(*steps))
                    runs[name].append((payload, task))
        faults = open_wire.faults
    cases = {
        name: [judged(payload, task.result()) for payload, task in played]
        for name, played in runs.items()
    }
    return Judgement(cases, faults)


def _ways(payload: Payload, at: int) -> Iterator[list[list[bytes]]]:
    yield [[step] for step in payload.steps]
    small = len(payload.steps) == 1 and len(payload.steps[0]) <= _SPLIT_MAX_BYTES
    if small and at % _SPLIT_EVERY == 0:
        yield from ([segments] for segments in cuts(payload.steps[0]))


def rows() -> list[Row]:
    """A line for every set. Raises FileNotFoundError without FASTGATE_VECTORS."""
    judgement = asyncio.run(judge(find_vectors()))
    return [
        count(name, _by_id(cases), ", ".join(judgement.wrong(name)))
        for name, cases in judgement.cases.items()
    ]


def _by_id(cases: list[Case]) -> list[Case]:
    # An input counts once, however often it was cut, and wrong once is wrong.
    found: dict[str, Case] = {}
    for case in cases:
        if case.case_id not in found or case.accept != case.accepted:
            found[case.case_id] = case
    return list(found.values())
