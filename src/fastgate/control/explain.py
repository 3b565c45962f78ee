"""Explain: what the gate decides about a token and request, step by step.

Owns:      nothing; it asks a gate of the agent's own, which caches nothing.
Called by: control.agent for `POST /v1/explain`. Never logs what it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from fastgate.domain.decision import Asked, Decision
from fastgate.domain.request import RequestHead
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.target import parse_target
from fastgate.domain.verdict import OUTCOMES, Reason, Verdict
from fastgate.ports import Clock, Introspector

__all__ = ["Decider", "Explainer"]

# Reason: as many questions as the gate can have about one request.
_MAX_QUESTIONS = 6


class Decider(Protocol):
    """The gate, as an explanation uses it."""

    def decide(
        self,
        head: RequestHead,
        snapshot: Snapshot,
        wall_s: int,
        boot_ns: int,
        asked: Asked | None = None,
        trace: list[tuple[str, str]] | None = None,
    ) -> Decision:
        """Judge a request and note each step."""
        ...


class Explainer:
    """Runs the one order of checks with a trace.

    gate: With its own decision cache, so that every step is shown anew.
    introspector: Asked about opaque tokens, as a worker would.
    evidence: Returns as of when an origin (by index) is known, CLOCK_BOOTTIME ns.
    """

    def __init__(
        self,
        gate: Decider,
        clock: Clock,
        introspector: Introspector,
        evidence: Callable[[int], int],
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._introspector = introspector
        self._evidence = evidence

    async def explain(
        self,
        snapshot: Snapshot,
        *,
        token: str | None,
        method: str,
        path: str,
        cookies: str | None,
        form: Mapping[str, Sequence[str]] | None,
    ) -> dict[str, Any]:
        """Return the checks in order with the outcome of each, and the decision.

        path: A request target; what parsing refuses is explained too.
        The keys are those that are held: nothing is fetched for an unknown kid.
        """
        steps: list[tuple[str, str]] = []
        target = parse_target(path.encode("utf-8", "surrogatepass"))
        if target is None:
            steps.append(("framing", "the target is ambiguous or malformed"))
            return _refused(steps, Reason.BAD_REQUEST)
        raw, _, query = target.raw.partition(b"?")
        del raw
        head = RequestHead(
            method,
            target.path,
            authorization=None
            if token is None
            else b"Bearer " + token.encode("utf-8", "surrogatepass"),
            cookie=cookies,
            query=query,
            form=form,
            encoded_separators=target.encoded_separators,
        )
        decision = await self._decide(head, snapshot, steps)
        return _shown(decision, snapshot, steps) | self._freshness(decision, snapshot)

    def _freshness(self, decision: Decision, snapshot: Snapshot) -> dict[str, Any]:
        """Return how old the evidence is that a verified token was judged by."""
        facts, route = decision.facts, decision.route
        if facts is None or route is None:
            return {}
        home = facts.region
        origins = (
            [snapshot.origins[home]] if home >= 0 else range(len(snapshot.origin_names))
        )
        now_ns = self._clock.boot_ns()
        ages = {
            snapshot.origin_names[origin]: (
                round((now_ns - seen) / 1e9, 3)
                if (seen := self._evidence(origin))
                else None
            )
            for origin in origins
        }
        limit_s = route.max_staleness_ns / 1e9
        return {"freshness": {"age_s": ages, "limit_s": limit_s}}

    async def _decide(
        self, head: RequestHead, snapshot: Snapshot, steps: list[tuple[str, str]]
    ) -> Decision:
        asked = Asked()
        for _ in range(_MAX_QUESTIONS):
            trace: list[tuple[str, str]] = []
            decision = self._gate.decide(
                head,
                snapshot,
                int(self._clock.wall_s()),
                self._clock.boot_ns(),
                asked,
                trace,
            )
            if decision.verdict is Verdict.ASK_KEY:
                asked.key_answered(decision)
                steps.append(("key", f"kid {decision.ask_kid!r} is not held"))
            elif decision.verdict is Verdict.ASK_INTROSPECTION:
                await self._ask(decision, snapshot, asked)
            elif decision.verdict is Verdict.ASK_FORM:
                head.form = {}
                steps.append(("form", "none was given"))
            else:
                steps.extend(trace)
                return decision
        return decision

    async def _ask(self, decision: Decision, snapshot: Snapshot, asked: Asked) -> None:
        route = decision.route
        if route is None or route.issuer is None:
            return
        region = decision.region if decision.region >= 0 else snapshot.regions.default
        asked.introspection = await self._introspector.ask(
            route.issuer,
            decision.credential,
            region,
            fresh_ns=route.max_staleness_ns if decision.stale_question else 0,
        )


def _refused(steps: list[tuple[str, str]], reason: Reason) -> dict[str, Any]:
    return {
        "verdict": "deny",
        "reason": reason.value,
        "status": OUTCOMES[reason].status,
        "steps": [{"step": step, "outcome": outcome} for step, outcome in steps],
    }


def _shown(
    decision: Decision, snapshot: Snapshot, steps: list[tuple[str, str]]
) -> dict[str, Any]:
    names = snapshot.regions.names
    shown: dict[str, Any] = {
        "verdict": decision.verdict.name.lower(),
        "reason": decision.reason.value if decision.reason else None,
        "status": OUTCOMES[decision.reason].status if decision.reason else 200,
        "route": decision.route.name if decision.route else None,
        "token": decision.kind,
        "region": names[decision.region] if decision.region >= 0 else None,
        "source": decision.source.value if decision.region >= 0 else None,
        "conflict": decision.conflict.value if decision.conflict else None,
        "steps": [{"step": step, "outcome": outcome} for step, outcome in steps],
    }
    facts = decision.facts
    if facts is not None:
        shown["facts"] = {
            "kid": facts.kid,
            "expires": facts.exp,
            "issued": facts.iat,
            "audience": sorted(facts.audience),
            "scope": sorted(facts.scope),
            "revocable_by": list(dict.fromkeys(facts.revocation_kinds)),
        }
    return shown
