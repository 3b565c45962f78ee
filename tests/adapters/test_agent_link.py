"""The link between workers and the agent: one flight, bounded, and nobody hangs."""

import asyncio
import contextlib
import pathlib
import socket
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import structlog
import uvloop
from structlog.testing import capture_logs

from fastgate.adapters.agent_link import (
    MAX_MESSAGE_BYTES,
    AgentLinks,
    LinkPairs,
    WorkerLink,
)

LOGIN: Any = SimpleNamespace(alias="login")
OTHER: Any = SimpleNamespace(alias="other")
DEADLINE_S = 20.0  # far beyond what a healthy run takes; a hang fails here


class Agent:
    """What the agent does with questions and notes, under control of the test."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.notes: list[tuple[int, str, object]] = []
        self.release = asyncio.Event()
        self.release.set()
        self.changed = asyncio.Condition()

    async def on_ask(self, alias: str, kid: str | None) -> None:
        self.asked.append((alias, kid))
        await self._announce()
        if kid != "quick":
            await self.release.wait()
        if kid == "fails":
            raise RuntimeError("a fault of the callback")

    def on_note(self, slot: int, kind: str, data: object) -> None:
        self.notes.append((slot, kind, data))
        self.task = asyncio.ensure_future(self._announce())

    async def _announce(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(condition)


class Node:
    """Two worker slots and an agent, in one process."""

    def __init__(self, **limits: Any) -> None:
        self.pairs = LinkPairs.create(2)
        self.agent = Agent()
        self.limits = limits
        self.ends = [(agent, worker) for agent, worker in self.pairs._pairs]
        self.worker = self.new_worker()
        self.links = self.new_links()

    def new_worker(self, slot: int = 0) -> WorkerLink:
        limits = {"wait_s": DEADLINE_S}
        limits |= {k: v for k, v in self.limits.items() if k != "max_asks"}
        return WorkerLink(self.ends[slot][1], **limits)

    def new_links(self) -> AgentLinks:
        asks = {k: v for k, v in self.limits.items() if k == "max_asks"}
        return AgentLinks(
            [agent for agent, _ in self.ends],
            on_ask=self.agent.on_ask,
            on_note=self.agent.on_note,
            log=structlog.get_logger(),
            **asks,
        )

    def raw(self, packet: bytes) -> None:
        """Send as a worker that does not keep to the protocol."""
        self.ends[0][1].send(packet)


@contextlib.asynccontextmanager
async def running(**limits: Any):
    node = Node(**limits)
    node.worker.start()
    node.links.start()
    try:
        yield node
    finally:
        node.worker.stop()
        await node.links.stop()
        node.pairs.close()


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        return await awaitable


async def test_ask_returns_when_the_agent_has_answered():
    """The agent gets alias and kid; the worker goes on when it is done."""
    async with running() as node:
        await soon(node.worker.ask(LOGIN, "k1"))
        await soon(node.worker.ask(LOGIN, None))
        assert node.agent.asked == [("login", "k1"), ("login", None)]


def test_ask_works_on_uvloop():
    """The product runs on uvloop, whose readers are not asyncio's."""

    async def main() -> None:
        async with running() as node:
            await soon(node.worker.ask(LOGIN, "k1"))
            assert node.worker.notify("tap", [1])
            await node.agent.until(lambda: node.agent.notes)
            assert node.agent.notes == [(0, "tap", [1])]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_ask_waits_for_the_agent_and_shares_one_flight():
    """Requests with the same unknown kid are one question, also across callers."""
    async with running() as node:
        node.agent.release.clear()
        callers = [asyncio.create_task(node.worker.ask(LOGIN, "k")) for _ in range(50)]
        others = [asyncio.create_task(node.worker.ask(OTHER, "k"))]
        await node.agent.until(lambda: len(node.agent.asked) == 2)
        assert not any(task.done() for task in callers)
        node.agent.release.set()
        await soon(asyncio.gather(*callers, *others))
        assert sorted(node.agent.asked) == [("login", "k"), ("other", "k")]
        await soon(node.worker.ask(LOGIN, "k"))
        assert len(node.agent.asked) == 3


async def test_ask_returns_when_nobody_answers():
    """A dead agent costs a request its wait, and nothing else."""
    node = Node(wait_s=0.02)
    node.worker.start()
    await soon(asyncio.gather(*(node.worker.ask(LOGIN, "k") for _ in range(9))))
    await soon(node.worker.ask(LOGIN, "k"))
    node.worker.stop()
    node.pairs.close()


