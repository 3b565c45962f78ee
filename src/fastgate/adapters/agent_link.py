"""Agent link: the one question a worker may ask, and small notes, over socket pairs.

Owns:      a pair of connected sockets per worker slot, kept open by the supervisor so
           that a new agent or worker finds its end where its predecessor left it.
Called by: wiring. `LinkPairs` in the supervisor and at the start of each child,
           `WorkerLink` in workers (it implements ports.KeyAsker), `AgentLinks` in the
           agent.

A message is one JSON object of at most 20 KiB in one packet:
    worker to agent   {"id": "…", "ask": alias, "kid": kid or null}
    agent to worker   {"id": "…"}, when the answer is in shared memory
    worker to agent   {"note": kind, "data": …}, which has no answer
An id begins with a nonce of its process, so an answer to a predecessor's question means
nothing to its successor. Neither side believes the other: what is malformed is dropped
and counted, and a sender that is not read from drops instead of waiting.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self

import orjson
import structlog

from fastgate.domain.token import IssuerProfile

__all__ = ["MAX_MESSAGE_BYTES", "AgentLinks", "LinkPairs", "WorkerLink"]

# Reason: a note on the largest token that may be configured (16 KiB); far below what a
# socket buffer takes at once (208 KiB), in which packets are charged as they are.
MAX_MESSAGE_BYTES: Final = 20 * 1024
# Reason: other tasks of the loop get their turn between two bursts of messages.
_BURST: Final = 64
_MAX_ID_CHARS: Final = 64
_MAX_NAME_CHARS: Final = 128  # of an alias or a kind of note
_MAX_KID_CHARS: Final = 256  # as in token headers
# Reason: longer than any fetch of a key set (5 s), so only a hang meets it.
_ANSWER_S: Final = 10.0

Message = dict[str, Any]


class LinkPairs:
    """Both ends of every link; made by the supervisor before it forks anybody."""

    def __init__(self, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
        self._pairs = pairs

    @classmethod
    def create(cls, workers: int) -> Self:
        """Make one pair per worker slot. Raises OSError without descriptors."""
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
        return cls([socket.socketpair(socket.AF_UNIX, kind) for _ in range(workers)])

    def worker_end(self, slot: int) -> socket.socket:
        """Keep the end of worker `slot` and close all others; once, in that worker."""
        for index, (agent, worker) in enumerate(self._pairs):
            agent.close()
            if index != slot:
                worker.close()
        return self._pairs[slot][1]

    def agent_ends(self) -> list[socket.socket]:
        """Keep the agent's ends, by slot, and close the others; once, in the agent."""
        for _, worker in self._pairs:
            worker.close()
        return [agent for agent, _ in self._pairs]

    def close(self) -> None:
        """Close both ends of every pair."""
        for pair in self._pairs:
            for end in pair:
                end.close()


class _End:
    """One end of a pair on the running loop: packets in, packets out, nothing waits."""

    def __init__(
        self, sock: socket.socket, on_message: Callable[[Message], None]
    ) -> None:
        self._sock = sock
        self._on_message = on_message
        self.malformed_count = 0
        self.dropped_count = 0

    def start(self) -> None:
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock, self._on_readable)

    def stop(self) -> None:
        """Stop reading; the socket stays open, for what others still hold of it."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)

    def send(self, message: Message) -> bool:
        """Send or drop; False where it was dropped."""
        try:
            packet = orjson.dumps(message)
            if len(packet) <= MAX_MESSAGE_BYTES:
                self._sock.send(packet)
                return True
        except (TypeError, OSError):  # not JSON; or full, or the peer is gone
            pass
        self.dropped_count += 1
        return False

    def _on_readable(self) -> None:
        for _ in range(_BURST):
            try:
                packet = self._sock.recv(MAX_MESSAGE_BYTES + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                packet = b""
            if not packet:
                # Only without a supervisor, which holds both ends: nobody is left to
                # talk to, and a reader at the end of its stream would spin.
                self.stop()
                return
            message = _parse(packet)
            if message is None:
                self.malformed_count += 1
            else:
                self._on_message(message)


def _parse(packet: bytes) -> Message | None:
    if len(packet) > MAX_MESSAGE_BYTES:
        return None
    try:
        message = orjson.loads(packet)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


class WorkerLink:
    """The worker's end: asks about unknown kids, one flight each, never for long."""

    def __init__(
        self, end: socket.socket, *, wait_s: float = 1.0, max_pending: int = 64
    ) -> None:
        """Wrap an end of `LinkPairs.worker_end`; `start` begins to read.

        on_tell: May be set: called with kind and data of what the agent tells all
            workers, on the loop; must not block.
        wait_s: Longest wait for an answer, seconds.
        max_pending: Distinct questions under way; one more returns unasked.
        """
        self._end = _End(end, self._on_message)
        self._wait_s = wait_s
        self._max_pending = max_pending
        self._nonce = secrets.token_hex(8)
        self._asked_count = 0
        self._flights: dict[tuple[str, str | None], asyncio.Future[None]] = {}
        self._by_id: dict[str, asyncio.Future[None]] = {}
        self.on_tell: Callable[[str, object], None] = lambda _, __: None

    def start(self) -> None:
        """Read answers on the running loop."""
        self._end.start()

    def stop(self) -> None:
        """Stop reading and let go everybody who waits."""
        self._end.stop()
        for flight in list(self._by_id.values()):
            _land(flight)

    async def ask(self, issuer: IssuerProfile, kid: str | None) -> None:
        """Return when the agent has answered, or after `wait_s`; see ports.KeyAsker.

        Returns at once where too many questions are under way or the agent reads
        nothing. Raises nothing of its own.
        """
        key = (issuer.alias, kid)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._take_off(key)
        if flight is not None:
            # A caller that goes away leaves the flight to the others.
            await asyncio.shield(flight)

    def notify(self, kind: str, data: object) -> bool:
        """Send a note; False where it was dropped because the agent reads too slowly.

        kind: Name that the agent knows. data: Anything JSON, within MAX_MESSAGE_BYTES.
        """
        return self._end.send({"note": kind, "data": data})

    def counts(self) -> dict[str, int]:
        """Count what was dropped and what was malformed, for status and metrics."""
        end = self._end
        return {"dropped": end.dropped_count, "malformed": end.malformed_count}

    def _take_off(self, key: tuple[str, str | None]) -> asyncio.Future[None] | None:
        if len(self._flights) >= self._max_pending:
            self._end.dropped_count += 1
            return None
        self._asked_count += 1
        name = f"{self._nonce}-{self._asked_count}"
        if not self._end.send({"id": name, "ask": key[0], "kid": key[1]}):
            return None
        loop = asyncio.get_running_loop()
        flight: asyncio.Future[None] = loop.create_future()
        self._flights[key] = self._by_id[name] = flight
        deadline = loop.call_later(self._wait_s, _land, flight)

        def forget(_: asyncio.Future[None]) -> None:
            deadline.cancel()
            del self._flights[key], self._by_id[name]

        flight.add_done_callback(forget)
        return flight

    def _on_message(self, message: Message) -> None:
        told = message.get("tell")
        if isinstance(told, str):
            self.on_tell(told, message.get("data"))
            return
        name = message.get("id")
        if not isinstance(name, str):
            self._end.malformed_count += 1
            return
        flight = self._by_id.get(name)
        if flight is not None:  # else late, or an answer to a predecessor
            _land(flight)


