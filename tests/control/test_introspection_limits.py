"""Introspection: bounds, breaker and alarms around the questions."""

import asyncio

import pytest
from tests.introspection_kit import ACTIVE, INACTIVE, OPAQUE, PHANTOM, URLS, Worker
from tests.key_fakes import answer, settle
from tests.lane_kit import issuer_profile as profile

from fastgate.domain.introspection import AnswerKind
from fastgate.domain.token import Introspection


async def test_calls_and_queue_are_bounded_per_endpoint():
    """T12: calls <= the cap at any client rate; the rest is turned away at once."""
    worker = Worker(concurrent=3, waiting=2)
    worker.endpoint.let_go.clear()
    asking = [asyncio.create_task(worker.ask(b"t%d" % n)) for n in range(50)]
    await settle()
    assert worker.endpoint.running == 3
    turned_away = [each.result() for each in asking if each.done()]
    assert len(turned_away) == 45
    assert {each.kind for each in turned_away} == {AnswerKind.UNAVAILABLE}
    assert {each.retry_after_s for each in turned_away} == {1}
    worker.endpoint.let_go.set()
    answers = await asyncio.gather(*asking)
    assert [each.kind for each in answers].count(AnswerKind.CLAIMS) == 5
    assert worker.endpoint.most_running == 3


async def test_flood_on_one_issuer_leaves_the_others_their_slots():
    """Queues are per endpoint."""
    worker = Worker(concurrent=1, waiting=0)
    other = profile(alias="other", introspection=Introspection(URLS[1:], "g", "s"))
    worker.endpoint.let_go.clear()
    stuck = asyncio.create_task(worker.ask())
    await settle()
    asking = asyncio.create_task(worker.asking.ask(other, b"x", 0))
    await settle()
    worker.endpoint.let_go.set()
    assert (await asking).kind is AnswerKind.CLAIMS
    await stuck


async def test_slow_issuer_is_given_up_after_the_time_out():
    """F17: 2 s by default; here the queue and the call share a short one."""
    how = Introspection(URLS[:1], "gateway", "s3cret", timeout_s=0.01)
    worker = Worker(how=how, concurrent=1)
    worker.endpoint.let_go.clear()
    answers = await asyncio.gather(worker.ask(b"a"), worker.ask(b"b"))
    assert {each.kind for each in answers} == {AnswerKind.UNAVAILABLE}
    assert worker.endpoint.running == 0
    assert worker.asking.status()["in_flight"] == 0


async def test_breaker_opens_after_failures_with_alarm_and_probes_once():
    """I10: after five failures nobody waits; one probe finds the issuer back."""
    worker = Worker(answer(status=503))
    for n in range(5):
        await worker.ask(b"t%d" % n)
    assert worker.alarms.holding == {("introspection_unavailable", "login")}
    said = await worker.ask()
    assert (said.kind, said.retry_after_s) == (AnswerKind.UNAVAILABLE, 1)
    assert worker.calls == 5
    worker.time.advance(1)
    worker.endpoint.say = ACTIVE
    worker.endpoint.let_go.clear()
    probe = asyncio.create_task(worker.ask(b"probe"))
    await settle()
    assert (await worker.ask(b"other")).kind is AnswerKind.UNAVAILABLE
    worker.endpoint.let_go.set()
    assert (await probe).kind is AnswerKind.CLAIMS
    assert worker.alarms.holding == set()
    assert (await worker.ask(b"other")).kind is AnswerKind.CLAIMS


async def test_throttled_gateway_waits_as_long_as_it_was_told():
    """429 with Retry-After."""
    worker = Worker(answer(status=429, retry_after="7"))
    assert (await worker.ask()).retry_after_s == 7
    worker.endpoint.say = ACTIVE
    worker.time.advance(6)
    assert (await worker.ask()).retry_after_s == 1
    worker.time.advance(1)
    assert (await worker.ask()).kind is AnswerKind.CLAIMS


async def test_refused_credentials_raise_an_alarm_that_names_the_issuer():
    """401 from the issuer is about us; the alarm ends with the first real answer."""
    worker = Worker(answer(status=401))
    await worker.ask()
    await worker.ask()
    assert worker.alarms.holding == {("introspection_credentials", "login")}
    worker.endpoint.say = answer(status=500)
    await worker.ask()
    assert worker.alarms.names() == {"introspection_credentials"}
    worker.endpoint.say = INACTIVE
    await worker.ask()
    assert worker.alarms.holding == set()


async def test_alarm_holds_until_every_endpoint_of_the_issuer_is_well():
    """One alarm an issuer, whichever region it comes from."""
    how = Introspection(URLS, "gateway", "s3cret")
    worker = Worker(answer(status=401), how=how)
    await worker.ask(region=0)
    await worker.ask(region=1)
    worker.endpoint.say = INACTIVE
    await worker.ask(b"x", region=0)
    assert worker.alarms.names() == {"introspection_credentials"}
    await worker.ask(b"x", region=1)
    assert worker.alarms.holding == set()


async def test_caches_are_bounded_and_bad_tokens_push_no_good_answer_out():
    """T12: the flood of refusals has its own, bounded memory."""
    worker = Worker(PHANTOM, active_bytes=128 * 1024, inactive_count=10)
    await worker.ask(b"good")
    worker.endpoint.say = INACTIVE
    for n in range(100):
        await worker.ask(b"bad%d" % n)
    assert worker.cached(b"good") is not None
    assert worker.asking.status()["inactive"] == 10
    worker.endpoint.say = PHANTOM
    for n in range(1000):
        await worker.ask(b"more%d" % n)
    assert worker.asking.status()["active_bytes"] <= 128 * 1024
    assert worker.cached(b"good") is None


async def test_nothing_of_the_opaque_token_is_kept():
    """A6: what lies in memory is digests and phantom tokens."""
    worker = Worker(PHANTOM)
    await worker.ask()
    kept = [*worker.asking._active.items(), *worker.asking._flights.items()]
    assert kept
    assert OPAQUE not in repr(kept).encode()
    assert OPAQUE.decode() not in repr(kept)


async def test_fault_of_ours_reaches_the_callers_and_blocks_nothing():
    """A bug is no answer of the issuer; the next question is asked anew."""
    worker = Worker(RuntimeError("bug"))
    with pytest.raises(RuntimeError):
        await worker.ask()
    worker.endpoint.say = ACTIVE
    assert (await worker.ask()).kind is AnswerKind.CLAIMS


async def test_close_ends_flights():
    """Nothing is left running when a worker stops."""
    worker = Worker()
    worker.endpoint.let_go.clear()
    asking = asyncio.create_task(worker.ask())
    await settle()
    await worker.asking.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert worker.endpoint.running == 0


async def test_fault_of_ours_during_a_probe_does_not_close_the_endpoint_for_good():
    """Whatever ends a probe, another one follows."""
    worker = Worker(answer(status=503))
    for n in range(5):
        await worker.ask(b"t%d" % n)
    worker.time.advance(60)
    worker.endpoint.say = RuntimeError("bug")
    with pytest.raises(RuntimeError):
        await worker.ask(b"probe")
    worker.time.advance(60)
    worker.endpoint.say = ACTIVE
    assert (await worker.ask(b"again")).kind is AnswerKind.CLAIMS
