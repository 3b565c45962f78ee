"""Rounds: which of them make a figure, and what their CPU is divided by."""

import pytest
from tests.bench.slow_server import slow_server

from fastgate_bench.generator import Load
from fastgate_bench.histogram import encoded
from fastgate_bench.machine import Account
from fastgate_bench.plan import Outcome, Plan
from fastgate_bench.runs import Rounds, Used, held_back, in_turn, used_between


def load(*, rate=0.0, core_share=0.5, cpu_share=0.3, good=10):
    """One round of ten requests."""
    outcome = Outcome(
        due=10,
        answers=10,
        good=good,
        statuses={"200": 10},
        mismatched=0,
        errors={},
        lost=0,
        unsent=0,
        latency=encoded([100] * 10),
        lag=encoded([20] * 10),
        waited=0,
        cpu_share=cpu_share,
        core_share=core_share,
        seconds=2.0,
        opened=1,
    )
    return Load(Plan("127.0.0.1", 1, rate, 1.0), outcome)


@pytest.mark.parametrize(
    ("made", "share", "why"),
    [
        (load(core_share=0.99), 0.99, ""),
        (load(core_share=0.5), 0.5, ""),
        (
            load(core_share=0.99),
            0.5,
            "load and upstream was 99% busy, the gateway's 50%",
        ),
        (load(cpu_share=0.95), 0.99, "used 95% of its core"),
        (load(rate=10.0, core_share=0.99), 0.99, "load and upstream was 99% busy"),
    ],
    ids=["gateway full", "neither full", "load full", "generator full", "open loop"],
)
def test_round_counts_unless_the_load_held_the_gateway_back(made, share, why):
    """A gateway that waits for its load seems dearer than it is."""
    found = held_back(made, Used(20.0, share=share))
    assert why in found
    assert bool(found) is bool(why)


def test_cpu_is_the_median_of_the_rounds_that_count():
    """A spoiled round is left out; the spread is that of the others."""
    rounds = Rounds(
        [load(), load(), load(core_share=0.99)],
        [Used(20.0, 18.0, share=1), Used(22.0, 19.0, share=1), Used(90.0, share=0.1)],
    )
    stage = rounds.cpu("seen")
    assert stage.values == {"cpu": 21.0, "workers": 18.5}
    assert stage.spread == (20.0, 22.0)


def test_cpu_is_refused_where_most_rounds_were_held_back():
    """Better no figure than that of the load."""
    rounds = Rounds([load(core_share=0.99)] * 2, [Used(90.0, share=0.1)] * 2)
    assert "in 2 of 2 rounds" in rounds.cpu("seen").missing


def test_cpu_is_refused_where_an_answer_was_wrong():
    """A gateway that refuses quickly is not cheap."""
    rounds = Rounds([load(), load(good=9)], [Used(20.0), Used(20.0)])
    assert rounds.cpu("seen").missing.startswith("wrong answers: 1 of 10")


def test_used_tells_workers_from_what_runs_in_the_background():
    """The agent's work does not grow with requests, so it has a figure of its own."""
    before = Account({"python": 1.0, "fastgate:agent": 1.0, "fastgate:w0": 5.0}, 7.0, 0)
    after = Account({"python": 1.0, "fastgate:agent": 1.1, "fastgate:w0": 6.9}, 9.0, 4)
    used = used_between(before, after, answers=100_000, load_s=2.0)
    assert used.cpu_us == pytest.approx(20.0)
    assert used.workers_us == pytest.approx(19.0)
    assert used.background_ms == pytest.approx(25.0)
    assert used.share == pytest.approx(1.0)


async def test_target_without_a_process_of_ours_has_no_cpu():
    """What the whole machine does is not what a foreign server costs."""
    async with slow_server() as server:
        plan = Plan("127.0.0.1", server.port, 50.0, 0.1, 2)
        found = [(name, used) async for name, _, used in in_turn({"far": [plan]}, {})]
    assert found == [("far", Used(0.0))]


def test_used_of_another_gateway_has_no_background():
    """All that it does is counted to its requests."""
    used = used_between(Account({}, 0, 0), Account({"haproxy": 1.0}, 0, 2), 1000, 2.0)
    assert (used.cpu_us, used.workers_us, used.background_ms) == (1000.0, 0.0, 0.0)
