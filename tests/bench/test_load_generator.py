"""The load generator keeps its rate whatever comes back, and believes no answer."""

import pytest
from tests.bench.slow_server import answer, slow_server

from fastgate.errors import StartError
from fastgate_bench.generator import Load, generate
from fastgate_bench.histogram import decoded, encoded
from fastgate_bench.plan import Outcome, Plan


def plan(server, **changes):
    """A short run on a server."""
    given = {"rate": 500.0, "seconds": 0.4, "connections": 4, "drain_s": 10.0}
    return Plan(host="127.0.0.1", port=server.port, **(given | changes))


def later_than(load, limit_ms):
    """How many requests took longer."""
    histogram = decoded(load.outcome.latency)
    return sum(
        histogram.get_count_at_value(one.value_iterated_to)
        for one in histogram.get_recorded_iterator()
        if one.value_iterated_to > limit_ms * 1000
    )


async def test_generator_sends_the_count_that_is_due_and_checks_each_answer():
    """The rate times the seconds, each with its own tag, each answered."""
    async with slow_server() as server:
        load = await generate(plan(server))
    assert load.outcome.due == load.outcome.good == server.requests == 200
    assert load.fault() == ""
    tags = {head.partition(b"X-Bench-Tag: ")[2][:10] for head in server.heads}
    assert len(tags) == 200


async def test_generator_counts_each_request_that_a_stall_kept_from_being_sent():
    """Few connections hide nothing: what was due in the stall is late as well."""
    async with slow_server(stall_at=100, stall_s=0.4) as server:
        load = await generate(plan(server, rate=1000.0, seconds=1.0))
    # Due in the stall: 400. Three quarters of them waited longer than 100 ms; a closed
    # loop of four connections would have seen four.
    assert decoded(load.outcome.latency).get_total_count() == 1000
    assert later_than(load, 100.0) >= 250
    assert load.outcome.waited > 100
    assert load.outcome.good == 1000


async def test_generator_measures_a_constant_delay_at_every_percentile():
    """A server that always takes 20 ms is never faster in the histogram."""
    async with slow_server(delay_s=0.02) as server:
        load = await generate(plan(server, rate=100.0, connections=16))
    assert load.latency_ms()["p50"] >= 20.0
    assert later_than(load, 19.5) == load.outcome.due


async def test_generator_counts_unanswered_requests_as_late_as_the_end():
    """A request that nobody answers is no gap in the histogram."""
    async with slow_server(silent_from=50) as server:
        load = await generate(plan(server, connections=2, drain_s=0.5))
    found = load.outcome
    assert found.good == 50
    assert (found.lost, found.unsent) == (2, 148)
    assert decoded(found.latency).get_total_count() == 200
    assert later_than(load, 500.0) >= 140
    assert "lost: 2" in load.fault()
    assert "never sent: 148" in load.fault()


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (lambda _, tag: [answer(tag, 503)], "503"),
        (lambda _, tag: [answer(b"0" * 10 if tag != b"0" * 10 else b"1")], "another's"),
        (lambda *_: [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], "another's"),
        (lambda *_: None, "closed in an answer"),
        (lambda *_: [b"hello\r\n\r\n"], "no HTTP/1 answer"),
        (lambda _, tag: [answer(tag) + b"x"], "more than the announced length"),
        (lambda *_: [b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"], "no number"),
    ],
    ids=["status", "tag", "no tag", "cut", "garbage", "extra", "length"],
)
async def test_generator_names_what_is_wrong_with_answers(script, fault):
    """A figure made of wrong answers is no figure, and says what they were."""
    async with slow_server(script=script) as server:
        load = await generate(plan(server, rate=100.0, drain_s=0.5))
    assert load.outcome.good == 0
    assert fault in load.fault()


async def test_generator_reads_chunked_answers_in_any_pieces():
    """Head, sizes, extensions and data may be cut anywhere."""

    def chunked(_number, tag):
        text = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Bench-Tag: %b\r\n\r\n"
            b"4;a=b\r\nwiki\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n" % tag
        )
        return [text[at : at + 1] for at in range(len(text))]

    async with slow_server(script=chunked) as server:
        load = await generate(plan(server, rate=50.0))
    assert load.outcome.good == 20
    assert load.fault() == ""


async def test_generator_opens_new_connections_when_asked_to_churn():
    """After so many answers a connection is closed and another one opened."""
    async with slow_server() as server:
        load = await generate(plan(server, churn=5))
    assert load.outcome.good == 200
    assert load.outcome.opened >= 40
    assert load.fault() == ""


async def test_generator_sends_bodies_and_tokens(tmp_path):
    """Tokens are used in turn, a body has the announced length."""
    tokens = tmp_path / "tokens"
    tokens.write_text("one\ntwo\n", "ascii")
    async with slow_server() as server:
        load = await generate(
            plan(server, method="POST", body_bytes=5000, tokens=str(tokens))
        )
    assert load.outcome.good == 200
    assert server.bodies == 200 * 5000
    bearers = [head.partition(b"Bearer ")[2][:3] for head in server.heads]
    assert sorted(bearers) == [b"one"] * 100 + [b"two"] * 100


async def test_closed_loop_answers_as_many_as_it_sends():
    """Rate 0 finds a maximum; each answer is still checked."""
    async with slow_server() as server:
        load = await generate(plan(server, rate=0.0, seconds=0.3))
    assert load.outcome.good == load.outcome.answers > 50
    assert load.fault() == ""


async def test_generator_says_so_when_nobody_listens():
    """A refused connection is one line, not a histogram of nothing."""
    async with slow_server() as server:
        pass
    with pytest.raises(StartError, match="load generator failed"):
        await generate(plan(server))


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": 0.0},
        {"seconds": 601.0},
        {"connections": 0},
        {"connections": 20_001},
        {"rate": 1e6, "seconds": 60.0},
        {"rate": 0.1},
        {"rate": -1.0},
        {"target": "/\r\nX: y"},
    ],
)
def test_plan_without_bounds_is_refused(changes):
    """Every run has an end, a size, and one request a message."""
    given = {"rate": 10.0, "seconds": 1.0} | changes
    with pytest.raises(StartError):
        Plan(host="127.0.0.1", port=1, **given).check()


def outcome(**changes):
    """A good outcome of ten requests."""
    given = {
        "due": 10,
        "answers": 10,
        "good": 10,
        "statuses": {"200": 10},
        "mismatched": 0,
        "errors": {},
        "lost": 0,
        "unsent": 0,
        "latency": encoded([100] * 10),
        "lag": encoded([20] * 10),
        "waited": 0,
        "cpu_share": 0.3,
        "core_share": 0.5,
        "seconds": 1.0,
        "opened": 1,
    }
    return Outcome(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"cpu_share": 0.95}, "used 95% of its core"),
        ({"core_share": 0.99}, "load and upstream was 99% busy"),
        ({"lag": encoded([5_000] * 10)}, "late itself: p99 5.0"),
    ],
)
def test_load_refuses_a_figure_where_the_generator_was_the_bottleneck(changes, why):
    """A late or busy generator measures itself."""
    load = Load(Plan("127.0.0.1", 1, 10.0, 1.0), outcome(**changes))
    assert why in load.bottleneck()
    assert bool(load.bottleneck()) is bool(why)


def test_outcome_survives_its_own_json():
    """What the generator's process writes is what its parent reads."""
    assert Outcome.decode(outcome().encode()) == outcome()
    with pytest.raises(StartError):
        Outcome.decode(b'{"due": 1}')
