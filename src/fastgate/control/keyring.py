"""Keyring: fetch what each issuer's key policy asks for, publish it, and save it.

Owns:      an entry an issuer (policy, flight, timer task); what workers know of keys.
Called by: control.agent, one object per node. Never per request: a worker asks about an
           unknown kid once, and waits on a flight at most.
Source:    PROTOCOLS.md section 2; THREATS.md T13, I1-I7, F13, F15, F16.

Issuers share nothing but the published document: no fetch, no cool-down, no failure of
one touches another.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

from fastgate.control.jwks import MAX_BYTES
from fastgate.control.key_policy import ALARMS, Job, KeyPolicy, KeySource
from fastgate.control.key_saver import KeySaver, KeyStore
from fastgate.control.key_status import outcome_of, published_of, status_of
from fastgate.control.keys_document import write_published
from fastgate.errors import ControlError
from fastgate.ports import Clock, Fetched, Fetcher

__all__ = ["Keyring", "Pause", "pause"]

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
# Source: THREATS.md section 4.
_FETCH_TIMEOUT_S = 5.0
# Reason: a timer that is never longer than this recovers from any mistake in one.
_MOST_PAUSE_S = 600.0
# Reason: a flight may be one that began before the question; the next one is for it.
_ROUNDS = 3
_TURN_FAILED_S = 5.0

Pause = Callable[[asyncio.Event, float], Awaitable[None]]


async def pause(wake: asyncio.Event, delay_s: float) -> None:
    """Return when `wake` is set, or after `delay_s` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay_s):
            await wake.wait()


class _Entry:
    """One issuer: its policy and the tasks that serve it."""

    __slots__ = ("flight", "policy", "task", "wake")

    def __init__(self, policy: KeyPolicy) -> None:
        self.policy = policy
        self.wake = asyncio.Event()
        self.flight: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None


