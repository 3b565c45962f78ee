"""What must hold of everything that went over a gateway's wires.

Owns:      the rules; each compares bytes of one side with slow readings of the other.
Called by: tests.fuzz.lane.
Source:    RFC 9112 sections 6 to 9, RFC 9110 section 7.6; THREATS T1, T8, T9, T24, U1,
           U3, U6.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from tests.fuzz.readings import UNTIL_END, Said, read_answer, read_requests
from tests.fuzz.wires import Loop, Wire
from tests.tokens import token

# Written by the gateway, each once; no client's word comes through under these names.
_OURS = {
    b"x-forwarded-for": None,
    b"x-forwarded-proto": b"http",
    b"x-forwarded-port": None,
    b"x-forwarded-host": None,
    b"x-fastgate-hops": b"1",
    b"forwarded": None,
}
_RESERVED = (b"x-fastgate-", b"x-auth-request-", b"remote-", b"client-cert")
# What the one good token says; its user lives where the address with this port is.
ABROAD = 9003
TOKEN = token(now=1_800_000_000)
_IDENTITY = {
    b"authorization": b"Bearer " + TOKEN,
    b"x-fastgate-subject": b"user-bob-0001",
    b"x-fastgate-region": b"us",
}
_TOLD = {b"x-fastgate-client", b"x-fastgate-scope", b"x-fastgate-token-id", *_IDENTITY}
_HOP_BY_HOP = {b"te", b"trailer", b"upgrade", b"keep-alive", b"expect"}
# Neither Connection nor anything else removes these.
_KEPT = {b"host", b"authorization", b"content-length", b"transfer-encoding"}
_ID = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
_SAFE = {b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"}
# One on a connection that was kept, by each lane, and one on a new connection.
_MOST_TRIES = 3


@dataclass
class Attempt:
    """One request as an upstream saw it, and what that upstream said before the next.

    order: When it began among all writes. last: No other follows on its connection.
    """

    wire: Wire
    said: Said
    order: int
    answer: bytes
    last: bool

    def reply(self) -> Said | None:
        """The answer, read slowly; None where it has not come."""
        ended = self.last and self.wire.lost and not self.wire.reset
        return read_answer(self.answer, self.said.method, ended=ended)


@dataclass
class Traffic:
    """Everything that went over the wires of one gateway.

    lines: Of the access log. stalled: Clients that waited for nobody.
    in_flight: Requests still counted as being forwarded when every client is gone.
    """

    clients: dict[str, Wire]
    loop: Loop
    lines: list[dict[str, object]]
    stalled: list[str] = field(default_factory=list)
    in_flight: int = 0

    def note_rest(self) -> None:
        """Look whether a client waits for nobody; call it when all has come to rest."""
        asked = any(
            not wire.closing and (wire.writes and not _answered(wire))
            for wire in self.loop.wires
        )
        for wire in self.clients.values():
            if wire.closing or wire.ended or asked or self.loop.dials:
                continue
            messages, _ = read_requests(bytes(wire.came), lenient=True)
            whole = [message for message in messages if message.whole]
            got = len(list(answers_of(wire)))
            if got < len(whole):
                self.stalled.append(f"{wire.name}: {got} of {len(whole)} answers")


def judge(traffic: Traffic) -> None:
    """Raise AssertionError where a rule is broken."""
    assert not traffic.loop.faults, traffic.loop.faults[0]
    assert not traffic.stalled, traffic.stalled[0]
    attempts: list[Attempt] = []
    for wire in traffic.loop.wires:
        attempts += attempts_of(wire)
    attempts.sort(key=lambda attempt: attempt.order)
    named: dict[bytes, Attempt] = {}
    for attempt in attempts:
        name = attempt.said.one(b"x-request-id") or b""
        assert _ID.fullmatch(name), "no id"
        if name in named:
            _check_again(named[name], attempt)
        named[name] = attempt
    for address, wire in traffic.clients.items():
        own = [
            a for a in attempts if a.said.one(b"x-forwarded-for") == address.encode()
        ]
        messages, _ = read_requests(bytes(wire.came), lenient=True)
        _check_forwarded(own, messages)
        _check_answers(wire, messages, named)
    known = {address.encode() for address in traffic.clients}
    assert all(a.said.one(b"x-forwarded-for") in known for a in attempts)
    logged = [line["request_id"] for line in traffic.lines]
    assert len(logged) == len(set(logged)), "two lines for one request"
    assert traffic.in_flight == 0, "a request is counted as being forwarded for ever"
    for wire in traffic.loop.wires:
        assert wire.closing or _answered(wire), "nobody waits for an upstream any more"


def _check_again(first: Attempt, second: Attempt) -> None:
    # RFC 9112 section 9.3.1: on a kept connection that closed without a word.
    said = second.said
    assert first.said.method in _SAFE, "sent twice, and not safe to be"
    assert first.said.length == 0, "sent twice, with a body"
    assert not first.answer, "sent again in spite of an answer"
    assert (first.said.line, first.said.fields) == (said.line, said.fields)
    assert first.wire is not second.wire


def attempts_of(wire: Wire) -> Iterator[Attempt]:
    """Requests that an upstream got, each whole save the last of a connection."""
    out = bytes(wire.out)
    sent, end = read_requests(out, lenient=False)
    assert end == len(out), f"bytes that are no request: {out[end:]!r}"
    begun = [_write_at(wire, said.at) for said in sent]
    for number, said in enumerate(sent):
        after = begun[number][0] if number else 0
        last = number == len(sent) - 1
        until = len(wire.came) if last else begun[number + 1][0]
        attempt = Attempt(
            wire, said, begun[number][1], bytes(wire.came[after:until]), last
        )
        if not last:
            # T24: whatever was left over would be taken for the next one's answer.
            reply = attempt.reply()
            assert reply is not None, "asked again before there was an answer"
            assert reply.whole, "asked again in the middle of an answer"
            assert reply.end == len(attempt.answer), "kept in spite of a left-over"
            assert reply.length != UNTIL_END
            assert b"close" not in reply.options(), "kept although it was to close"
        yield attempt


def _write_at(wire: Wire, at: int) -> tuple[int, int]:
    # How much had come, and which write it was, when the byte at `at` was written.
    came, order = 0, 0
    for start, so_far, number in wire.writes:
        if start > at:
            break
        came, order = so_far, number
    return came, order


def _answered(wire: Wire) -> bool:
    attempts = list(attempts_of(wire))
    if not attempts:
        return True
    reply = attempts[-1].reply()
    return reply is not None and reply.whole


def _check_forwarded(attempts: list[Attempt], messages: list[Said]) -> None:
    """Each attempt is one of the client's messages, in order, and none other's."""
    at, tries = -1, 0
    for attempt in attempts:
        said = attempt.said
        _check_head(attempt)
        if at >= 0 and tries < _tries(messages[at]) and _same(said, messages[at]):
            tries += 1
            continue
        at = next(
            (i for i in range(at + 1, len(messages)) if _same(said, messages[i])), -1
        )
        assert at >= 0, f"sent what no client asked for: {said.line!r}"
        tries = 1


def _tries(message: Said) -> int:
    safe = message.method in _SAFE and message.length == 0
    return _MOST_TRIES if safe else 1


def _same(sent: Said, message: Said) -> bool:
    """Whether the gateway may have made `sent` of this message."""
    target = message.target
    if not target.startswith(b"/"):
        target = b"/" + target.split(b"/", 3)[3]
    if (sent.method, sent.target) != (message.method, target):
        return False
    if message.line.endswith(b" HTTP/1.1") and sent.one(b"host") != message.one(
        b"host"
    ):
        return False
    # T9: what Connection names goes no further, save what it cannot name.
    for name in set(message.options()) - _KEPT - set(_OURS) - {b"via"}:
        if sent.all(name) and sent.all(name) == message.all(name):
            return False
    if sent.whole:
        return message.whole and sent.content == message.content
    return message.content.startswith(sent.content)


def _check_head(attempt: Attempt) -> None:
    sent = attempt.said
    assert sent.line.endswith(b" HTTP/1.1")
    names = [name.lower().replace(b"_", b"-") for name, _ in sent.fields]
    assert names.count(b"host") == 1
    for name, value in _OURS.items():
        # A client of HTTP/1.0 may name no host.
        assert names.count(name) == 1 or (
            name == b"x-forwarded-host" and name not in names
        ), f"{name!r} is not there once"
        assert value is None or sent.one(name) == value, f"a client wrote {name!r}"
    path = unquote_to_bytes(sent.target.partition(b"?")[0])
    private = (path + b"/").startswith(b"/private/")
    told = _TOLD if private else set()
    for name in names:
        known = name in _OURS or name in told
        assert known or not name.startswith(_RESERVED), f"{name!r} came through"
        assert known or not name.startswith(b"x-forwarded-"), f"{name!r} came through"
        assert name not in _HOP_BY_HOP, f"{name!r} came through"
        assert name not in told or names.count(name) == 1, f"{name!r} twice"
    if private:
        for name, value in _IDENTITY.items():
            assert sent.one(name) == value, f"a request without a good {name!r}"
        assert attempt.wire.port == ABROAD, "a user's request went to another region"


def answers_of(wire: Wire) -> Iterator[Said]:
    """Final answers that a client got."""
    messages, _ = read_requests(bytes(wire.came), lenient=True)
    out, at, number = bytes(wire.out), 0, 0
    while at < len(out):
        method = messages[number].method if number < len(messages) else b""
        # Up to the end of the connection, where it was the gateway that ended it.
        clean = (wire.left or wire.ended) and not (
            wire.parted or wire.descriptor.resets
        )
        said = read_answer(out[at:], method, ended=clean)
        if said is None:
            return
        assert said.end > 0
        at += said.end
        number += 1
        yield said


def _check_answers(
    wire: Wire, messages: list[Said], named: dict[bytes, Attempt]
) -> None:
    seen: set[bytes] = set()
    found = list(answers_of(wire))
    assert len(found) <= len(messages) + 1, "more answers than requests"
    for number, said in enumerate(found):
        last = number == len(found) - 1
        assert last or said.whole, "an answer behind one that was cut"
        assert last or b"close" not in said.options(), "an answer behind the last one"
        name = said.one(b"x-request-id") or b""
        assert _ID.fullmatch(name), "an answer without an id"
        assert name not in seen, "two answers for one request"
        seen.add(name)
        assert said.whole or wire.closing, "an answer that is never finished"
        attempt = named.get(name)
        if attempt is None or not _relayed(said, attempt):
            _check_refusal(said, messages[number] if number < len(messages) else None)
            continue
        assert number < len(messages), "an answer to what was refused"
        assert attempt.said.method == messages[number].method, "another's answer"


def _relayed(said: Said, attempt: Attempt) -> bool:
    try:
        reply = attempt.reply()
    except AssertionError:
        return False
    if reply is None or reply.status != said.status:
        return False
    if not said.whole:
        return reply.content.startswith(said.content)
    return reply.whole and reply.content == said.content


def _check_refusal(said: Said, message: Said | None) -> None:
    """It is our own word, not some upstream's answer to somebody else."""
    assert said.status >= 400, f"an answer from nowhere: {said.line!r}"
    assert said.one(b"content-type") == b"application/problem+json"
    assert said.one(b"content-length") is not None
    if message is not None and message.method == b"HEAD":
        return
    if not said.whole:
        return
    problem = json.loads(said.content)
    assert problem["status"] == said.status
    assert problem["request_id"].encode() == said.one(b"x-request-id")
    assert problem["code"] != "internal_error", "a fault of our own"
