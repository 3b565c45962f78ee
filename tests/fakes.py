"""A fake per port, each written with its port."""

from collections import Counter
from collections.abc import Callable, Mapping

import orjson

from fastgate._ext import counters
from fastgate.domain.decision import Asked, Decision
from fastgate.domain.introspection import IntrospectionAnswer
from fastgate.domain.metric_plan import TABLE_COLUMNS
from fastgate.domain.request import RequestHead
from fastgate.domain.route import Route
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.token import IssuerProfile
from fastgate.domain.verdict import Reason, Verdict


class FakeClock:
    """ports.Clock that a test moves by hand; both clocks move together unless set."""

    def __init__(self, *, wall_s: float = 1_800_000_000.0, boot_ns: int = 10**12):
        self._wall_s = wall_s
        self._boot_ns = boot_ns

    def wall_s(self) -> float:
        return self._wall_s

    def boot_ns(self) -> int:
        return self._boot_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall_s += seconds
        self._boot_ns += round(seconds * 1e9)

    def set_wall(self, wall_s: float) -> None:
        """Set the wall clock, as an administrator or NTP would."""
        self._wall_s = wall_s


class FakeGate:
    """The gate as the relay sees it: allows what a route matches, or does as told.

    script: Called with (head, snapshot, asked) before each decision; what it returns,
        unless None, is the decision.
    """

    def __init__(self, script: "Script | None" = None) -> None:
        self.script = script
        self.heads: list[RequestHead] = []
        self.instants: list[tuple[int, int]] = []

    def decide(
        self,
        head: RequestHead,
        snapshot: Snapshot,
        wall_s: int,
        boot_ns: int,
        asked: Asked | None = None,
    ) -> Decision:
        self.heads.append(head)
        self.instants.append((wall_s, boot_ns))
        if self.script is not None:
            decision = self.script(head, snapshot, asked)
            if decision is not None:
                decision.decided_boot_ns = boot_ns
                return decision
        decision = Decision()
        decision.decided_boot_ns = boot_ns
        decision.route = matching_route(snapshot, head.path)
        if decision.route is None:
            decision.verdict = Verdict.DENY
            decision.reason = Reason.NO_ROUTE
            return decision
        decision.verdict = Verdict.ALLOW
        decision.region = snapshot.regions.own
        return decision


def matching_route(snapshot: Snapshot, path: str) -> Route | None:
    """The route with the longest prefix of a path."""
    fitting = [r for r in snapshot.routes.routes if path.startswith(r.prefix)]
    return max(fitting, key=lambda route: len(route.prefix), default=None)


Script = Callable[[RequestHead, Snapshot, Asked | None], Decision | None]


def decided(
    verdict: Verdict, snapshot: Snapshot, head: RequestHead, **fields: object
) -> Decision:
    """A decision for the route of `head`, with further attributes set."""
    decision = Decision()
    decision.verdict = verdict
    decision.route = matching_route(snapshot, head.path)
    decision.region = snapshot.regions.own
    for name, value in fields.items():
        setattr(decision, name, value)
    return decision


class FakeKeyAsker:
    """ports.KeyAsker that remembers what it was asked, and may act then."""

    def __init__(self, on_ask: Callable[[], None] = lambda: None) -> None:
        self.asked: list[str | None] = []
        self._on_ask = on_ask

    async def ask(self, issuer: IssuerProfile, kid: str | None) -> None:
        del issuer
        self.asked.append(kid)
        self._on_ask()


class FakeIntrospector:
    """ports.Introspector with one answer for everything."""

    def __init__(self, answer: IntrospectionAnswer) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, int, int]] = []
        self.forgotten: list[bytes] = []

    async def ask(
        self,
        issuer: IssuerProfile,
        token: bytes,
        region: int,
        *,
        fresh_ns: int = 0,
        peer: str = "",
    ) -> IntrospectionAnswer:
        del issuer, peer
        self.asked.append((token, region, fresh_ns))
        return self.answer

    def forget(self, issuer: IssuerProfile, token: bytes) -> None:
        del issuer
        self.forgotten.append(token)


class FakeAccessLog:
    """ports.AccessLog that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def write(self, line: Mapping[str, object]) -> None:
        self.lines.append(dict(line))

    def form(self, fields: Mapping[str, object]) -> bytes:
        return orjson.dumps(fields)[1:]

    def write_formed(self, form: bytes, peer: str, status: int, own: bytes) -> None:
        line = orjson.loads(b"{" + own + form)
        assert line["status"] == status
        self.lines.append({"peer": peer, **line})


class FakeMeter:
    """ports.Meter over memory of its own, whose columns can be read."""

    def __init__(self) -> None:
        memory = bytearray(counters.size(1, TABLE_COLUMNS))
        self._table = counters.CounterTable(memory, 1, TABLE_COLUMNS)
        row = counters.CounterRow(memory, 0, TABLE_COLUMNS)
        self.add, self.column = row.add, row.column
        self.histogram, self.served = row.histogram, row.served

    @property
    def columns(self) -> Counter[int]:
        """What was added to each column."""
        found = self._table.nonzero(0, TABLE_COLUMNS)
        half = 1 << 63
        return Counter({place: n - 2 * half if n >= half else n for place, n in found})
