"""Tour: every step has an outcome, whatever goes wrong in it."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from fastgate.demo import tour
from fastgate.demo.scene import StepError, hold
from fastgate.demo.tour import Outcome, report, steps_of, walk
from fastgate.errors import UpstreamError


async def outcomes_of(monkeypatch, **steps):
    monkeypatch.setattr(tour, "STEPS", steps)
    return [each async for each in walk(SimpleNamespace(), list(steps))]


async def fine(_scene):
    return "200, as it should be"


async def test_step_that_holds_says_what_it_saw(monkeypatch):
    """Name, detail and time of a good step."""
    (outcome,) = await outcomes_of(monkeypatch, traveller=fine)
    assert (outcome.name, outcome.ok) == ("traveller", True)
    assert outcome.detail == "200, as it should be"
    assert outcome.ms >= 0


async def test_step_that_does_not_hold_says_why_and_the_next_is_taken(monkeypatch):
    """One failure hides nothing of the others."""

    async def wrong(_scene):
        hold(1 + 1 == 3, "eu gateway: 500, expected 401")

    first, second = await outcomes_of(monkeypatch, wrong=wrong, fine=fine)
    assert (first.ok, first.detail) == (False, "eu gateway: 500, expected 401")
    assert second.ok


async def test_failure_in_a_task_of_a_step_is_told_like_any_other(monkeypatch):
    """Tasks raise groups; the reader sees the first cause."""

    async def wrong(_scene):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    async def fail():
        raise StepError("bogus kid: 200, expected 401")

    (outcome,) = await outcomes_of(monkeypatch, wrong=wrong)
    assert outcome.detail == "bogus kid: 200, expected 401"


async def test_gateway_that_does_not_answer_fails_the_step(monkeypatch):
    """A broken connection is an outcome."""

    async def wrong(_scene):
        raise UpstreamError("bad_upstream_response", "http://x: refused")

    (outcome,) = await outcomes_of(monkeypatch, wrong=wrong)
    assert not outcome.ok
    assert "refused" in outcome.detail


async def test_mistake_in_a_step_is_an_outcome_and_is_logged(monkeypatch, caplog):
    """Even a bug of the tour's own does not end the tour."""

    async def wrong(_scene):
        raise KeyError("region")

    with caplog.at_level(logging.ERROR):
        first, second = await outcomes_of(monkeypatch, wrong=wrong, fine=fine)
    assert first.detail.startswith("broke: KeyError")
    assert second.ok
    assert caplog.records


async def test_step_without_an_end_is_ended(monkeypatch):
    """Every step is bounded."""
    monkeypatch.setattr(tour, "_STEP_S", 0.05)

    async def wrong(_scene):
        await asyncio.Event().wait()

    (outcome,) = await outcomes_of(monkeypatch, wrong=wrong)
    assert not outcome.ok
    assert outcome.detail.startswith("no end after")


def test_report_is_what_programs_read():
    """The document of DESIGN section 10."""
    good, bad = Outcome("a", True, "x", 1.0), Outcome("b", False, "y", 2.0)
    assert report([good], "nats") == {
        "ok": True,
        "steps": [{"name": "a", "ok": True, "detail": "x", "ms": 1.0}],
        "regions": ["eu", "us", "ap"],
        "bus": "nats",
    }
    assert report([good, bad], "nats")["ok"] is False
    assert report([], "nats")["ok"] is False


@pytest.mark.parametrize(("bus", "missing"), [("nats", set()), ("local", {"bus-cut"})])
def test_steps_without_a_bus_to_cut_are_left_out(bus, missing):
    """What cannot be shown is not claimed."""
    assert set(tour.STEPS) - set(steps_of(bus)) == missing
