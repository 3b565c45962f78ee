"""A gateway with both lanes, real gate and rules, between wires that the fuzzer holds.

Owns:      what an input means: steps, each by a letter, with 0xFF between.
Called by: tests.fuzz.targets. tests.fuzz.lane_rules judges what came of the steps.
Source:    DESIGN section 6; THREATS T1, T9, T24, U1, U3, U6.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.fakes import FakeClock, FakeMeter
from tests.fuzz.lane_rules import ABROAD, TOKEN, Traffic, judge
from tests.fuzz.wires import Loop, Wire
from tests.lane_kit import Gateway, issuer_profile, service, snapshot_of
from tests.tokens import ISSUER, signing_key

from fastgate._ext.decisions import DecisionCache
from fastgate.domain.revocation import KeyHasher
from fastgate.domain.route import Route
from fastgate.domain.snapshot import Snapshot, Timers
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys
from fastgate.hotpath.tally import Tally

STEP = b"\xff"
# Reason: a timer that is due at once; the fuzzer says when one is looked at.
_SOON_S = 1e-6
_NEVER_S = 1e6
_MOST_STEPS = 64
_CLIENTS = ("127.0.0.1", "127.0.0.2")
# Longer than any timer of a dial, and than a decision lives while it waits for one.
_LONG_S, _LATE_S = 3.0, 1.5
# What stands in an input for the one good token of this process.
_GOOD = b"{token}"


class Revocations:
    """A view of the index in which nothing is revoked."""

    def check(self, *_: object) -> int:
        return 1

    def evidence(self, _origin: int) -> int:
        return 0


def _snapshot() -> Snapshot:
    lives = service("http://127.0.0.1:9001", us=(f"http://127.0.0.1:{ABROAD}",))
    pair = service("http://127.0.0.1:9001", "http://127.0.0.1:9002")
    timers = {"upstream_timeout_s": _SOON_S, "idle_timeout_s": _SOON_S}
    login = issuer_profile(issuer=ISSUER, hasher=KeyHasher(b"", ISSUER))
    keys = build_keys([signing_key().jwk()], last_fetch_ok=True)
    return snapshot_of(
        Route(0, "public", "/", lives, **timers),
        Route(1, "private", "/private/", lives, issuer=login, **timers),
        Route(2, "small", "/small/", lives, body_limit_bytes=4, **timers),
        Route(3, "body", "/body/", lives, get_body=True, **timers),
        Route(4, "two", "/two/", pair, **timers),
        Route(5, "oauth", "/oauth/", lives, oauth=True, **timers),
        issuers=(login,),
        keys=(keys,),
        timers=Timers(
            first_byte_s=_SOON_S,
            head_s=_SOON_S,
            # The lane reads a clock of its own between body bytes.
            body_idle_s=_NEVER_S,
            keep_alive_s=_SOON_S,
        ),
    )


SNAPSHOT = _snapshot()
METER = FakeMeter()
# Made once: the plan of its columns takes longer than all the steps of an input.
TALLY = Tally.of(SNAPSHOT, METER)


@dataclass
class World:
    """One gateway, its clients and its upstreams."""

    loop: Loop
    gateway: Gateway
    clients: dict[str, Wire] = field(default_factory=dict)
    dials_wait: bool = False

    @classmethod
    def make(cls, loop: Loop) -> "World":
        """Build what wiring builds, with a fake clock and nothing listening."""
        gateway = Gateway(
            SNAPSHOT,
            gate=Gate(DecisionCache(64), Revocations()),
            clock=FakeClock(),
            tally=TALLY,
        )
        return cls(loop, gateway)

    def client(self, number: int) -> Wire:
        """A client's connection, made when it is first named."""
        address = _CLIENTS[number]
        if address not in self.clients:
            wire = Wire(self.loop, f"client{number}", address, 4711)
            self.clients[address] = wire
            wire.connect(self.gateway.lane._acceptor())
        return self.clients[address]

    def upstream(self, *, newest: bool) -> Wire | None:
        """The connection that waits longest for an answer, or was made last."""
        there = [wire for wire in self.loop.wires if not wire.closing]
        if newest or not there:
            return there[-1] if there else None
        asked = [w for w in there if w.writes and w.writes[-1][1] == len(w.came)]
        return (asked or there)[0]

    def settle(self) -> None:
        """Come to rest; dials succeed unless the fuzzer answers them."""
        self.loop.settle()
        while not self.dials_wait and self.loop.answer_dial(None):
            self.loop.settle()

    def step(self, letter: bytes, data: bytes) -> None:
        """Do one thing; a letter that means nothing is a client's bytes."""
        up = self.upstream(newest=letter in b"WX")
        data = data.replace(_GOOD, TOKEN)
        match letter:
            case b"D" if data:
                self.client(1).feed(data)
            case b"U" | b"W":
                if up is not None and data:
                    up.feed(data)
            case b"E" | b"X":
                if up is not None:
                    up.feed(None)
            case b"R":
                if up is not None:
                    up.feed(ConnectionResetError())
            case b"F":
                self.loop.answer_dial(ConnectionRefusedError())
            case b"S":
                self.loop.answer_dial(None)
            case b"H":
                self.dials_wait = not self.dials_wait
            case b"e":
                self.client(len(data) % 2).feed(None)
            case b"r":
                self.client(len(data) % 2).feed(ConnectionResetError())
            case b"p":
                self.client(len(data) % 2).choke(not self.client(len(data) % 2).full)
            case b"P":
                if up is not None:
                    up.choke(not up.full)
            case b"t":
                seconds = _LATE_S if data else _LONG_S
                self.gateway.clock.advance(seconds)
                self.loop.elapse(seconds)
            case b"g":
                self.gateway.lane.draining = True
            case b"n":
                self.gateway.cell.current = replace(SNAPSHOT, version=2)
            case _ if data:
                self.client(0).feed(data)

    def release(self) -> None:
        """Let everybody take everything again, and every dial succeed."""
        self.dials_wait = False
        for wire in (*self.clients.values(), *self.loop.wires):
            wire.choke(False)
        self.settle()

    def part(self) -> None:
        """Let every client go; what is left upstream must be at rest."""
        for wire in self.clients.values():
            wire.part()
        self.settle()
        self.loop.elapse(_LONG_S)


