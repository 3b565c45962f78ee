"""Introspection: floods of opaque tokens, from one client and from all (T12)."""

import asyncio
from dataclasses import replace

import pytest
from tests.introspection_kit import ACTIVE, HOW, INACTIVE, Worker
from tests.key_fakes import answer, settle

from fastgate.domain.introspection import AnswerKind
from fastgate.hotpath.failures import Failures

MALLORY, ALICE = "198.51.100.9", "192.0.2.1"


async def flood(worker: Worker, count: int, peer: str = MALLORY) -> list[AnswerKind]:
    """Ask about so many different tokens, one after another."""
    return [(await worker.ask(b"junk%d" % n, peer=peer)).kind for n in range(count)]


async def test_client_of_many_inactive_tokens_is_asked_about_no_more():
    """Its calls are bounded; tokens that are known, and other clients, are served."""
    worker = Worker(ACTIVE, failures=Failures(50, 5))
    assert (await worker.ask(b"good", peer=MALLORY)).kind is AnswerKind.CLAIMS
    worker.endpoint.say = INACTIVE
    kinds = await flood(worker, 100)
    assert kinds == [AnswerKind.INACTIVE] * 5 + [AnswerKind.NOT_ASKED] * 95
    assert worker.calls == 1 + 5
    worker.endpoint.say = ACTIVE
    said = await worker.ask(b"good2", peer=MALLORY)
    assert (said.kind, said.retry_after_s) == (AnswerKind.NOT_ASKED, 1)
    assert (await worker.ask(b"good", peer=MALLORY)).cached
    assert (await worker.ask(b"junk0", peer=MALLORY)).kind is AnswerKind.INACTIVE
    assert (await worker.ask(b"good2", peer=ALICE)).kind is AnswerKind.CLAIMS
    assert worker.asking.status()["turned_away"] == 96


async def test_client_is_asked_about_again_at_the_rate():
    """One more each fiftieth of a second, whatever it sends in between."""
    worker = Worker(INACTIVE, failures=Failures(50, 5))
    await flood(worker, 20)
    for _ in range(10):
        worker.time.advance(1 / 50)
        before = worker.calls
        await asyncio.gather(
            *(worker.ask(b"%d-%d" % (before, n), peer=MALLORY) for n in range(9))
        )
        assert worker.calls == before + 1


async def test_client_of_good_tokens_is_charged_for_none():
    """However many users stand behind one address."""
    worker = Worker(ACTIVE, failures=Failures(50, 5))
    assert set(await flood(worker, 100)) == {AnswerKind.CLAIMS}


@pytest.mark.parametrize(
    "say",
    [answer(status=503), answer(status=429), answer(b"<html>")],
    ids=["down", "throttled", "nonsense"],
)
async def test_client_is_not_charged_for_its_issuers_trouble(say):
    """That is 502 or 503; a client that is told 429 would look for its own fault."""
    worker = Worker(say, failures=Failures(50, 5))
    assert AnswerKind.NOT_ASKED not in await flood(worker, 20)


async def test_client_has_no_more_flights_than_failures_left():
    """The queue of an endpoint is not one client's, while answers are still out."""
    worker = Worker(INACTIVE, failures=Failures(50, 5))
    worker.endpoint.let_go.clear()
    asking = [
        asyncio.create_task(worker.ask(b"t%d" % n, peer=MALLORY)) for n in range(50)
    ]
    joining = [asyncio.create_task(worker.ask(b"t0", peer=MALLORY)) for _ in range(50)]
    await settle()
    turned_away = [each.result() for each in asking if each.done()]
    assert {each.kind for each in turned_away} == {AnswerKind.NOT_ASKED}
    assert (len(turned_away), worker.endpoint.running) == (45, 5)
    assert not any(each.done() for each in joining)  # they share a flight: no charge
    worker.endpoint.let_go.set()
    await asyncio.gather(*asking, *joining)
    assert worker.calls == 5


async def test_flight_that_ends_without_an_answer_is_paid_back():
    """Callers that are cancelled with the worker owe nothing."""
    failures = Failures(50, 1)
    worker = Worker(INACTIVE, failures=failures)
    worker.endpoint.let_go.clear()
    asking = asyncio.create_task(worker.ask(peer=MALLORY))
    await settle()
    assert not failures.admits(MALLORY, worker.time.boot_ns())
    await worker.asking.close()
    await settle()
    assert failures.admits(MALLORY, worker.time.boot_ns())
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize(("workers", "at_once"), [(1, 20), (4, 5), (40, 1)])
async def test_calls_of_all_clients_keep_to_the_rate(workers, at_once):
    """A second's worth at once, then one each step; each worker has its share."""
    worker = Worker(INACTIVE, how=replace(HOW, calls_per_s=20), workers=workers)

    async def more(count: int) -> None:
        before = len(asked)
        for n in range(count):
            token = b"%d" % (before + n)
            asked.append((await worker.ask(token, peer=f"192.0.2.{n}")).kind)

    asked: list[AnswerKind] = []
    await more(100)
    assert worker.calls == at_once
    assert asked.count(AnswerKind.UNAVAILABLE) == 100 - at_once
    for tick in range(1, 6):
        worker.time.advance(workers / 20)
        await more(10)
        assert worker.calls == at_once + tick