async def test_ask_returns_at_once_when_too_many_are_under_way():
    """A flood of invented kids does not pile up questions."""
    async with running(max_pending=3) as node:
        node.agent.release.clear()
        flights = [asyncio.create_task(node.worker.ask(LOGIN, k)) for k in "abc"]
        await node.agent.until(lambda: len(node.agent.asked) == 3)
        await soon(node.worker.ask(LOGIN, "d"))
        assert not any(task.done() for task in flights)
        assert node.worker.counts()["dropped"] == 1
        node.agent.release.set()
        await soon(asyncio.gather(*flights))
        assert [kid for _, kid in node.agent.asked] == ["a", "b", "c"]


async def test_ask_goes_on_for_others_when_one_caller_is_cancelled():
    """A client that hangs up takes nobody else's answer away."""
    async with running() as node:
        node.agent.release.clear()
        first = asyncio.create_task(node.worker.ask(LOGIN, "k"))
        second = asyncio.create_task(node.worker.ask(LOGIN, "k"))
        await node.agent.until(lambda: node.agent.asked)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not second.done()
        node.agent.release.set()
        await soon(second)
        assert len(node.agent.asked) == 1


@pytest.mark.parametrize("kid", ["\ud800", "k" * (MAX_MESSAGE_BYTES + 1)])
async def test_ask_returns_when_the_kid_cannot_be_sent(kid):
    """Whatever a token carried, asking raises nothing."""
    async with running() as node:
        await soon(node.worker.ask(LOGIN, kid))
        assert node.agent.asked == []


async def test_worker_drops_when_the_agent_does_not_read():
    """A stuck agent fills the buffer; then notes are dropped and asking returns."""
    node = Node()
    node.worker.start()
    sent = 0
    while node.worker.notify("tap", "x" * 2000):
        sent += 1
    assert 0 < sent < 10_000
    await soon(node.worker.ask(LOGIN, "k" * 256))
    assert node.worker.counts()["dropped"] == 2
    node.worker.stop()
    node.pairs.close()


async def test_stop_lets_go_whoever_waits():
    """A worker that ends leaves no request waiting for the agent."""
    async with running() as node:
        node.agent.release.clear()
        waiting = asyncio.create_task(node.worker.ask(LOGIN, "k"))
        await node.agent.until(lambda: node.agent.asked)
        node.worker.stop()
        await soon(waiting)


async def test_answer_to_a_predecessor_means_nothing_to_the_successor():
    """Ids carry a nonce, so a late answer ends no other question."""
    async with running() as node:
        node.agent.release.clear()
        abandoned = asyncio.create_task(node.worker.ask(LOGIN, "old"))
        await node.agent.until(lambda: len(node.agent.asked) == 1)
        node.worker.stop()  # as if killed: the question is with the agent
        await soon(abandoned)
        successor = node.new_worker()
        successor.start()
        asked = asyncio.create_task(successor.ask(LOGIN, "new"))
        await node.agent.until(lambda: len(node.agent.asked) == 2)
        for stale in ("0123456789abcdef-1", node.worker._nonce + "-1"):
            node.ends[0][0].send(orjson.dumps({"id": stale}))
        node.ends[0][0].send(b'{"id": 7}')
        await soon(successor.ask(LOGIN, "quick"))  # comes after what was sent above
        assert not asked.done()
        assert successor.counts()["malformed"] == 1
        node.agent.release.set()
        await soon(asked)
        successor.stop()


async def test_question_waits_for_a_new_agent():
    """What was asked while the agent was being replaced is answered by the next."""
    node = Node()
    node.worker.start()
    asked = asyncio.create_task(node.worker.ask(LOGIN, "k"))
    await asyncio.sleep(0)
    node.links.start()
    await soon(asked)
    await node.links.stop()
    successor = node.new_links()
    successor.start()
    await soon(node.worker.ask(LOGIN, "k2"))
    assert node.agent.asked == [("login", "k"), ("login", "k2")]
    await successor.stop()
    node.worker.stop()
    node.pairs.close()


