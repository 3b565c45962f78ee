"""NATS bus: one JetStream stream per region, live copies, reads from the origin.

Owns:      the subscriptions, and what the feed asks of streams.
Called by: control.feed through ports.Bus.
Source:    ECOSYSTEM.md section 9. Live copies come by core NATS (RePublish) and may be
           lost; replay is a batched direct get, whose answers name their predecessor,
           so that a lost one shows.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import replace

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from fastgate.adapters.nats_bus.answers import (
    MissingError,
    number,
    stored_of,
    stream_name,
    translated,
)
from fastgate.adapters.nats_bus.link import REQUEST_S, Link
from fastgate.adapters.nats_bus.settings import NatsSettings
from fastgate.adapters.nats_bus.shelf import NatsShelf
from fastgate.domain.stream import Stored, StreamState
from fastgate.errors import ControlError
from fastgate.ports import BusListener

__all__ = ["NatsBus"]

_log = logging.getLogger(__name__)

_BATCH = 256
_BATCH_BYTES = 4_194_304
_MAX_HANDS = 64
# Reason: two bursts of what the feed takes; past it the client drops, and the streams
# bring it.
_MAX_URGENT = 8_192
_MAX_URGENT_BYTES = 16_777_216
_NO_MESSAGES = "404"
_END_OF_BATCH = "204"
_REFUSED = b'{"v":1,"t":"refused"}'


class NatsBus:
    """The streams of all regions as one gateway sees them.

    region, node: This gateway. origins: Regions whose streams are followed.
    """

    name = "nats"

    def __init__(
        self,
        settings: NatsSettings,
        *,
        region: str,
        node: str,
        origins: tuple[str, ...],
    ) -> None:
        self._settings = settings
        self._region = region
        self._node = node
        self._origins = origins
        self._listener: BusListener | None = None
        self._link = Link(
            settings,
            region=region,
            node=node,
            subscribe=self._subscribe,
            tell=self._tell,
        )
        self._task: asyncio.Task[None] | None = None
        self._hands: set[asyncio.Task[None]] = set()
        self._up: bool | None = None
        # Origins that answered themselves, and those that are read from a copy.
        self._reached: set[str] = set()
        self._copied: set[str] = set()

    def shelf(self) -> NatsShelf:
        """Return where saved states lie, over the same connection."""
        return NatsShelf(self._link, self._settings, self._region)

    async def start(self, listener: BusListener) -> None:
        """Connect in the background and return at once."""
        self._listener = listener
        self._task = asyncio.create_task(
            self._link.stay_connected(), name="nats-connect"
        )

    async def stop(self) -> None:
        """Disconnect; nothing is told to the listener afterwards."""
        self._listener = None
        tasks = {*self._hands, *([self._task] if self._task else [])}
        while tasks:
            # Again, where a library swallowed it (asyncio.wait_for on Python 3.11).
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=REQUEST_S)

    async def _subscribe(self, client: Client) -> None:
        for origin in self._origins:
            await client.subscribe(f"fg.live.{origin}.>", cb=self._on_live)
        await client.subscribe("fg.ack.*.*", cb=self._on_report)
        await client.subscribe(
            "fg.urgent.*.*.*",
            cb=self._on_urgent,
            pending_msgs_limit=_MAX_URGENT,
            pending_bytes_limit=_MAX_URGENT_BYTES,
        )
        hands = f"fg.hand.{self._region}"
        await client.subscribe(f"{hands}.*", queue=hands, cb=self._on_hand)

    def _tell(self, up: bool) -> None:
        if up is not self._up and self._listener is not None:
            self._listener.connected(up)
        self._up = up

    async def publish(
        self, publisher: str, kind: str, message_id: str, payload: bytes, ttl_s: int
    ) -> int:
        """Store a message in the own region's stream; return its position.

        Raises ControlError where that stream did not say that it has it.
        """
        stored = await self._link.store(
            f"fg.rev.{self._region}.{publisher}.{kind}",
            payload,
            {"Nats-Msg-Id": message_id, "Nats-TTL": f"{ttl_s}s"},
        )
        position = stored.get("seq")
        if (
            stored.get("stream") != stream_name(self._region)
            or type(position) is not int
        ):
            raise ControlError("another stream answered")
        return position

    async def state(self, origin: str) -> StreamState:
        """Return the state of a stream, asked of whoever leads it.

        Of an origin that this process never reached, the copy in the own region is told
        of instead, as another incarnation: it proves nothing, and what was revoked
        there is known all the same. Once the origin answers, all is read from it.
        """
        try:
            state = await self._state_at(self._link.api(origin), origin)
        except ControlError:
            if origin in self._reached or not self._has_copy(origin):
                raise
            state = await self._state_at(self._link.api(self._region), origin)
            self._copied.add(origin)
            return replace(state, incarnation=f"copy of {state.incarnation}")
        self._reached.add(origin)
        self._copied.discard(origin)
        return state

    def _has_copy(self, origin: str) -> bool:
        return self._link.api(origin) != self._link.api(self._region)

    async def _state_at(self, api: str, origin: str) -> StreamState:
        info = await self._link.ask(f"{api}.STREAM.INFO.{stream_name(origin)}", None)
        try:
            state, limit = info["state"], info["config"].get("max_bytes", -1)
            fill = state["bytes"] / limit if limit > 0 else 0.0
            return StreamState(
                str(info["created"]),
                int(state["last_seq"]),
                fill,
                int(state["first_seq"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise ControlError("a stream's state cannot be read") from exc

    def _api(self, origin: str) -> str:
        return self._link.api(self._region if origin in self._copied else origin)

    async def replay(
        self, origin: str, after: int, to: int
    ) -> AsyncGenerator[Stored, None]:
        """Yield every message stored in (after, to], in order.

        Raises ControlError rather than skip a message that the stream still has.
        """
        while after < to:
            last = after
            async for stored in self._batch(origin, after):
                if stored.position > to:
                    return
                last = stored.position
                yield stored
            if last == after:
                # Direct reads may come from a replica that is behind: ask the leader.
                if await self._has_next(origin, after, to):
                    raise ControlError("a replica is behind")
                return
            after = last

    async def _batch(self, origin: str, after: int) -> AsyncGenerator[Stored, None]:
        client = self._link.connected()
        body = {
            "seq": after + 1,
            "batch": _BATCH,
            "max_bytes": _BATCH_BYTES,
            "next_by_subj": f"fg.rev.{origin}.>",
        }
        subject = f"{self._api(origin)}.DIRECT.GET.{stream_name(origin)}"
        inbox = client.new_inbox()
        with translated():
            answers = await client.subscribe(inbox)
        try:
            with translated():
                await client.publish(subject, orjson.dumps(body), reply=inbox)
            previous = 0
            while True:
                with translated():
                    msg = await answers.next_msg(REQUEST_S)
                headers = msg.headers or {}
                status = headers.get("Status")
                if status == _NO_MESSAGES:
                    return
                if status not in {None, _END_OF_BATCH}:
                    raise ControlError(f"the read was refused: {status}")
                if number(headers, "Nats-Last-Sequence") != previous:
                    raise ControlError("an answer was lost")
                if status == _END_OF_BATCH:
                    return
                position = number(headers, "Nats-Sequence")
                if position < 1 or headers.get("Nats-Stream") != stream_name(origin):
                    raise ControlError("a message cannot be read")
                previous = position
                stored = stored_of(headers.get("Nats-Subject", ""), headers, msg.data)
                # A foreign one keeps its position: left out, it would look like a
                # loss for ever.
                yield stored or Stored(origin, position, "", msg.data)
        finally:
            with contextlib.suppress(ControlError), translated():
                await answers.unsubscribe()

    async def _has_next(self, origin: str, after: int, to: int) -> bool:
        body = {"seq": after + 1, "next_by_subj": f"fg.rev.{origin}.>"}
        subject = f"{self._api(origin)}.STREAM.MSG.GET.{stream_name(origin)}"
        try:
            found = await self._link.ask(subject, body)
        except MissingError:
            return False
        message = found.get("message")
        return not isinstance(message, dict) or not message.get("seq", 0) > to

    async def report(self, payload: bytes) -> None:
        """Send a report to every node of every region; nobody answers."""
        client = self._link.connected()
        with translated():
            await client.publish(f"fg.ack.{self._region}.{self._node}", payload)

    async def urge(self, publisher: str, payload: bytes) -> None:
        """Send an urgent frame by core NATS, which no stream stores or holds up."""
        client = self._link.connected()
        with translated():
            await client.publish(f"fg.urgent.{self._region}.{publisher}", payload)

    async def hand(self, home: str, payload: bytes) -> bytes:
        """Hand an event to any gateway of its home; return the answer."""
        subject = f"fg.hand.{home}.{self._node}"
        return (await self._link.request(subject, payload)).data

    # What arrives.

    async def _on_live(self, msg: Msg) -> None:
        stored = stored_of(msg.subject, msg.headers or {}, msg.data)
        if stored is not None and self._listener is not None:
            self._listener.live(stored)

    async def _on_report(self, msg: Msg) -> None:
        sender = "/".join(msg.subject.split(".")[2:])
        if self._listener is not None:
            self._listener.reported(sender, msg.data)

    async def _on_urgent(self, msg: Msg) -> None:
        _, _, origin, publisher = msg.subject.split(".", 3)
        if self._listener is not None:
            self._listener.urged(origin, publisher, msg.data)

    async def _on_hand(self, msg: Msg) -> None:
        if len(self._hands) >= _MAX_HANDS:
            return  # no answer: the sender comes again
        task = asyncio.create_task(self._take(msg), name="nats-hand")
        self._hands.add(task)
        task.add_done_callback(self._hands.discard)

    async def _take(self, msg: Msg) -> None:
        if self._listener is None:
            return
        try:
            answer = await self._listener.handed(msg.data)
        except ControlError as error:
            _log.info("an event handed over was not taken: %s", error)
            answer = _REFUSED
        with contextlib.suppress(ControlError), translated():
            await msg.respond(answer)
