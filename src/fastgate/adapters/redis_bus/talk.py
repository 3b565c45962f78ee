"""Redis talk: reports and urgent frames to all, events handed to one of their home.

Owns:      the subscriptions, and the questions that wait for an answer.
Called by: adapters.redis_bus.bus.
Source:    REVOCATION.md sections 2 and 5. A channel keeps nothing: what is said while
           nobody listens is lost, so a sender counts who heard it.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from fastgate.adapters.redis_bus.link import REQUEST_S
from fastgate.adapters.redis_bus.wire import Names, translated
from fastgate.errors import ControlError
from fastgate.ports import BusListener

__all__ = ["Talk"]

_log = logging.getLogger(__name__)

_PING_S = 1.0
_MAX_HANDS = 64
_REFUSED = b'{"v":1,"t":"refused"}'
# <channel for the answer> <id>\n<event>, and <id>\n<answer>
_MAX_ENVELOPE = 256


class Talk:
    """What gateways say to each other beside the streams.

    listener: Returns whom to tell, None once nobody is to be told.
    """

    def __init__(
        self,
        names: Names,
        *,
        region: str,
        node: str,
        listener: Callable[[], BusListener | None],
    ) -> None:
        self._names = names
        self._region = region
        self._hand = names.channel("hand", region, node)
        self._re = names.channel("re", region, node)
        self._ack = names.channel("ack", region, node)
        self._listener = listener
        self._questions: dict[str, asyncio.Future[bytes]] = {}
        self._hands: set[asyncio.Task[None]] = set()

    # Out.

    async def report(self, client: Redis, payload: bytes) -> None:
        """Send a report to every node. Raises ControlError."""
        with translated():
            await client.publish(self._ack, payload)

    async def urge(self, client: Redis, publisher: str, payload: bytes) -> None:
        """Send an urgent frame to every node. Raises ControlError."""
        channel = self._names.channel("urgent", self._region, publisher)
        with translated():
            await client.publish(channel, payload)

    async def hand(self, client: Redis, home: str, payload: bytes) -> bytes:
        """Hand an event to any gateway of its home; return the answer.

        Raises ControlError where nobody of that region listens or answers in time.
        """
        pattern = self._names.channel("hand", home, "*")
        with translated():
            there = await client.pubsub_channels(pattern)
        if not there:
            raise ControlError(f"no gateway of {home} listens")
        name = secrets.token_hex(8)
        asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._questions[name] = asked
        try:
            with translated():
                envelope = f"{self._re} {name}\n".encode() + payload
                # Reason: load, and a gateway that hangs is not asked each time.
                chosen = random.choice(there)  # noqa: S311
                if not await client.publish(chosen, envelope):
                    raise ControlError(f"a gateway of {home} has gone")
                async with asyncio.timeout(REQUEST_S):
                    return await asked
        finally:
            del self._questions[name]

    # In.

    async def run(self, client: Redis, up: Callable[[], None]) -> None:
        """Subscribe, say so, and take what comes. Raises ControlError at the end.

        up: Called once everything is subscribed.
        """
        with translated():
            async with client.pubsub() as heard:
                acks = self._names.channel("ack", "*", "*")
                await heard.psubscribe(acks, self._names.channel("urgent", "*", "*.*"))
                await heard.subscribe(self._hand, self._re)
                await self._listen(heard, client, up)

    async def _listen(
        self, heard: PubSub, client: Redis, up: Callable[[], None]
    ) -> None:
        clock = asyncio.get_running_loop().time
        answered = clock()
        missing, pinged = 4, 0.0
        while True:
            if clock() - pinged >= _PING_S:
                await heard.ping()
                pinged = clock()
            message = await heard.get_message(timeout=_PING_S / 2)
            if message is not None:
                answered = clock()
                self._take(message, client)
                if missing and "subscribe" in message["type"]:
                    missing -= 1
                    if not missing:
                        up()
            elif clock() - answered > REQUEST_S + _PING_S:
                raise ControlError("nothing is answered")

    def _take(self, message: dict[str, object], client: Redis) -> None:
        listener, data = self._listener(), message.get("data")
        if listener is None or not isinstance(data, bytes):
            return
        if message["type"] == "pmessage":
            # Redis lets every account that may listen there speak there, so a channel
            # is nobody's word.
            urgent = self._names.urgent_of(message.get("channel"))
            if urgent is None:
                listener.reported("", data)
            else:
                listener.urged(*urgent, data)
        elif message["type"] == "message":
            head, line, rest = data[:_MAX_ENVELOPE].partition(b"\n")
            if not line:
                return
            rest = data[len(head) + 1 :]
            if message.get("channel") == self._re.encode():
                asked = self._questions.get(head.decode("ascii", "replace"))
                if asked is not None and not asked.done():
                    asked.set_result(rest)
            elif (
                len(self._hands) < _MAX_HANDS
            ):  # else no answer: the sender comes again
                task = asyncio.create_task(
                    self._answer(listener, client, head, rest), name="redis-hand"
                )
                self._hands.add(task)
                task.add_done_callback(self._hands.discard)

    async def _answer(
        self, listener: BusListener, client: Redis, head: bytes, event: bytes
    ) -> None:
        channel, _, name = head.partition(b" ")
        if not self._names.is_reply(channel):
            return
        try:
            answer = await listener.handed(event)
        except ControlError as error:
            _log.info("an event handed over was not taken: %s", error)
            answer = _REFUSED
        with contextlib.suppress(ControlError), translated():
            await client.publish(channel, name + b"\n" + answer)

    async def stop(self) -> None:
        """Answer nobody any more."""
        for task in self._hands:
            task.cancel()
        if self._hands:
            await asyncio.wait(self._hands, timeout=REQUEST_S)
