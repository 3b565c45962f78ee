"""Live: exchanges that go on - WebSockets, event streams, downloads - judged again.

Owns:      the set of the general lane's exchanges, and when each of a worker is judged.
Called by: hotpath.relay and hotpath.session_events enter what they serve; the compiled
           lane is asked for what it has; wiring starts one object per worker.
Source:    REVOCATION.md section 1 ("Open streams ... are judged again every
           `max_staleness`; an urgent event ends them at once") and section 5.

The gate judges, by the rules of a new request: there is no second copy of them. Nothing
here costs a request that is over soon: the lanes are walked when the urgent counter in
shared memory has moved, and twice a second for what is due.
"""

import abc
import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fastgate.domain.decision import Asked, Decision
from fastgate.domain.introspection import IntrospectionAnswer
from fastgate.domain.request import RequestHead
from fastgate.domain.snapshot import Snapshot, SnapshotCell
from fastgate.domain.verdict import Reason, Verdict
from fastgate.errors import BugError
from fastgate.hotpath.faults import log_fault
from fastgate.hotpath.flow import Flow
from fastgate.ports import Clock, Introspector

if TYPE_CHECKING:
    from fastgate.hotpath.relay import Decider

__all__ = ["Case", "Lasting", "LiveExchanges", "OpenFlow", "PlainLane"]

# Reason: a look at one word of shared memory; an urgent event is acted on in a blink.
_TICK_S = 0.05
# Reason: urgent events in a flood must not take the worker from its requests.
_WALK_SHARE = 4
_MOST_PAUSE_S = 0.5
_LOOK_NS = 500_000_000
# Reason: as in hotpath.forward: within a second the decision of the beginning counts.
_YOUNG_NS = 1_000_000_000
# Reason: about half a millisecond of decisions; between two slices the loop runs.
_SLICE = 128
# Reason: more questions at once are a flood; what cannot be asked is not known to hold.
_MAX_QUESTIONS = 256


class Case(NamedTuple):
    """What an exchange is judged by.

    answer: The issuer's word about an opaque token, by which it was admitted.
    """

    head: RequestHead
    snapshot: Snapshot
    decision: Decision
    answer: IntrospectionAnswer | None = None


class Lasting(abc.ABC):
    """An exchange that may last.

    judged_ns: When it was last judged. every_ns: How often it is to be.
    outlives: It may go on past the expiry of its token, though not past a revocation.
    """

    __slots__ = ("every_ns", "judged_ns", "outlives")

    def __init__(self, judged_ns: int, every_ns: int, *, outlives: bool) -> None:
        self.judged_ns = judged_ns
        self.every_ns = every_ns
        self.outlives = outlives

    @abc.abstractmethod
    def case(self) -> Case:
        """Return what it is judged by."""

    def is_due(self, walked_ns: int, now_ns: int) -> bool:
        """Tell whether to judge it now.

        walked_ns: What was decided before is to be judged again at once.
        """
        age_ns = now_ns - self.judged_ns
        return self.judged_ns <= walked_ns or age_ns >= self.every_ns

    def renew(self, now_ns: int) -> None:
        """Learn that it may go on."""
        self.judged_ns = now_ns

    @abc.abstractmethod
    def end(self, reason: Reason) -> None:
        """End it, where it is not over already."""


class PlainLane(Protocol):
    """The compiled lane; see _ext.http1.Lane."""

    def lasting(self, walked_ns: int, now_ns: int) -> "Sequence[PlainFront]":
        """Return connections with an answer under way that is to be judged now."""
        ...


class PlainFront(Protocol):
    """A connection of the compiled lane; see _ext.http1.Downstream."""

    def under_way(self) -> tuple[int, RequestHead, Snapshot, Decision]:
        """Return the exchange of this moment; the number is its name."""
        ...

    def renew_exchange(self, began_ns: int, now_ns: int) -> None:
        """Learn that it may go on."""
        ...

    def end_exchange(self, began_ns: int, reason: str) -> None:
        """End it, where it is still under way."""
        ...


class OpenFlow(Lasting):
    """An exchange of the general lane."""

    __slots__ = ("_flow", "_limit")

    def __init__(self, flow: Flow, limit: asyncio.Timeout, every_ns: int) -> None:
        _, _, decision = flow.admitted()
        # A WebSocket has no end of its own; a client opens it anew with a new token.
        lasts = not flow.websocket
        super().__init__(decision.decided_boot_ns, every_ns, outlives=lasts)
        self._flow = flow
        self._limit = limit

    def case(self) -> Case:
        """Return what it is judged by."""
        flow = self._flow
        inbound, _, decision = flow.admitted()
        return Case(inbound.head, flow.snapshot, decision, flow.asked.introspection)

    def is_due(self, walked_ns: int, now_ns: int) -> bool:
        """Tell whether to judge it now."""
        if not self._flow.begun_ns and now_ns - self.judged_ns < _YOUNG_NS:
            return False  # the upstream is at it: its answer is waited for
        return super().is_due(walked_ns, now_ns)

    def end(self, reason: Reason) -> None:
        """Let its time run out now."""
        if self._flow.ended is None:
            self._flow.ended = reason
            with contextlib.suppress(RuntimeError):  # it is over already
                self._limit.reschedule(asyncio.get_running_loop().time())


