"""Strings that break naive programs, in every place of a request that takes any text.

Called by: test_http_vectors.py here, and the command that writes docs/conformance.md.
The sets have no labels. Wanted is: one answer with one head and no header of the
client's making, one line in the access log, and at the upstream either nothing or the
request as it was sent. What is not so counts as wrongly accepted.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.http_wire import LANES, Seen, Wire, wire
from tests.conformance.rows import Case, LaneRow
from tests.vectors import find_vectors

# What may stand in an answer: of the gateway's own, and of the upstream here.
_ANSWER_HEADERS = frozenset(
    {
        *(b"content-type", b"content-length", b"cache-control", b"date", b"connection"),
        *(b"x-request-id", b"x-target", b"retry-after", b"www-authenticate"),
    }
)
_PLAIN = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)


@dataclass(frozen=True)
class Naughty:
    """A request, and what the upstream may see of it: this target and this header."""

    case_id: str
    target: bytes
    header: bytes = b""

    @property
    def payload(self) -> bytes:
        """The bytes that are sent."""
        lines = [b"GET %b HTTP/1.1" % self.target, b"Host: localhost"]
        if self.header:
            lines += [b"X-Naughty: " + self.header, b"User-Agent: " + self.header]
        return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def blns(folder: Path) -> Iterator[Naughty]:
    """Each string encoded in path and query, raw in headers, and raw in the target."""
    strings = json.loads((folder / "blns/blns.json").read_bytes())
    for at, text in enumerate(strings):
        raw = text.encode()
        coded = b"".join(
            b"%c" % byte if byte in _PLAIN else b"%%%02X" % byte for byte in raw
        )
        yield Naughty(f"{at} encoded", b"/a-%b?q=%b" % (coded, coded))
        yield Naughty(f"{at} in headers", b"/", raw)
        yield Naughty(f"{at} raw", b"/" + raw)


def crlf(folder: Path) -> Iterator[Naughty]:
    """Line breaks in a path, encoded in all kinds of ways."""
    lines = (folder / "crlf/crlfinjection.txt").read_bytes().splitlines()
    for at, line in enumerate(filter(None, lines)):
        yield Naughty(f"{at}", line)


SETS = {
    "Naughty strings in requests": (blns, "one line, one head, path whole or refused"),
    "CRLF injection": (crlf, "likewise"),
}


def harmless(naughty: Naughty, seen: Seen) -> bool:
    """Tell whether nothing of the string got out of its place."""
    head = seen.raw.partition(b"\r\n\r\n")[0]
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    if seen.raw.count(b"HTTP/1.1 ") != 1 or not names <= _ANSWER_HEADERS:
        return False
    if seen.statuses != [200]:
        return seen.statuses in ([400], [414], [431]) and not seen.arrived
    if len(seen.arrived) != 1:
        return False
    request = seen.arrived[0]
    sent = naughty.header.strip(b" \t")
    return (
        request.target == naughty.target and (request.one("x-naughty") or b"") == sent
    )


async def judge(folder: Path, lane: str) -> tuple[dict[str, list[Case]], Wire]:
    """Send every string through a lane; returns the cases by set, and the wire."""
    runs: dict[str, list[tuple[Naughty, asyncio.Task[Seen]]]] = {}
    async with wire(lane) as open_wire, asyncio.TaskGroup() as tasks:
        for name, (read, _) in SETS.items():
            runs[name] = [
                (naughty, tasks.create_task(open_wire.play([naughty.payload])))
                for naughty in read(folder)
            ]
    cases = {
        name: [
            Case(sent.case_id, accept=False, accepted=not harmless(sent, task.result()))
            for sent, task in played
        ]
        for name, played in runs.items()
    }
    return cases, open_wire


def rows() -> list[LaneRow]:
    """A line for every set. Raises FileNotFoundError without FASTGATE_VECTORS."""
    folder = find_vectors()
    through = {lane: asyncio.run(judge(folder, lane)) for lane in LANES}
    faults = [fault for _, sent in through.values() for fault in sent.faults]
    if faults:
        raise RuntimeError(f"what no string may bring about: {faults}")
    return [
        LaneRow(
            name,
            len(through[LANES[0]][0][name]),
            tuple(
                (sum(case.accepted for case in through[lane][0][name]), 0, 0)
                for lane in LANES
            ),
            note,
        )
        for name, (_, note) in SETS.items()
    ]