def _land(flight: asyncio.Future[None]) -> None:
    if not flight.done():
        flight.set_result(None)


class AgentLinks:
    """The agent's ends: answers every worker's questions, some at a time."""

    def __init__(
        self,
        ends: list[socket.socket],
        *,
        on_ask: Callable[[str, str | None], Awaitable[None]],
        on_note: Callable[[int, str, object], None],
        log: structlog.typing.FilteringBoundLogger,
        max_asks: int = 64,
    ) -> None:
        """Wrap the ends of `LinkPairs.agent_ends`; `start` begins to read.

        on_ask: Called with alias and kid as a worker gave them: neither is checked
            against the configuration. The worker is answered when it is done.
        on_note: Called with slot, kind and data, on the loop; must not block.
        max_asks: Questions of one worker under way; one more is answered at once.
        """
        self._on_ask = on_ask
        self._on_note = on_note
        self._log = log
        self._max_asks = max_asks
        self._ends = [_End(end, self._receiver(slot)) for slot, end in enumerate(ends)]
        self._asks: list[set[asyncio.Task[None]]] = [set() for _ in ends]

    def start(self) -> None:
        """Read questions on the running loop."""
        for end in self._ends:
            end.start()

    async def stop(self) -> None:
        """Stop reading and cancel what is under way."""
        for end in self._ends:
            end.stop()
        tasks = [task for asks in self._asks for task in asks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def tell(self, kind: str, data: Mapping[str, object]) -> None:
        """Tell every worker something; dropped where one reads too slowly."""
        for end in self._ends:
            end.send({"tell": kind, "data": data})

    def counts(self) -> dict[str, int]:
        """Count what was dropped and what was malformed, for status and metrics."""
        return {
            "dropped": sum(end.dropped_count for end in self._ends),
            "malformed": sum(end.malformed_count for end in self._ends),
        }

    def _receiver(self, slot: int) -> Callable[[Message], None]:
        def receive(message: Message) -> None:
            if "note" in message:
                self._receive_note(slot, message)
            else:
                self._receive_ask(slot, message)

        return receive

    def _receive_note(self, slot: int, message: Message) -> None:
        kind = message["note"]
        if not _is_text(kind, _MAX_NAME_CHARS):
            self._ends[slot].malformed_count += 1
            return
        self._on_note(slot, kind, message.get("data"))

    def _receive_ask(self, slot: int, message: Message) -> None:
        end = self._ends[slot]
        question = _question(message)
        if question is None:
            end.malformed_count += 1
            return
        name, alias, kid = question
        asks = self._asks[slot]
        if len(asks) >= self._max_asks:
            end.dropped_count += 1
            end.send({"id": name})
            return
        task = asyncio.create_task(self._answer(end, name, alias, kid))
        asks.add(task)
        task.add_done_callback(asks.discard)

    async def _answer(self, end: _End, name: str, alias: str, kid: str | None) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    await self._on_ask(alias, kid)
        except Exception:  # noqa: BLE001
            # The task's last border: a fault in one answer must not cost the others,
            # and the worker judges by the keys that are there.
            self._log.exception("a question for a key failed", issuer=alias)
        end.send({"id": name})


def _is_text(value: object, max_chars: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= max_chars


def _question(message: Mapping[str, object]) -> tuple[str, str, str | None] | None:
    name, alias, kid = message.get("id"), message.get("ask"), message.get("kid")
    if not isinstance(name, str) or not _is_text(name, _MAX_ID_CHARS):
        return None
    if not isinstance(alias, str) or not _is_text(alias, _MAX_NAME_CHARS):
        return None
    if kid is not None and not (isinstance(kid, str) and len(kid) <= _MAX_KID_CHARS):
        return None
    return name, alias, kid
