"""Introspection: what issuers say of opaque tokens, asked seldom, remembered briefly.

Owns:      the answers of one worker (active ones, inactive ones), its flights, and a
           breaker and a queue per endpoint. Of tokens it keeps digests only.
Called by: both lanes, through ports.Introspector; one object per worker.
Source:    RFC 7662; PROTOCOLS.md section 4; THREATS.md T12, I8-I10, F17;
           CVE-2026-33496, CVE-2026-71326.

Expiry, freshness, revocation, audience, scope and region are judged by the gate on each
request, cached or not; so only the issuer's word that claims have changed purges one.
"""

import asyncio
import hashlib
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from cachetools import LRUCache

from fastgate.control.breaker import Breaker, Leave
from fastgate.control.changed_users import ChangedUsers
from fastgate.control.introspection_answer import Reading, question, read_answer
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.region import NO_REGION
from fastgate.domain.token import Introspection, IssuerProfile
from fastgate.errors import BadAnswerError, BugError, ControlError
from fastgate.ports import Clock, FailureLimiter, Fetcher

__all__ = ["IntrospectionLimits", "Introspections"]

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
# Source: THREATS.md section 4.
_MAX_ANSWER_BYTES = 64 * 1024
# Reason: answers that came together must not end together.
_JITTER = 0.1
# Reason: digest, answer object and table entry, beside the payload.
_ENTRY_BYTES = 512
_BUSY_RETRY_S = 1
_NOT_ASKED = IntrospectionAnswer(AnswerKind.NOT_ASKED, retry_after_s=_BUSY_RETRY_S)


@dataclass(frozen=True, slots=True)
class IntrospectionLimits:
    """Bounds of one worker.

    concurrent, waiting: Calls under way and callers queued, per endpoint; what comes
        beyond is answered UNAVAILABLE at once.
    active_bytes: Memory for active answers, the least recently used go first.
    inactive_count: Remembered refusals; apart, so that a flood of bad tokens pushes no
        good answer out.
    """

    concurrent: int = 64
    waiting: int = 256
    active_bytes: int = 32 * 1024 * 1024
    inactive_count: int = 10_000


class _Endpoint:
    """One endpoint of one issuer: who is asking, how often, and whether it answers.

    due_ns: When the calls made so far would all have been made at the rate.
    """

    __slots__ = ("breaker", "due_ns", "load", "slots")

    def __init__(self, limits: IntrospectionLimits, rng: random.Random) -> None:
        self.slots = asyncio.Semaphore(limits.concurrent)
        self.load = 0
        self.due_ns = 0
        self.breaker = Breaker(rng)


