"""The bench `window` joins its logs rightly, and its links do what faults need."""

import asyncio
import contextlib
import json
import random

import pytest

from fastgate_bench.stand_ins import free_ports
from fastgate_bench.window.checker import Logs, judge
from fastgate_bench.window.faults import FAULTS, places, plan
from fastgate_bench.window.links import FaultLink

S = 1_000_000_000


def request(name, whose, status, node="eu-1"):
    return {"log": "request", "id": name, "whose": whose, "status": status} | {
        "node": node
    }


def revocation(name, told):
    return {"log": "revocation", "id": name, "told": told}


def judged(*lines, arrived=None, lifted=frozenset()):
    arrived = arrived or {}
    return judge(lines, arrived, dict.fromkeys(arrived, 1), lifted)


def test_the_window_counts_from_being_told_to_the_arrival_upstream():
    """The last accepted request decides, though its client gave up on the answer."""
    found = judged(
        revocation("r1", 10 * S),
        request("a", "r1", 200),
        request("b", "r1", 0),
        request("c", "r1", 401),
        arrived={"a": 11 * S, "b": 17 * S},
    )
    assert found.window_ns == 7 * S
    assert found.accepted_after == 2
    assert found.worst == "b with r1 at eu-1"


def test_what_nobody_was_told_or_was_undone_bounds_nothing():
    """A pending revocation has no clock yet; a lifted one has none any more."""
    found = judged(
        revocation("r1", 0),
        revocation("r2", 10 * S),
        request("a", "r1", 200),
        request("b", "r2", 200),
        arrived={"a": 90 * S, "b": 90 * S},
        lifted=frozenset({"r2"}),
    )
    assert (found.window_ns, found.told, found.revocations) == (0, 0, 2)


def test_good_tokens_may_be_unavailable_but_never_invalid():
    """503 is the gateway's word about itself, 401 one about the token."""
    found = judged(
        request("a", "good", 200),
        request("b", "good", 503),
        request("c", "good", 0),
        request("d", "good, healed", 401),
        arrived={"a": S},
    )
    assert found.refused == ["d at eu-1"]


def test_a_success_that_the_upstream_saw_not_once_is_told():
    """Neither nobody nor two of one."""
    lines = [request("a", "good", 200), request("b", "good", 200)]
    found = judge(lines, {"b": S}, {"b": 2}, frozenset())
    assert found.unseen == ["a: 0", "b: 2"]


def test_logs_are_read_on_from_where_the_last_round_ended(tmp_path):
    """A line that is half written is left for later; lag is not an arrival."""
    client, upstream = tmp_path / "client", tmp_path / "upstream"
    client.write_text(json.dumps(request("a", "good", 200)) + "\n")
    upstream.write_text("a 5\na 6\nlag 70000000\nb 7")
    logs = Logs(client, upstream)
    lines, first, count, late_ns = logs.read()
    assert [line["id"] for line in lines] == ["a"]
    assert (first, count, late_ns) == ({"a": 5}, {"a": 2}, 70_000_000)
    with upstream.open("a") as out:
        out.write("7\n")
    assert logs.read() == ([], {"b": 77}, {"b": 1}, 0)


def test_rounds_meet_every_fault_and_can_be_run_again():
    """The number of a round names its first fault; the rest follows from the seed."""
    first = [plan(number, random.Random(f"7/{number}")) for number in range(200)]
    again = [plan(number, random.Random(f"7/{number}")) for number in range(200)]
    assert first == again
    assert [faults[0].name for faults in first[: len(FAULTS)]] == list(FAULTS)
    for faults in first:
        taken = [place for f in faults for place in places(FAULTS[f.name][0], f.target)]
        assert len(taken) == len(set(taken))


def test_what_restarts_all_nodes_is_alone_with_them():
    """Two faults that start one node would leave a process of which nobody knows."""
    assert places("nodes", "all") >= places("node", "us-1")
    assert places("publisher", "eu-1") & places("node", "eu-1")
    assert places("publisher", "eu-1") & places("bus-region", "eu")
    assert not places("publisher", "eu-1") & places("node", "eu-2")


@contextlib.asynccontextmanager
async def echoing():
    """A link to a server that says what it hears."""

    async def serve(reader, writer):
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()

    port, far = free_ports(2)
    server = await asyncio.start_server(serve, "127.0.0.1", far)
    link = FaultLink(far)
    await link.start(port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"HELLO"
        yield link, reader, writer, port
    finally:
        writer.transport.abort()
        await link.stop()
        server.close()


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_link_holds_one_direction_until_it_heals(way):
    """Nothing is told meanwhile, and nothing is lost."""
    async with echoing() as (link, reader, writer, _):
        link.hold(up=way == "up", down=way == "down")
        writer.write(b"more")
        answer = asyncio.create_task(reader.readexactly(4))
        done, _ = await asyncio.wait({answer}, timeout=0.1)
        assert not done
        link.heal()
        assert await answer == b"MORE"


async def test_a_link_delivers_late_and_in_order():
    """An even delay, both ways."""
    async with echoing() as (link, reader, writer, _):
        link.slow(0.1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        writer.write(b"late")
        assert await reader.readexactly(4) == b"LATE"
        assert loop.time() - began >= 0.2


async def test_a_link_that_is_reset_breaks_and_refuses():
    """Both ends know at once; after the heal it serves again."""
    async with echoing() as (link, reader, _, port):
        await link.reset()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        refused, its_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await refused.read() == b""
        its_writer.transport.abort()
        link.heal()
        again, its_writer = await asyncio.open_connection("127.0.0.1", port)
        its_writer.write(b"again")
        assert await again.readexactly(5) == b"AGAIN"
        its_writer.transport.abort()