@contextlib.contextmanager
def running() -> Iterator[Loop]:
    """Be the running loop, and take every word logged as an error for a fault."""
    loop = Loop()
    heard = _Errors(loop)
    logging.getLogger("fastgate").addHandler(heard)
    asyncio._set_running_loop(loop)
    try:
        yield loop
    finally:
        asyncio._set_running_loop(None)
        logging.getLogger("fastgate").removeHandler(heard)


class _Errors(logging.Handler):
    def __init__(self, loop: Loop) -> None:
        super().__init__(logging.ERROR)
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.faults.append(f"logged: {record.getMessage()}")


def in_flight() -> int:
    """How many requests are counted as being forwarded."""
    find = TALLY._plan.column
    names = SNAPSHOT.route_names()
    places = (find("fastgate_requests_in_flight", name) for name in names)
    return sum(METER._table.value(0, place) for place in places)


def play(data: bytes) -> Traffic:
    """Do the steps of an input and return what went over the wires."""
    before = in_flight()
    with running() as loop:
        world = World.make(loop)
        for part in data.split(STEP)[:_MOST_STEPS]:
            # "+" before a step: it comes before anything that is due has run.
            at_once = part.startswith(b"+")
            letter, rest = part[at_once:][:1], part[at_once:][1:]
            if not at_once:
                world.settle()
            world.step(letter, rest)
        world.settle()
        world.release()
        traffic = Traffic(world.clients, loop, world.gateway.log.lines)
        traffic.note_rest()
        world.part()
        traffic.in_flight = in_flight() - before
        world.gateway.lane.close()
        world.gateway.pool.close()
        loop.settle()
    return traffic


def check_lane(data: bytes) -> None:
    """Whatever clients and upstreams do, nobody gets what is another's."""
    judge(play(data))