class Keyring:
    """The keys of all issuers.

    issuers: Where the keys come from, one per alias.
    fetcher, clock, store: Ports.
    publish: Called with the document for the workers, whenever it may have changed.
    alarms: Called with alarm, alias and whether it holds, on each change.
    rng: For jitter. wait: Replaces `pause` in tests.
    """

    def __init__(
        self,
        *,
        issuers: Sequence[KeySource],
        fetcher: Fetcher,
        clock: Clock,
        store: KeyStore,
        publish: Callable[[bytes], object],
        alarms: Callable[[str, str, bool], None],
        rng: random.Random | None = None,
        wait: Pause = pause,
    ) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._publish_document = publish
        self._alarms = alarms
        self._raised: set[tuple[str, str]] = set()
        self._saver = KeySaver(store, clock, self._alarm)
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._wait = wait
        self._running = False
        self._entries = {source.alias: self._enter(source) for source in issuers}

    # -- life -----------------------------------------------------------------------

    async def start(self) -> None:
        """Publish the saved keys, then begin to fetch; waits for no issuer."""
        entries = self._entries.values()
        await asyncio.gather(*(self._saver.restore(each.policy) for each in entries))
        self._running = True
        self._publish()
        for entry in self._entries.values():
            self._begin(entry)

    async def stop(self) -> None:
        """End all tasks; a save in progress gets two seconds."""
        self._running = False
        await asyncio.gather(*map(self._end, self._entries.values()))

    async def reconfigure(self, issuers: Sequence[KeySource]) -> None:
        """Follow a reload: unchanged issuers go on, others come and go.

        Keys of an issuer that moved serve until its new place has answered.
        """
        kept: dict[str, _Entry] = {}
        gone = dict(self._entries)
        for source in issuers:
            entry = self._entries.get(source.alias)
            if entry is None or entry.policy.source.issuer != source.issuer:
                # Reason: another `iss` is another party, whatever its alias.
                kept[source.alias] = self._enter(source)
                continue
            kept[source.alias] = gone.pop(source.alias)
            if source != entry.policy.source:
                entry.policy.reconfigure(source, self._now_s())
                # Reason: an answer of the old place is no answer of the new one.
                await _cancel(entry.flight)
                entry.wake.set()
        self._entries = kept
        for entry in gone.values():
            await self._end(entry)
            for name, alias in sorted(self._raised):
                if alias == entry.policy.source.alias:
                    self._alarm(name, alias, False)
        for entry in kept.values():
            if self._running and entry.task is None:
                await self._saver.restore(entry.policy)
                self._begin(entry)
        self._publish()

    # -- questions ------------------------------------------------------------------

    async def asked(self, alias: str, kid: str | None) -> None:
        """Look for a kid that a worker does not know; return when it was looked for.

        kid: None where a known kid failed to verify, since it may have a new key.
        Returns at once for a kid that is there, for an unknown alias, and while the
        cool-down lasts. Raises nothing.
        """
        entry = self._entries.get(alias)
        for _ in range(_ROUNDS):
            if entry is None or not self._running:
                return
            if kid is not None and entry.policy.held.knows(kid):
                return
            flight, mine = entry.flight, False
            if flight is None:
                job = self._job_for_miss(entry.policy)
                if job is None:
                    return
                flight, mine = self._launch(entry, job), job is Job.KEYS
            # Reason: asyncio.wait, so that a caller who goes away takes nobody along.
            await asyncio.wait({flight})
            if mine:
                return

    async def refresh(
        self, alias: str | None = None, *, wait: bool = False
    ) -> dict[str, dict[str, object]]:
        """Fetch now, for one issuer or all; for the operator, so without cool-down.

        wait: Return after a fetch that began after this call, else at once.
        Returns what is known of each issuer then. Raises ValueError for an unknown one.
        """
        if alias is not None and alias not in self._entries:
            raise ValueError("no issuer of that alias")
        chosen = [each for name, each in self._entries.items() if alias in {None, name}]
        if wait:
            await asyncio.gather(*map(self._fetch_anew, chosen))
        else:
            for entry in chosen:
                if entry.flight is None:
                    self._launch(entry, _job_at_will(entry.policy))
        return {each.policy.source.alias: outcome_of(each.policy) for each in chosen}

    def status(self) -> list[dict[str, object]]:
        """Return what `fastgate status` shows, one item an issuer."""
        now_s, wall_s = self._now_s(), self._clock.wall_s()
        return [
            status_of(entry.policy, now_s=now_s, wall_s=wall_s)
            for entry in self._entries.values()
        ]

    def named(self) -> list[tuple[str, str]]:
        """Return issuer (`iss`) and kid of every key that is held and has a kid."""
        return [
            (entry.policy.source.issuer, key.jwk.kid)
            for entry in self._entries.values()
            for key in entry.policy.held
            if key.jwk.kid is not None
        ]

    def ready(self) -> bool:
        """Tell whether every issuer has keys, fetched or saved."""
        return all(entry.policy.held for entry in self._entries.values())

    # -- timers and flights -----------------------------------------------------------

    def _enter(self, source: KeySource) -> _Entry:
        return _Entry(KeyPolicy(source, self._rng, self._now_s()))

    def _begin(self, entry: _Entry) -> None:
        entry.task = asyncio.create_task(self._run(entry))

    async def _end(self, entry: _Entry) -> None:
        await _cancel(entry.task)
        await _cancel(entry.flight)
        await self._saver.settle(entry.policy.source.alias)

    async def _run(self, entry: _Entry) -> None:
        while True:
            try:
                await self._turn(entry)
            except Exception as error:  # noqa: BLE001
                # The last border of this task: without it the issuer's keys would
                # silently never be refreshed again.
                _log.error("keys_turn_failed", extra={"error": type(error).__name__})
                await self._wait(entry.wake, _TURN_FAILED_S)

    async def _turn(self, entry: _Entry) -> None:
        """Do what is due, then wait until something is due again."""
        entry.wake.clear()
        now_s = self._now_s()
        if entry.policy.tick(now_s):
            self._publish()
        self._show_alarms(entry.policy)
        job = entry.policy.due(now_s)
        if entry.flight is not None:
            await asyncio.wait({entry.flight})
        elif job is not None:
            await asyncio.wait({self._launch(entry, job)})
        else:
            delay_s = max(entry.policy.next_due_s() - now_s, 0.0)
            await self._wait(entry.wake, min(delay_s, _MOST_PAUSE_S))

    def _job_for_miss(self, policy: KeyPolicy) -> Job | None:
        now_s = self._now_s()
        due = policy.due(now_s)
        if due is not None:
            return due
        return Job.KEYS if policy.claim_miss(now_s) else None

    async def _fetch_anew(self, entry: _Entry) -> None:
        if entry.flight is not None:
            await asyncio.wait({entry.flight})
        job = _job_at_will(entry.policy)
        await asyncio.wait({entry.flight or self._launch(entry, job)})
        if job is Job.METADATA and entry.policy.jwks_url is not None:
            await asyncio.wait({entry.flight or self._launch(entry, Job.KEYS)})

    def _launch(self, entry: _Entry, job: Job) -> asyncio.Task[None]:
        entry.flight = asyncio.create_task(self._fly(entry, job))
        return entry.flight

    async def _fly(self, entry: _Entry, job: Job) -> None:
        try:
            if job is Job.METADATA:
                await self._fetch_metadata(entry.policy)
            else:
                await self._fetch_keys(entry.policy)
        except Exception as error:  # noqa: BLE001
            # The last border of this task: whatever a hostile document may still find
            # to break counts as a failed fetch, and the keys stay.
            _log.error("keys_fetch_broke", extra={"error": type(error).__name__})
            self._note_failure(entry.policy, job, "internal")
        finally:
            entry.flight = None
            entry.wake.set()
        self._show_alarms(entry.policy)
        self._publish()

    async def _fetch_metadata(self, policy: KeyPolicy) -> None:
        url = policy.source.metadata_url
        if url is None:
            return
        try:
            answer = await self._get(url, {"accept": "application/json"})
        except ControlError as error:
            policy.metadata_failed(str(error), self._now_s())
        else:
            policy.metadata_answered(answer, self._now_s())

    async def _fetch_keys(self, policy: KeyPolicy) -> None:
        url = policy.jwks_url
        if url is None:
            return
        try:
            answer = await self._get(url, policy.request_headers())
        except ControlError as error:
            policy.keys_failed(str(error), self._now_s())
            return
        policy.keys_answered(answer, self._now_s())
        if policy.last_fetch_ok:
            self._saver.save(policy)

    async def _get(self, url: str, headers: Mapping[str, str]) -> Fetched:
        return await self._fetcher.fetch(
            "GET", url, headers=headers, timeout_s=_FETCH_TIMEOUT_S, max_bytes=MAX_BYTES
        )

    def _note_failure(self, policy: KeyPolicy, job: Job, code: str) -> None:
        if job is Job.METADATA:
            policy.metadata_failed(code, self._now_s())
        else:
            policy.keys_failed(code, self._now_s())

    # -- what follows ---------------------------------------------------------------

    def _publish(self) -> None:
        now_s, wall_s = self._now_s(), self._clock.wall_s()
        document = write_published(
            {
                alias: published_of(entry.policy, now_s=now_s, wall_s=wall_s)
                for alias, entry in self._entries.items()
            }
        )
        try:
            self._publish_document(document)
        except ControlError:
            self._alarm("keys_not_published", "workers", True)
        else:
            self._alarm("keys_not_published", "workers", False)

    def _show_alarms(self, policy: KeyPolicy) -> None:
        holding = policy.alarms()
        for name in sorted(ALARMS):
            self._alarm(name, policy.source.alias, name in holding)

    def _alarm(self, name: str, dependency: str, holds: bool) -> None:
        if holds == ((name, dependency) in self._raised):
            return
        (self._raised.add if holds else self._raised.discard)((name, dependency))
        self._alarms(name, dependency, holds)

    def _now_s(self) -> float:
        return self._clock.boot_ns() / _NS


def _job_at_will(policy: KeyPolicy) -> Job:
    return Job.METADATA if policy.jwks_url is None else Job.KEYS


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