class PlainExchange(Lasting):
    """An exchange of the compiled lane, which keeps its times itself."""

    __slots__ = ("_began_ns", "_case", "_front")

    def __init__(self, front: PlainFront) -> None:
        super().__init__(0, 0, outlives=True)
        self._front = front
        self._began_ns, head, snapshot, decision = front.under_way()
        self._case = Case(head, snapshot, decision)

    def case(self) -> Case:
        """Return what it is judged by."""
        return self._case

    def renew(self, now_ns: int) -> None:
        """Tell the lane."""
        self._front.renew_exchange(self._began_ns, now_ns)

    def end(self, reason: Reason) -> None:
        """Tell the lane."""
        self._front.end_exchange(self._began_ns, reason.value)


class LiveExchanges:
    """What lasts at one worker, and its judging.

    urgent: Reads the counter of urgent events in shared memory.
    lane: The compiled one, once there is one.
    """

    def __init__(
        self,
        *,
        gate: "Decider",
        cell: SnapshotCell,
        clock: Clock,
        introspector: Introspector,
        urgent: Callable[[], int],
    ) -> None:
        self._gate = gate
        self._cell = cell
        self._clock = clock
        self._introspector = introspector
        self._urgent = urgent
        self.lane: PlainLane | None = None
        self._open: set[Lasting] = set()
        self._seen = urgent()
        self._walked_ns = 0
        self._looked_ns = 0
        self._task: asyncio.Task[None] | None = None
        self._questions: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        tasks = set(self._questions)
        if self._task is not None:
            tasks.add(self._task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.contextmanager
    def watched(self, lasting: Lasting) -> Iterator[None]:
        """Judge an exchange again for as long as it goes on."""
        self._open.add(lasting)
        try:
            yield
        finally:
            self._open.discard(lasting)

    async def _run(self) -> None:
        while True:
            began_ns = self._clock.boot_ns()
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the last border of this task
                log_fault(error)
            spent_s = (self._clock.boot_ns() - began_ns) / 1e9
            pause_s = max(_TICK_S, min(_MOST_PAUSE_S, spent_s * _WALK_SHARE))
            await asyncio.sleep(pause_s)

    async def look(self) -> None:
        """Judge everything where the counter moved, else what is due."""
        now_ns = self._clock.boot_ns()
        count = self._urgent()
        if count != self._seen:
            # Read before the walk: what comes during it moves the counter again. What
            # is too young for it is judged by a later look, being older than this.
            self._seen, self._walked_ns = count, now_ns
        elif now_ns - self._looked_ns < _LOOK_NS:
            return
        self._looked_ns = now_ns
        for number, lasting in enumerate(self._due(now_ns)):
            self._judge(lasting)
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)

    def _due(self, now_ns: int) -> Iterable[Lasting]:
        due: list[Lasting] = [
            lasting for lasting in self._open if lasting.is_due(self._walked_ns, now_ns)
        ]
        if self.lane is not None:
            fronts = self.lane.lasting(self._walked_ns, now_ns)
            due.extend(PlainExchange(front) for front in fronts)
        return due

    def _judge(self, lasting: Lasting) -> None:
        """Judge by what is known; ask the issuer where the gate wants to know more."""
        case = lasting.case()
        # An opaque token's keys are known, so a revocation shows without a question;
        # whether the issuer still calls it active is asked in its turn.
        now_ns = self._clock.boot_ns()
        due = now_ns - lasting.judged_ns >= lasting.every_ns
        known = None if case.decision.credential and due else case.answer
        decision = self._decide(lasting, case, known)
        if decision.verdict is not Verdict.ASK_INTROSPECTION:
            self._settle(lasting, decision)
        elif len(self._questions) >= _MAX_QUESTIONS:
            lasting.end(Reason.INTROSPECTION_UNAVAILABLE)
        else:
            # Asked once a turn, however long the answer takes.
            lasting.renew(now_ns)
            task = asyncio.create_task(self._ask(lasting, case, decision))
            self._questions.add(task)
            task.add_done_callback(self._questions.discard)

    def _decide(
        self, lasting: Lasting, case: Case, answer: IntrospectionAnswer | None
    ) -> Decision:
        asked = Asked()
        asked.key_asked = True  # a key that has gone does not come back by asking
        asked.introspection = answer
        wall_s = int(self._clock.wall_s())
        facts = case.decision.facts
        if lasting.outlives and facts is not None and facts.exp >= 0:
            # As of the last second of the token, with the revocations of this moment.
            wall_s = min(wall_s, facts.exp - 1)
        snapshot, current = case.snapshot, self._cell.current
        if current.version == snapshot.version:
            snapshot = current  # the same configuration, with the keys there are by now
        now_ns = self._clock.boot_ns()
        try:
            return self._gate.decide(case.head, snapshot, wall_s, now_ns, asked)
        except Exception as error:  # noqa: BLE001 - a gate that fails allows nothing
            log_fault(error)
            decision = Decision()
            decision.verdict, decision.reason = Verdict.DENY, Reason.INTERNAL
            return decision

    def _settle(self, lasting: Lasting, decision: Decision) -> None:
        if decision.verdict is Verdict.ALLOW:
            lasting.renew(self._clock.boot_ns())
        else:
            lasting.end(decision.reason or Reason.INTERNAL)

    async def _ask(self, lasting: Lasting, case: Case, decision: Decision) -> None:
        route = decision.route
        if route is None or route.issuer is None:
            raise BugError("the gate asked about a token of no issuer")
        region = decision.region
        answer = await self._introspector.ask(
            route.issuer,
            decision.credential,
            region if region >= 0 else case.snapshot.regions.default,
            fresh_ns=route.max_staleness_ns,
        )
        self._settle(lasting, self._decide(lasting, case, answer))
