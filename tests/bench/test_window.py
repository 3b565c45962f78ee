"""The bench `window` joins its logs rightly, and its links do what faults need."""

import asyncio
import contextlib
import json
import random
import signal

import pytest

from fastgate.cli.bench import _bar
from fastgate_bench.budget import read_budgets
from fastgate_bench.figures import Measured
from fastgate_bench.options import Options
from fastgate_bench.stand_ins import free_ports
from fastgate_bench.suite import SUPPLIED
from fastgate_bench.window import rounds
from fastgate_bench.window.checker import Findings, Logs, judge
from fastgate_bench.window.faults import FAULTS, places, plan
from fastgate_bench.window.links import FaultLink
from fastgate_bench.window.totals import Totals, note

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


def test_a_falsified_log_is_found(tmp_path):
    """One request after a 201 that reached the upstream ten seconds late, in files."""
    client, upstream = tmp_path / "client", tmp_path / "upstream"
    lines = [revocation(f"r{n}", n * S) for n in range(1, 50)]
    lines += [request(f"q{n}", f"r{n}", 401) for n in range(1, 50)]
    client.write_text("".join(json.dumps(line) + "\n" for line in lines))
    upstream.write_text("good-1 5\n")
    lines, first, count, _ = Logs(client, upstream).read()
    assert judge(lines, first, count, frozenset()).window_ns == 0
    # The gateway's answer to its client still says 401.
    upstream.write_text(f"good-1 5\nq17 {27 * S + 1}\n")
    lines, first, count, _ = Logs(client, upstream).read()
    found = judge(lines, first, count, frozenset())
    assert found.window_ns == 10 * S + 1
    assert found.accepted_after == 1
    assert found.worst == "q17 with r17 at eu-1"


def budgets_of(totals):
    measured = Measured()
    totals.into(measured)
    budgets = read_budgets(SUPPLIED / "window.yaml", "window")
    return {figure.metric: figure for figure in budgets.judge(measured)}, measured


def test_a_run_that_was_ended_keeps_its_rounds_and_fails():
    """What is there is judged; what is missing is a missed budget of its own."""
    totals = Totals(wanted=3)
    faults = plan(0, random.Random(4))
    totals.add(faults, Findings(window_ns=2 * S, checked=7), 1.5)
    figures, measured = budgets_of(totals)
    assert figures["window max"].value == 2.0
    assert figures["window max"].ok
    assert figures["rounds-missing count"].value == 2
    assert not figures["rounds-missing count"].ok
    assert "it was ended after 1 of 3 rounds" in measured.notes
    assert measured.conditions["faults_met"]["link-cut"] == 1


def test_a_run_that_is_whole_misses_nothing():
    """All budgets of the file are met by figures of these names."""
    totals = Totals(wanted=1)
    totals.add(plan(0, random.Random(4)), Findings(), 1.5)
    figures, _ = budgets_of(totals)
    assert all(figure.ok for figure in figures.values())


@pytest.mark.parametrize("what", ["lost", "refused", "unhealed"])
def test_what_went_wrong_fails_the_run(what):
    """One of anything is too many."""
    found = Findings()
    getattr(found, what).append("it")
    totals = Totals(wanted=1)
    totals.add(plan(0, random.Random(4)), found, 1.5)
    figures, _ = budgets_of(totals)
    assert [name for name, figure in figures.items() if not figure.ok] == [
        f"{'good-' if what == 'refused' else ''}{what} count"
    ]


def test_the_line_about_a_round_is_bounded():
    """Ten thousand lost tokens are a number and a few names."""
    found = Findings(lost=["x" * 300] * 10_000, refused=["y" * 300] * 10_000)
    line = note(3, "link-cut(ap) 5.0s", found, ["a burst"])
    assert "10000 lost" in line
    assert len(line) < 2_000


async def test_a_signal_ends_the_rounds_and_keeps_those_before(monkeypatch):
    """SIGTERM as SIGINT: the run returns what it has, and stops the rig."""
    stopped, told = [], []

    async def a_round(self, number, faults):
        if number:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.Event().wait()
        self._totals.add(faults, Findings(window_ns=S, checked=1), 0.5)
        self._notes.append(f"round {number} was that")

    async def stop(self):
        stopped.append(True)

    monkeypatch.setattr(rounds._Series, "_round", a_round)
    monkeypatch.setattr(rounds._Series, "stop", stop)
    async with asyncio.timeout(10):
        options = Options(rounds=5, seed=4)
        measured = await rounds.run(options, lambda *step: told.append(step))
    assert stopped
    assert ("round 0 was that", 0.2) in told
    assert measured.stage("rounds").values == {"count": 1.0}
    assert measured.stage("rounds-missing").values == {"count": 4.0}
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("lines", [True, False])
def test_a_long_run_tells_its_steps_in_lines_where_there_is_no_terminal(capsys, lines):
    """A log that is looked at; other benches say nothing on stderr."""
    with _bar(lines=lines) as tell:
        tell("round 3: link-cut(ap) [5.0s]", 0.25)
    said = " 25% round 3: link-cut(ap) [5.0s]\n" if lines else ""
    assert capsys.readouterr().err == said