@pytest.mark.parametrize(
    "packet",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"id": 1, "ask": "login", "kid": null}',
        b'{"id": "", "ask": "login", "kid": null}',
        b'{"id": "%s", "ask": "login", "kid": null}' % (b"i" * 65),
        b'{"id": "a", "ask": null, "kid": null}',
        b'{"id": "a", "ask": "%s", "kid": null}' % (b"a" * 129),
        b'{"id": "a", "ask": "login", "kid": 7}',
        b'{"id": "a", "ask": "login", "kid": "%s"}' % (b"k" * 257),
        b'{"note": 7}',
        b'{"note": "%s"}' % (b"n" * 129),
        b'{"note": "tap", "data": "%s"}' % (b"d" * MAX_MESSAGE_BYTES),
    ],
)
async def test_agent_drops_a_malformed_message_and_goes_on(packet):
    """A worker that was taken over can neither stop nor confuse the agent."""
    async with running() as node:
        node.raw(packet)
        await soon(node.worker.ask(LOGIN, "k"))
        assert node.agent.asked == [("login", "k")]
        assert node.agent.notes == []
        assert node.links.counts() == {"dropped": 0, "malformed": 1}


async def test_agent_answers_when_the_callback_fails():
    """A fault is logged once and the worker does not wait for it."""
    async with running() as node:
        with capture_logs() as lines:
            await soon(node.worker.ask(LOGIN, "fails"))
        assert [line["log_level"] for line in lines] == ["error"]
        assert "fails" not in str(lines[0]["event"])
        await soon(node.worker.ask(LOGIN, "k"))


async def test_agent_answers_at_once_when_one_worker_asks_too_much():
    """Questions over the limit are answered unasked; other workers are not touched."""
    async with running(max_asks=2) as node:
        node.agent.release.clear()
        flights = [asyncio.create_task(node.worker.ask(LOGIN, k)) for k in "ab"]
        await node.agent.until(lambda: len(node.agent.asked) == 2)
        await soon(node.worker.ask(LOGIN, "c"))
        assert len(node.agent.asked) == 2
        second = node.new_worker(1)
        second.start()
        flights.append(asyncio.create_task(second.ask(LOGIN, "d")))
        await node.agent.until(lambda: len(node.agent.asked) == 3)
        node.agent.release.set()
        await soon(asyncio.gather(*flights))
        second.stop()


async def test_note_arrives_with_its_slot():
    """The agent knows which worker a note is from, by the socket it came over."""
    async with running() as node:
        second = node.new_worker(1)
        assert second.notify("tap", {"kind": "sid"})
        assert node.worker.notify("state", None)
        await node.agent.until(lambda: len(node.agent.notes) == 2)
        assert (1, "tap", {"kind": "sid"}) in node.agent.notes
        assert (0, "state", None) in node.agent.notes


@pytest.mark.parametrize("data", ["x" * MAX_MESSAGE_BYTES, object()])
async def test_note_is_dropped_when_it_cannot_be_sent(data):
    """A note that does not fit, or is no JSON, is counted and raises nothing."""
    async with running() as node:
        assert not node.worker.notify("tap", data)
        assert node.worker.counts()["dropped"] == 1


async def test_reader_stops_when_every_other_end_is_closed(monkeypatch):
    """At the end of its stream a reader is removed in place of spinning."""
    node = Node()
    end, stopped = node.worker._end, asyncio.Event()
    stop = end.stop
    monkeypatch.setattr(end, "stop", lambda: (stop(), stopped.set()))
    node.worker.start()
    for agent, _ in node.ends:
        agent.close()
    await soon(stopped.wait())
    assert not asyncio.get_running_loop().remove_reader(node.ends[0][1])
    await soon(node.worker.ask(LOGIN, "k"))
    node.pairs.close()


def open_sockets() -> int:
    count = 0
    for entry in pathlib.Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            count += str(entry.readlink()).startswith("socket:")
    return count


@pytest.mark.parametrize("role", ["agent", "worker"])
def test_child_keeps_its_own_ends_only(role):
    """A worker that was taken over cannot speak for another one."""
    before = open_sockets()
    pairs = LinkPairs.create(3)
    kept = pairs.agent_ends() if role == "agent" else [pairs.worker_end(1)]
    assert open_sockets() == before + (3 if role == "agent" else 1)
    for end in kept:
        assert end.type & socket.SOCK_SEQPACKET
    pairs.close()
    assert open_sockets() == before