class Introspections:
    """A ports.Introspector with caches, single flights and breakers.

    alarms: Called with alarm, issuer alias and whether it holds, on each change.
    failures: Bounds the inactive tokens of each client; None: no bound.
    workers: How many share the rate of an endpoint.
    """

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        clock: Clock,
        alarms: Callable[[str, str, bool], None],
        rng: random.Random | None = None,
        limits: IntrospectionLimits | None = None,
        failures: FailureLimiter | None = None,
        workers: int = 1,
    ) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._alarms = alarms
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._limits = limits or IntrospectionLimits()
        self._failures = failures
        self._workers = workers
        self._active: LRUCache[bytes, IntrospectionAnswer] = LRUCache(
            self._limits.active_bytes,
            getsizeof=lambda answer: len(answer.payload) + _ENTRY_BYTES,
        )
        self._changed = ChangedUsers()
        self._inactive: LRUCache[bytes, IntrospectionAnswer] = LRUCache(
            self._limits.inactive_count
        )
        self._flights: dict[bytes, asyncio.Task[IntrospectionAnswer]] = {}
        self._endpoints: dict[tuple[str, str], _Endpoint] = {}
        self._raised: dict[tuple[str, str], set[str]] = {}
        self._counts = dict.fromkeys(("hits", "joined", "asked", "turned_away"), 0)

    # -- ports.Introspector -----------------------------------------------------------

    def cached(
        self, issuer: IssuerProfile, token: bytes, boot_ns: int, region: int = NO_REGION
    ) -> IntrospectionAnswer | None:
        """Return a reusable answer without any I/O.

        region: Index of the region that would be asked; its endpoint's word counts.
            Without it any endpoint may vouch for the token, and a refusal counts only
            where there is a single endpoint, since another one may know the token.
        """
        how = issuer.introspection
        if how is None:
            return None
        urls = (_url(how, region),) if region != NO_REGION else _distinct(how.urls)
        for url in urls:
            key = _key(issuer, how, url, token)
            answer = self._active.get(key)
            if answer is None and len(urls) == 1:
                answer = self._inactive.get(key)
            if (
                answer is not None
                and boot_ns < answer.expires_boot_ns
                and not self._changed.outdates(issuer.alias, answer)
            ):
                self._counts["hits"] += 1
                return answer
        return None

    async def ask(
        self,
        issuer: IssuerProfile,
        token: bytes,
        region: int,
        *,
        fresh_ns: int = 0,
        peer: str = "",
    ) -> IntrospectionAnswer:
        """Return an answer, asking the issuer where none is cached.

        Callers that ask the same at once share one flight; one that goes away takes
        nobody along. The one who began it is charged for it as for a failure, until
        the token turns out to be no junk, so that nobody has more flights than
        failures left. region, fresh_ns, peer and what it never raises: see the port.
        """
        how = issuer.introspection
        if how is None:
            raise BugError("this issuer is not asked about tokens")
        boot_ns = self._clock.boot_ns()
        url = _url(how, region)
        answer = self.cached(issuer, token, boot_ns, region)
        if answer is not None and (
            not fresh_ns or boot_ns - answer.asked_boot_ns <= fresh_ns
        ):
            return answer
        key = _key(issuer, how, url, token)
        flight = self._flights.get(key)
        if flight is None:
            if self._failures is not None:
                if not self._failures.admits(peer, boot_ns):
                    self._counts["turned_away"] += 1
                    return _NOT_ASKED
                self._failures.charge(peer, boot_ns)
            flight = asyncio.create_task(self._fly(key, issuer.alias, how, url, token))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, peer, done))
        else:
            self._counts["joined"] += 1
        return await asyncio.shield(flight)

    def forget(self, issuer: IssuerProfile, token: bytes) -> None:
        """Drop what is remembered of a token, as when its JWT did not verify."""
        how = issuer.introspection
        if how is None:
            return
        for url in _distinct(how.urls):
            key = _key(issuer, how, url, token)
            self._active.pop(key, None)
            self._inactive.pop(key, None)

    # -- for wiring and status --------------------------------------------------------

    def told(self, data: object) -> None:
        """Take the agent's word that a user's claims are others by now."""
        if isinstance(data, dict):
            alias, subject = data.get("issuer"), data.get("subject")
            if isinstance(alias, str) and isinstance(subject, str):
                self._changed.add(alias, subject, self._clock.boot_ns())

    async def close(self) -> None:
        """End all flights; their callers get a cancellation."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)

    def status(self) -> dict[str, object]:
        """Return counts, sizes, and the endpoints that are left alone just now."""
        return {
            **self._counts,
            "active": len(self._active),
            "active_bytes": self._active.currsize,
            "inactive": len(self._inactive),
            "in_flight": len(self._flights),
            "left_alone": sorted(
                {
                    alias
                    for (alias, _), endpoint in self._endpoints.items()
                    if endpoint.breaker.is_open
                }
            ),
        }

    # -- flights ----------------------------------------------------------------------

    async def _fly(
        self, key: bytes, alias: str, how: Introspection, url: str, token: bytes
    ) -> IntrospectionAnswer:
        endpoint = self._endpoints.get((alias, url))
        if endpoint is None:
            endpoint = _Endpoint(self._limits, self._rng)
            self._endpoints[alias, url] = endpoint
        refused = self._turn_away(endpoint)
        if refused is not None:
            return refused
        endpoint.load += 1
        try:
            async with asyncio.timeout(how.timeout_s), endpoint.slots:
                if not self._within_rate(endpoint, how.calls_per_s):
                    self._counts["turned_away"] += 1
                    return _unavailable(_BUSY_RETRY_S)
                # Reason: it may have opened while this one was queued.
                leave = endpoint.breaker.enter(self._now_s())
                if leave is Leave.REFUSED:
                    return self._turn_away(endpoint) or _unavailable(_BUSY_RETRY_S)
                asked_ns = self._clock.boot_ns()
                # What a time-out counts as, and a fault of ours.
                reading = Reading(AnswerKind.UNAVAILABLE)
                try:
                    reading = await self._put(how, url, token)
                finally:
                    self._note(endpoint, leave, alias, url, reading)
                return self._remember(key, reading, asked_ns)
        except TimeoutError:
            self._counts["turned_away"] += 1
            return _unavailable(_BUSY_RETRY_S)
        finally:
            endpoint.load -= 1

    def _turn_away(self, endpoint: _Endpoint) -> IntrospectionAnswer | None:
        wait_s = endpoint.breaker.wait_s(self._now_s())
        full = endpoint.load >= self._limits.concurrent + self._limits.waiting
        if not full and wait_s == 0:
            return None
        self._counts["turned_away"] += 1
        return _unavailable(max(math.ceil(wait_s), _BUSY_RETRY_S))

    def _within_rate(self, endpoint: _Endpoint, calls_per_s: int) -> bool:
        """Count a call, and tell whether it may be made; a second's worth at once."""
        now_ns = self._clock.boot_ns()
        step_ns = _NS * self._workers // calls_per_s
        ahead_ns = max(endpoint.due_ns - now_ns, 0)
        if ahead_ns > max(_NS - step_ns, 0):
            return False
        endpoint.due_ns = now_ns + ahead_ns + step_ns
        return True

    async def _put(self, how: Introspection, url: str, token: bytes) -> Reading:
        """Put the question and read the answer."""
        self._counts["asked"] += 1
        wall_s = self._clock.wall_s()
        headers, body = question(how, token)
        try:
            answer = await self._fetcher.fetch(
                "POST",
                url,
                headers=headers,
                body=body,
                timeout_s=how.timeout_s,
                max_bytes=_MAX_ANSWER_BYTES,
            )
        except BadAnswerError:
            return Reading(AnswerKind.ISSUER_FAULT)
        except ControlError:
            return Reading(AnswerKind.UNAVAILABLE)
        return read_answer(answer, how, wall_s=wall_s)

    def _note(
        self,
        endpoint: _Endpoint,
        leave: Leave,
        alias: str,
        url: str,
        reading: Reading,
    ) -> None:
        """Tell breaker and alarms what came of a question."""
        if reading.kind is AnswerKind.UNAVAILABLE:
            endpoint.breaker.failed(leave, self._now_s(), reading.retry_after_s)
        else:
            endpoint.breaker.succeeded()
        self._alarm("introspection_unavailable", alias, url, endpoint.breaker.is_open)
        if reading.credentials_refused:
            self._alarm("introspection_credentials", alias, url, True)
        elif reading.kind not in {AnswerKind.UNAVAILABLE, AnswerKind.ISSUER_FAULT}:
            self._alarm("introspection_credentials", alias, url, False)

    def _alarm(self, name: str, alias: str, url: str, holds: bool) -> None:
        """Raise an alarm with the first endpoint of an issuer, end it with the last."""
        urls = self._raised.setdefault((name, alias), set())
        before = bool(urls)
        (urls.add if holds else urls.discard)(url)
        if bool(urls) != before:
            self._alarms(name, alias, bool(urls))

    def _remember(
        self, key: bytes, reading: Reading, asked_ns: int
    ) -> IntrospectionAnswer:
        life_ns = int(reading.life_s * _NS)
        active = reading.kind in {AnswerKind.JWT, AnswerKind.CLAIMS}
        if active:
            life_ns = int(life_ns * (1 - _JITTER * self._rng.random()))
        answer = IntrospectionAnswer(
            kind=reading.kind,
            payload=reading.payload,
            asked_boot_ns=asked_ns,
            expires_boot_ns=asked_ns + life_ns if life_ns > 0 else 0,
            retry_after_s=reading.retry_after_s,
            subject=reading.subject,
        )
        if active or reading.kind is AnswerKind.INACTIVE:
            # Reason: the newest word counts, also where it must not be kept.
            self._active.pop(key, None)
            self._inactive.pop(key, None)
            if answer.expires_boot_ns:
                kept = self._active if active else self._inactive
                kept[key] = replace(answer, cached=True)
        return answer

    def _landed(
        self, key: bytes, peer: str, flight: asyncio.Task[IntrospectionAnswer]
    ) -> None:
        del self._flights[key]
        if self._failures is not None and not _found_inactive(flight):
            self._failures.refund(peer)
        if not flight.cancelled() and (error := flight.exception()) is not None:
            # Its callers get it too; this is for the case that all have gone.
            _log.error("introspection_broke", extra={"error": type(error).__name__})

    def _now_s(self) -> float:
        return self._clock.boot_ns() / _NS


def _found_inactive(flight: asyncio.Task[IntrospectionAnswer]) -> bool:
    if flight.cancelled() or flight.exception() is not None:
        return False
    return flight.result().kind is AnswerKind.INACTIVE


def _unavailable(retry_after_s: int) -> IntrospectionAnswer:
    return IntrospectionAnswer(AnswerKind.UNAVAILABLE, retry_after_s=retry_after_s)


def _url(how: Introspection, region: int) -> str:
    # Reason: a negative index would silently ask the last region.
    if not 0 <= region < len(how.urls):
        raise BugError("no such region to ask")
    return how.urls[region]


def _distinct(urls: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(urls))


def _key(issuer: IssuerProfile, how: Introspection, url: str, token: bytes) -> bytes:
    """Return the digest under which an answer is kept and a flight is shared.

    Issuer profile, endpoint and client id are in it, each with its length, so that an
    answer never serves for another of them.
    """
    parts = [issuer.digest, url.encode(), how.client_id.encode()]
    framed = b"".join(len(part).to_bytes(4) + part for part in parts)
    return hashlib.sha256(framed + token).digest()
