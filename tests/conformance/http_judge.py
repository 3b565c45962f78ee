"""Judge: sends every payload through a lane, and says what was wrong with the outcome.

Called by: test_http_vectors.py here, and the command that writes docs/conformance.md.
Each payload goes three ways: whole, byte by byte, and in pieces that end at each CRLF.
Wrong is what its set, read as http_sets.py says, does not want; and a refusal that is
not told as one: a problem body (RFC 9457), `Connection: close`, and then the end.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.http_sets import ACCEPT, REFUSE, SETS, Payload
from tests.conformance.http_wire import LANES, Seen, wire
from tests.conformance.rows import Case, LaneRow
from tests.vectors import find_vectors

# THREATS.md section 7, of what a client can do wrong before a token is looked at.
_REFUSALS = frozenset({400, 405, 408, 413, 414, 417, 421, 431, 501, 505})
# Reason: nothing of a head is longer than these; what comes behind them is one more
# body byte, or a limit that was passed already.
_BYTEWISE = 1_000
_THEN = 1_000
_MAX_PIECES = 20
_BODY = re.compile(rb"\r\n(content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)


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


def rudeness(payload: Payload, seen: Seen) -> str:
    """Return what is wrong with the way a payload was refused, "" for nothing."""
    if payload.want != REFUSE or not any(payload.steps):
        return ""  # to nothing at all there is nothing to say
    begun = seen.begun and not _BODY.search(payload.steps[0])
    faults = {
        "the connection was left open": not seen.closed,
        "some of it was sent upstream": begun,
        "no answer": not seen.statuses,
    }
    return next((why for why, so in faults.items() if so), "") or _last(payload, seen)


def _last(payload: Payload, seen: Seen) -> str:
    head, body = seen.last
    lines = head.split(b"\r\n")
    if len(seen.statuses) == payload.messages:
        # The last good one said that it is the last, and the rest was never looked at.
        return "" if b"connection: close" in lines else "no refusal, and no end"
    status = seen.statuses[-1]
    problem = _problem(body)
    head_only = not body and payload.steps[-1].startswith(b"HEAD ")
    faults = {
        f"answered {status}": status not in _REFUSALS,
        "the refusal does not say that it is the last answer": b"connection: close"
        not in lines,
        "no problem body": b"content-type: application/problem+json" not in lines,
        "an empty body": not body and not head_only,
        "something stands behind the refusal": body
        and b"content-length: %d" % len(body) not in lines,
        "a body that says something else": body and problem.get("status") != status,
        "a body without a code": body and not problem.get("code"),
    }
    return next((why for why, so in faults.items() if so), "")


def _problem(body: bytes) -> dict[str, object]:
    with contextlib.suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return {}


# -- the ways --------------------------------------------------------------------------


def ways(
    steps: Sequence[bytes], *, in_pieces: bool = True
) -> Iterator[list[list[bytes]]]:
    """Yield for each way the segments of each step."""
    yield [[step] for step in steps]
    if in_pieces:
        yield [bytewise(step) for step in steps]
        yield [by_line(step) for step in steps]


def bytewise(payload: bytes) -> list[bytes]:
    """Cut into single bytes; what is long goes on in larger pieces, at most twenty."""
    cut = min(len(payload), _BYTEWISE)
    size = max(_THEN, -(-(len(payload) - cut) // _MAX_PIECES))
    rest = range(cut, len(payload), size)
    return [payload[at : at + 1] for at in range(cut)] + [
        payload[at : at + size] for at in rest
    ]


def by_line(payload: bytes) -> list[bytes]:
    """Cut behind each CRLF."""
    return re.findall(rb".*?\r\n|.+", payload, re.DOTALL)


# -- the run ---------------------------------------------------------------------------


@dataclass
class Judgement:
    """What a run over all sets found: cases by set, and what may never happen.

    rude: By set, why a case was not refused as a refusal has to be.
    """

    cases: dict[str, list[Case]]
    rude: dict[str, dict[str, str]]
    faults: list[str]

    def wrong(self, name: str) -> list[str]:
        """Return the ids of a set that went wrong in any way, each once."""
        differing = [
            case.case_id for case in self.cases[name] if case.accept != case.accepted
        ]
        told = [f"{case_id} ({why})" for case_id, why in self.rude[name].items()]
        return list(dict.fromkeys([*differing, *told]))

    def counts(self, name: str) -> tuple[int, int, int]:
        """Return what was wrongly accepted, wrongly refused, and refused badly.

        An input counts once, however often it was cut, and wrong once is wrong.
        """
        wrong = [case for case in self.cases[name] if case.accept != case.accepted]
        return (
            len({case.case_id for case in wrong if case.accepted}),
            len({case.case_id for case in wrong if case.accept}),
            len(self.rude[name]),
        )


async def judge(folder: Path, lane: str, *, pieces_of: int = 1) -> Judgement:
    """Send every payload whole, and also in pieces, through a lane.

    pieces_of: Every so-manieth payload goes in pieces as well.
    """
    runs: dict[str, list[tuple[Payload, asyncio.Task[Seen]]]] = {}
    async with wire(lane) as open_wire, asyncio.TaskGroup() as tasks:
        for name, read in SETS.items():
            runs[name] = []
            for at, payload in enumerate(read(folder)):
                for segments in ways(payload.steps, in_pieces=at % pieces_of == 0):
                    task = tasks.create_task(open_wire.play(*segments))
                    runs[name].append((payload, task))
        faults = open_wire.faults
    judgement = Judgement({}, {}, faults)
    for name, played in runs.items():
        done = [(payload, task.result()) for payload, task in played]
        judgement.cases[name] = [judged(payload, seen) for payload, seen in done]
        judgement.rude[name] = {
            payload.case_id: why
            for payload, seen in done
            if (why := rudeness(payload, seen))
        }
    return judgement


def rows() -> list[LaneRow]:
    """A line for every set. Raises FileNotFoundError without FASTGATE_VECTORS."""
    folder = find_vectors()
    through = {lane: asyncio.run(judge(folder, lane)) for lane in LANES}
    faults = [fault for found in through.values() for fault in found.faults]
    if faults:
        raise RuntimeError(f"what no payload may bring about: {faults}")
    return [
        LaneRow(
            name,
            len({case.case_id for case in through[LANES[0]].cases[name]}),
            tuple(through[lane].counts(name) for lane in LANES),
            "; ".join(
                f"{lane}: {', '.join(through[lane].wrong(name))}"
                for lane in LANES
                if through[lane].wrong(name)
            )
            or f"{sum(payload.by_rule for payload in read(folder))} refused by rule",
        )
        for name, read in SETS.items()
    ]
