"""SET poller: fetches security events where a transmitter keeps them until then.

Owns:      one task a stream; what is to be acknowledged with its next poll.
Called by: control.agent, one object per node.
Source:    RFC 8936; PROTOCOLS.md section 7. An event is acknowledged once it is in the
           journal; what is neither acknowledged nor refused comes again.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from fastgate.control.intake import Result
from fastgate.control.intake_rules import PollRules
from fastgate.control.json_document import JsonError, read_object
from fastgate.domain.notice import NoticeError
from fastgate.domain.security_event import set_error
from fastgate.errors import BadAnswerError, ControlError
from fastgate.ports import Clock, Fetcher

__all__ = ["SetPollers", "Take"]

_log = logging.getLogger(__name__)

Take = Callable[[str, str, str], Awaitable[Result]]
"""Takes a SET, the name it came under, and the alias of the stream (Intake.polled)."""

_MAX_BYTES = 4 * 1024 * 1024
# Reason: each may wait two seconds for a bus that is down.
_AT_ONCE = 16
# Reason: a transmitter that is asked not to wait must answer within it.
_PROMPT_S = 10.0
_RETRY_FIRST_S = 1.0
_RETRY_LAST_S = 60.0
_JSON = "application/json"
_NS = 1_000_000_000


class _Poller:
    """One stream, and what its next poll tells: acknowledgements, errors by name."""

    def __init__(self, rules: PollRules, fetcher: Fetcher, take: Take) -> None:
        self.rules = rules
        self._fetcher = fetcher
        self._take = take
        self._acks: list[str] = []
        self._errors: dict[str, dict[str, str]] = {}
        self._patient = True
        self.answered_ns = 0
        self.error = ""

    async def poll(self) -> bool:
        """Ask once and take what comes; True where there is more at once.

        Raises ControlError where no usable answer came: all is as before then.
        """
        answer = await self._ask()
        if answer is None:
            # It let the poll wait for longer than we do. The next one asks for an
            # answer at once, which tells patience from a hang.
            self._patient = False
            return True
        self._patient = True
        self._acks, self._errors = [], {}
        sets = answer.get("sets", {})
        if not isinstance(sets, dict):
            raise BadAnswerError("bad_sets")
        came = list(sets.items())[: self.rules.events]
        for begin in range(0, len(came), _AT_ONCE):
            slice_ = came[begin : begin + _AT_ONCE]
            await asyncio.gather(*(self._one(jti, text) for jti, text in slice_))
        more = answer.get("moreAvailable") is True
        return more or bool(self._acks) or bool(self._errors)

    async def _ask(self) -> Mapping[str, object] | None:
        rules = self.rules
        asked: dict[str, Any] = {
            "maxEvents": rules.events,
            "returnImmediately": not self._patient,
            "ack": self._acks,
        }
        if self._errors:
            asked["setErrs"] = self._errors
        headers = {"content-type": _JSON, "accept": _JSON}
        if rules.authorization is not None:
            headers["authorization"] = rules.authorization
        try:
            answer = await self._fetcher.fetch(
                "POST",
                rules.url,
                headers=headers,
                body=orjson.dumps(asked),
                timeout_s=rules.wait_s if self._patient else _PROMPT_S,
                max_bytes=_MAX_BYTES,
            )
        except ControlError as error:
            if self._patient and str(error) == "timed_out":
                return None
            raise
        if answer.status != 200:  # noqa: PLR2004 - as RFC 9110 names it
            raise ControlError(f"status_{answer.status}")
        try:
            return read_object(answer.body)
        except JsonError:
            raise BadAnswerError("no_json") from None

    async def _one(self, jti: str, text: object) -> None:
        if not jti:
            return
        try:
            if not isinstance(text, str):
                self._errors[jti] = {
                    "err": "invalid_request",
                    "description": "a SET is a text",
                }
                return
            await self._take(text, jti, self.rules.alias)
        except NoticeError as error:
            self._errors[jti] = {
                "err": set_error(error.fault),
                "description": error.detail,
            }
        except ControlError as error:
            # Neither acknowledged nor refused, so it comes again.
            _log.info("an event of %s waits: %s", self.rules.alias, error)
        except Exception:  # noqa: BLE001
            # The last border of an event: without it one would hold up all others for
            # as long as the transmitter keeps it. It comes again, and is told again.
            _log.exception("an event of %s broke", self.rules.alias)
        else:
            self._acks.append(jti)


class SetPollers:
    """The streams of one node that are polled.

    take: Takes what came (Intake.polled). clock: For how long ago an answer came.
    alarms: Called with name, dependency and whether it is on, at every change.
    sleep: Replaces asyncio.sleep in tests.
    """

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        take: Take,
        clock: Clock,
        alarms: Callable[[str, str, bool], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fetcher = fetcher
        self._take = take
        self._clock = clock
        self._alarms = alarms
        self._sleep = sleep
        self._tasks: dict[PollRules, asyncio.Task[None]] = {}
        self._pollers: dict[PollRules, _Poller] = {}

    async def follow(self, polls: Sequence[PollRules]) -> None:
        """Poll these streams; one whose rules are the same goes on as it is."""
        gone = [rules for rules in self._tasks if rules not in polls]
        for rules in gone:
            task = self._tasks.pop(rules)
            del self._pollers[rules]
            task.cancel()
            await asyncio.wait({task})
            if all(other.alias != rules.alias for other in polls):
                self._alarms("ssf_poll", rules.alias, False)
        for rules in polls:
            if rules not in self._tasks:
                poller = _Poller(rules, self._fetcher, self._take)
                self._pollers[rules] = poller
                self._tasks[rules] = asyncio.create_task(
                    self._run(poller), name=f"poll-{rules.alias}"
                )

    async def stop(self) -> None:
        """End all of them; what was not acknowledged comes again."""
        await self.follow(())

    def status(self) -> list[dict[str, Any]]:
        """Return a line a stream: seconds since an answer, and what is wrong.

        `answered_s` is None where none came yet, `error` where the last poll was well.
        """
        now_ns = self._clock.boot_ns()
        return [
            {
                "issuer": rules.alias,
                "answered_s": round((now_ns - poller.answered_ns) / _NS, 1)
                if poller.answered_ns
                else None,
                "error": poller.error or None,
            }
            for rules, poller in self._pollers.items()
        ]

    async def _run(self, poller: _Poller) -> None:
        alias, wait_s = poller.rules.alias, _RETRY_FIRST_S
        while True:
            try:
                more = await poller.poll()
            except ControlError as error:
                _log.info("polling %s failed: %s", alias, error)
                poller.error = str(error)
            except Exception:  # noqa: BLE001
                # The last border of a task: without it a stream would silently bring
                # nothing any more.
                _log.exception("polling %s broke", alias)
                poller.error = "broke"
            else:
                poller.error, poller.answered_ns = "", self._clock.boot_ns()
            self._alarms("ssf_poll", alias, bool(poller.error))
            if poller.error:
                # Reason: gateways must not come back in step.
                await self._sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311
                wait_s = min(2 * wait_s, _RETRY_LAST_S)
                continue
            wait_s = _RETRY_FIRST_S
            if not more:
                await self._sleep(poller.rules.every_s)
