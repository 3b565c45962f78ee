"""Kafka talk: reports and urgent frames to all, events handed to one of their home.

Owns:      who was heard of late, and the questions that wait for an answer.
Called by: adapters.kafka_bus.bus.
Source:    REVOCATION.md sections 2 and 5. A consumer group would take seconds to notice
           a gateway that is gone, so the sender picks one that spoke a moment ago.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections import OrderedDict
from collections.abc import Callable

from confluent_kafka import Message

from fastgate.adapters.kafka_bus.wire import (
    REQUEST_S,
    headers_of,
    talk_topic,
    translated,
)
from fastgate.adapters.kafka_bus.writer import Writer
from fastgate.errors import ControlError
from fastgate.ports import BusListener

__all__ = ["Talk"]

_log = logging.getLogger(__name__)

_REPORT, _ASK, _ANSWER, _URGENT = b"report", b"ask", b"answer", b"urgent"
# Reason: reports come once a second; two may be late.
_HEARD_S = 3.0
_MAX_HEARD = 4_096
_MAX_HANDS = 64
_MAX_NAME = 130
_REFUSED = b'{"v":1,"t":"refused"}'


class Talk:
    """What gateways say to each other beside the streams.

    origins: Regions that are listened to.
    writer: Returns the producer. Raises ControlError while there is none.
    listener: Returns whom to tell, None once nobody is to be told.
    """

    def __init__(
        self,
        prefix: str,
        *,
        region: str,
        node: str,
        origins: tuple[str, ...],
        writer: Callable[[], Writer],
        listener: Callable[[], BusListener | None],
    ) -> None:
        self._topic = talk_topic(prefix, region)
        self._region = region
        self._me = f"{region}/{node}"
        self._regions = {talk_topic(prefix, origin): origin for origin in origins}
        self._writer = writer
        self._listener = listener
        # When each gateway was heard last, oldest first.
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._questions: dict[str, asyncio.Future[bytes]] = {}
        self._hands: set[asyncio.Task[None]] = set()

    # Out.

    def report(self, payload: bytes) -> None:
        """Send a report to every node. Raises ControlError."""
        self._say(payload, _REPORT)

    def urge(self, publisher: str, payload: bytes) -> None:
        """Send an urgent frame to every node. Raises ControlError."""
        self._say(payload, _URGENT, name=publisher)

    def _say(self, payload: bytes, what: bytes, to: str = "", name: str = "") -> None:
        headers = {"t": what.decode(), "to": to, "id": name}
        self._writer().say(self._topic, self._me, payload, headers)

    async def hand(self, home: str, payload: bytes) -> bytes:
        """Hand an event to a gateway of its home; return the answer.

        Raises ControlError where none was heard of late, or none answers in time.
        """
        since = asyncio.get_running_loop().time() - _HEARD_S
        there = [
            each
            for each, at in self._heard.items()
            if at >= since and each.partition("/")[0] == home
        ]
        if not there:
            raise ControlError(f"no gateway of {home} is heard")
        name = secrets.token_hex(8)
        asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._questions[name] = asked
        try:
            # Reason: load, and a gateway that hangs is not asked each time.
            self._say(payload, _ASK, random.choice(there), name)  # noqa: S311
            with translated():
                async with asyncio.timeout(REQUEST_S):
                    return await asked
        finally:
            del self._questions[name]

    # In.

    def take(self, message: Message) -> None:
        """Take a record of a region's talk; whatever is not ours is dropped."""
        region = self._regions.get(message.topic() or "")
        key, payload = message.key(), message.value()
        listener = self._listener()
        if (
            listener is None
            or not isinstance(key, bytes)
            or not isinstance(payload, bytes)
            or len(key) > _MAX_NAME
        ):
            return
        sender = key.decode("ascii", "replace")
        if sender.partition("/")[0] != region:
            return  # the topic is the region's; whoever else writes there is not heard
        headers = headers_of(message)
        what, name = headers.get("t"), headers.get("id", b"").decode("ascii", "replace")
        if what == _REPORT:
            self._hear(sender)
            listener.reported("", payload)
        elif what == _URGENT:
            listener.urged(region, name, payload)
        elif headers.get("to", b"").decode("ascii", "replace") != self._me:
            return
        elif what == _ANSWER:
            asked = self._questions.get(name)
            if asked is not None and not asked.done():
                asked.set_result(payload)
        elif what == _ASK and len(self._hands) < _MAX_HANDS:
            task = asyncio.create_task(
                self._answer(listener, sender, name, payload), name="kafka-hand"
            )
            self._hands.add(task)
            task.add_done_callback(self._hands.discard)

    def _hear(self, sender: str) -> None:
        self._heard.pop(sender, None)
        self._heard[sender] = asyncio.get_running_loop().time()
        if len(self._heard) > _MAX_HEARD:
            self._heard.popitem(last=False)

    async def _answer(
        self, listener: BusListener, sender: str, name: str, event: bytes
    ) -> None:
        try:
            answer = await listener.handed(event)
        except ControlError as error:
            _log.info("an event handed over was not taken: %s", error)
            answer = _REFUSED
        with contextlib.suppress(ControlError):
            self._say(answer, _ANSWER, sender, name)

    async def stop(self) -> None:
        """Answer nobody any more."""
        for task in self._hands:
            task.cancel()
        if self._hands:
            await asyncio.wait(self._hands, timeout=REQUEST_S)
