"""Stream keeper: finds a gateway's stream at its transmitter, and asks it to speak.

Owns:      one task a stream; the transmitter's metadata, the stream's id.
Called by: control.agent, one object per node.
Source:    SSF 1.0 sections 7 and 8.1; PROTOCOLS.md section 7.

A round reads the stream's status and asks for a verification event, with a `state` that
comes back through the stream: the whole way is tried, not the transmitter's word taken.
What is there is never changed; a stream is made only where none delivers to this place,
and only where the operator says so.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeGuard
from urllib.parse import quote

import orjson

from fastgate.control.json_document import JsonError, read_object
from fastgate.control.set_streams import SetStreams
from fastgate.control.ssf_metadata import POLL, PUSH, Transmitter, read_transmitter
from fastgate.errors import BadAnswerError, ControlError
from fastgate.ports import Fetched, Fetcher

__all__ = ["KeeperRules", "StreamKeepers"]

_log = logging.getLogger(__name__)

_CALL_S = 10.0
_MAX_BYTES = 256 * 1024
_MAX_STREAMS = 256
_MAX_TEXT = 1024
# Reason: endpoints move seldom, and a keeper that is refused looks again at once.
_METADATA_ROUNDS = 60
_RETRY_FIRST_S, _RETRY_LAST_S = 1.0, 300.0
# Reason: a transmitter that wants longer pauses than a day has no sign of life to give.
_MAX_PAUSE_S = 86_400.0
_JSON = "application/json"
_STATES = frozenset({"enabled", "paused", "disabled"})
_GOOD = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})


@dataclass(frozen=True, slots=True)
class KeeperRules:
    """How one stream is looked after.

    alias, issuer: Of the `ssf` section, and the exact `iss` of its SETs.
    metadata: URL of the transmitter's document. authorization: Header value.
    audience: `aud` of the stream, one of these.
    receiver: URL that events are pushed to; None: they are polled.
    delivered: Authorization header that pushes are to carry, None for none.
    events: URIs of the events that a new stream is to bring.
    every_s: Seconds between two rounds, at least.
    """

    alias: str
    issuer: str
    metadata: str
    authorization: str = field(repr=False)
    audience: frozenset[str]
    receiver: str | None
    delivered: str | None = field(repr=False)
    create: bool
    events: tuple[str, ...]
    every_s: float


class _Keeper:
    """One stream; `round` does what is due and returns the pause after it."""

    def __init__(
        self, rules: KeeperRules, fetcher: Fetcher, streams: SetStreams
    ) -> None:
        self.rules = rules
        self._fetcher = fetcher
        self._streams = streams
        self._at: Transmitter | None = None
        self._id = ""
        self._pause_s = rules.every_s
        self._rounds = 0

    def begin_anew(self) -> None:
        """Look for transmitter and stream again: one of them is not what it was."""
        self._at, self._id = None, ""

    async def round(self) -> float:
        """Find the stream, read its status, ask it to speak. Raises ControlError."""
        at = await self._transmitter()
        if not self._id:
            await self._find(at)
        if at.status is not None:
            await self._read_status(at.status)
        if at.verification is not None:
            return await self._ask(at.verification)
        return self._pause_s

    async def _transmitter(self) -> Transmitter:
        self._rounds += 1
        if self._at is None or self._rounds % _METADATA_ROUNDS == 0:
            answer = await self._fetcher.fetch(
                "GET",
                self.rules.metadata,
                headers={"accept": _JSON},
                timeout_s=_CALL_S,
                max_bytes=_MAX_BYTES,
            )
            self._at = read_transmitter(answer, issuer=self.rules.issuer)
        return self._at

    async def _find(self, at: Transmitter) -> None:
        found = await self._call("GET", at.configuration)
        streams = found if isinstance(found, list) else [found]
        ours = (s for s in streams[:_MAX_STREAMS] if self._is_ours(s))
        stream = next(ours, None) or await self._made(at)
        self._id = _text(stream.get("stream_id"))
        least_s = stream.get("min_verification_interval")
        least_s = least_s if type(least_s) is int and least_s > 0 else 0
        self._pause_s = min(max(self.rules.every_s, least_s), _MAX_PAUSE_S)
        self._streams.known(self.rules.alias, self._id, at.critical)

    def _is_ours(self, stream: object) -> TypeGuard[dict[str, object]]:
        if not isinstance(stream, dict) or not isinstance(stream.get("stream_id"), str):
            return False
        delivery, audience = stream.get("delivery"), stream.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not isinstance(delivery, dict) or not self.rules.audience & set(
            filter(lambda each: isinstance(each, str), audiences)
        ):
            return False
        if self.rules.receiver is None:
            return delivery.get("method") == POLL
        to = delivery.get("endpoint_url")
        return delivery.get("method") == PUSH and to == self.rules.receiver

    async def _made(self, at: Transmitter) -> Mapping[str, object]:
        rules = self.rules
        if not rules.create:
            raise ControlError("no_stream")
        delivery: dict[str, str] = {"method": POLL}
        if rules.receiver is not None:
            delivery = {"method": PUSH, "endpoint_url": rules.receiver}
            if rules.delivered is not None:
                delivery["authorization_header"] = rules.delivered
        if at.methods and delivery["method"] not in at.methods:
            raise ControlError("delivery_not_supported")
        asked = {"delivery": delivery, "events_requested": list(rules.events)}
        made = await self._call("POST", at.configuration, asked)
        if not self._is_ours(made):
            raise BadAnswerError("another_stream")
        _log.warning("a stream of %s was made", rules.alias)
        return made

    async def _read_status(self, endpoint: str) -> None:
        joined = "&" if "?" in endpoint else "?"
        url = f"{endpoint}{joined}stream_id={quote(self._id, safe='')}"
        found = await self._call("GET", url)
        state = found.get("status") if isinstance(found, dict) else None
        if not isinstance(state, str) or state not in _STATES:
            raise BadAnswerError("no_status")
        self._streams.is_now(self.rules.alias, state)

    async def _ask(self, endpoint: str) -> float:
        state = secrets.token_urlsafe(16)
        # Before the question: its answer may come by another connection first.
        self._streams.asked(self.rules.alias, state)
        answer = await self._send(
            "POST", endpoint, {"stream_id": self._id, "state": state}
        )
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
        elif answer.status not in _GOOD:
            raise ControlError(f"status_{answer.status}")
        return self._pause_s

    async def _call(
        self, method: str, url: str, body: Mapping[str, object] | None = None
    ) -> dict[str, object] | list[object]:
        answer = await self._send(method, url, body)
        if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise ControlError(f"status_{answer.status}")
        text = answer.body.strip()
        try:
            # A list has no names to be doubled in but those of its members.
            wrapped = b'{"streams":' + text + b"}" if text[:1] == b"[" else text
            found = read_object(wrapped)
        except JsonError:
            raise BadAnswerError("no_json") from None
        streams = found.get("streams")
        return streams if isinstance(streams, list) and text[:1] == b"[" else found

    async def _send(
        self, method: str, url: str, body: Mapping[str, object] | None
    ) -> Fetched:
        headers = {"accept": _JSON, "authorization": self.rules.authorization}
        if body is not None:
            headers["content-type"] = _JSON
        return await self._fetcher.fetch(
            method,
            url,
            headers=headers,
            body=None if body is None else orjson.dumps(body),
            timeout_s=_CALL_S,
            max_bytes=_MAX_BYTES,
        )


class StreamKeepers:
    """The streams of one node that are looked after.

    streams: Is told of each stream's id and state (Intake.streams).
    alarms: Called with name, dependency and whether it is on, at every change.
    sleep: Replaces asyncio.sleep in tests.
    """

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        streams: SetStreams,
        alarms: Callable[[str, str, bool], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fetcher = fetcher
        self._streams = streams
        self._alarms = alarms
        self._sleep = sleep
        self._tasks: dict[KeeperRules, asyncio.Task[None]] = {}

    async def follow(self, rules: Sequence[KeeperRules]) -> None:
        """Look after these streams; one whose rules are the same goes on as it is."""
        for gone in [each for each in self._tasks if each not in rules]:
            task = self._tasks.pop(gone)
            task.cancel()
            await asyncio.wait({task})
            if all(other.alias != gone.alias for other in rules):
                self._alarms("ssf_manage", gone.alias, False)
        for each in rules:
            if each not in self._tasks:
                keeper = _Keeper(each, self._fetcher, self._streams)
                self._tasks[each] = asyncio.create_task(
                    self._run(keeper), name=f"stream-{each.alias}"
                )

    async def stop(self) -> None:
        """End all of them; the streams stay as they are."""
        await self.follow(())

    async def _run(self, keeper: _Keeper) -> None:
        alias, retry_s = keeper.rules.alias, _RETRY_FIRST_S
        while True:
            try:
                pause_s = await keeper.round()
            except ControlError as error:
                _log.warning("the stream of %s: %s", alias, error)
                ok = False
            except Exception:  # noqa: BLE001
                # The last border of a task: without it a stream would silently never
                # be asked again.
                _log.exception("looking after the stream of %s broke", alias)
                ok = False
            else:
                ok, retry_s = True, _RETRY_FIRST_S
            self._alarms("ssf_manage", alias, not ok)
            if not ok:
                keeper.begin_anew()
                pause_s, retry_s = retry_s, min(2 * retry_s, _RETRY_LAST_S)
            # Reason: gateways must not come back in step.
            await self._sleep(pause_s * random.uniform(1.0, 1.2))  # noqa: S311


def _text(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT:
        return value
    raise BadAnswerError("no_stream_id")
