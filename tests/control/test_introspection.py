"""Introspection: what is asked, what is remembered, and for whom."""

import asyncio
import random

import orjson
import pytest
from tests.introspection_kit import ACTIVE, HOW, INACTIVE, OPAQUE, PHANTOM, URLS, Worker
from tests.key_fakes import NS, answer, settle
from tests.lane_kit import issuer_profile as profile

from fastgate.domain.introspection import AnswerKind
from fastgate.domain.token import Introspection
from fastgate.errors import BadAnswerError, BugError, ControlError


async def test_answer_is_asked_for_once_and_reused_within_a_minute():
    """The warm path costs no I/O."""
    worker = Worker()
    first = await worker.ask()
    assert (first.kind, first.cached) == (AnswerKind.CLAIMS, False)
    assert first.asked_boot_ns == worker.time.boot_ns()
    worker.time.advance(59.9)
    again = worker.cached()
    assert again is not None
    assert again.cached
    assert again.payload == first.payload
    assert (await worker.ask()).cached
    worker.time.advance(0.1)
    assert worker.cached() is None
    await worker.ask()
    assert worker.calls == 2


async def test_answer_expires_a_little_early_by_chance():
    """Answers that came together must not end together: up to 10 % off, never on."""
    lives = set()
    for seed in range(30):
        worker = Worker(rng=random.Random(seed))
        said = await worker.ask()
        lives.add((said.expires_boot_ns - said.asked_boot_ns) / NS)
    assert len(lives) == 30
    assert 54 <= min(lives) < max(lives) <= 60


async def test_life_counts_from_the_question_not_from_the_answer():
    """The answer was true when it was asked for; the way back took time."""
    worker = Worker(PHANTOM)
    worker.endpoint.let_go.clear()
    asking = asyncio.create_task(worker.ask())
    await settle()
    asked_ns = worker.time.boot_ns()
    worker.time.advance(1.5)
    worker.endpoint.let_go.set()
    said = await asking
    assert said.asked_boot_ns == asked_ns
    assert said.expires_boot_ns == asked_ns + 60 * NS


async def test_inactive_answer_is_remembered_for_ten_seconds():
    """A client that repeats a dead token does not reach the issuer each time."""
    worker = Worker(INACTIVE)
    await worker.ask()
    worker.time.advance(9.9)
    said = worker.cached()
    assert said is not None
    assert said.kind is AnswerKind.INACTIVE
    worker.time.advance(0.1)
    assert worker.cached() is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(status=401), AnswerKind.ISSUER_FAULT),
        (answer(status=404), AnswerKind.ISSUER_FAULT),
        (answer(b"<html>"), AnswerKind.ISSUER_FAULT),
        (BadAnswerError("too_large"), AnswerKind.ISSUER_FAULT),
        (answer(status=429), AnswerKind.UNAVAILABLE),
        (answer(status=500), AnswerKind.UNAVAILABLE),
        (ControlError("timed_out"), AnswerKind.UNAVAILABLE),
        (ControlError("connection_failed"), AnswerKind.UNAVAILABLE),
        (answer(ACTIVE.body, cache_control="no-store"), AnswerKind.CLAIMS),
    ],
    ids=range(9),
)
async def test_answer_is_not_remembered(said, kind):
    """The issuer's trouble is never kept, nor is what it marked no-store."""
    worker = Worker(said)
    for _ in range(2):
        answered = await worker.ask()
        assert answered.kind is kind
        assert answered.expires_boot_ns == 0
        assert worker.cached() is None
    assert worker.calls == 2


async def test_cve_2026_26998_answer_past_the_limit_is_the_issuers_fault():
    """The fetcher is told the limit, so that nobody buffers an endless body."""
    limits = []
    worker = Worker()
    fetch = worker.endpoint.fetch

    async def noted(*args, **named):
        limits.append((named["max_bytes"], named["timeout_s"]))
        return await fetch(*args, **named)

    worker.endpoint.fetch = noted
    await worker.ask()
    assert limits == [(64 * 1024, 2.0)]


async def test_callers_of_one_token_share_one_flight():
    """T12: coalescing by the same key as the cache."""
    worker = Worker(PHANTOM)
    worker.endpoint.let_go.clear()
    asking = [asyncio.create_task(worker.ask()) for _ in range(100)]
    await settle()
    worker.endpoint.let_go.set()
    answers = await asyncio.gather(*asking)
    assert worker.calls == 1
    assert {each.payload for each in answers} == {PHANTOM.body}


async def test_cve_2026_71326_different_tokens_never_share_a_flight():
    """A collision in the key of a single flight would hand out foreign identities."""
    worker = Worker()
    worker.endpoint.say = ACTIVE
    bodies = []
    fetch = worker.endpoint.fetch

    async def echo(*args, **named):
        bodies.append(named["body"])
        await fetch(*args, **named)
        said = {"active": True, "sub": named["body"].decode()}
        return answer(orjson.dumps(said))

    worker.endpoint.fetch = echo
    tokens = [b"a", b"b", b"ab", b"a\0", b"a ", b"A"]
    answers = await asyncio.gather(*(worker.ask(each) for each in tokens))
    assert len(set(bodies)) == len({each.payload for each in answers}) == len(tokens)


async def test_cve_2026_33496_answer_of_one_issuer_does_not_serve_for_another():
    """Which server was asked, and as whom, is part of the key."""
    worker = Worker()
    await worker.ask()
    now_ns = worker.time.boot_ns()
    for other in (
        profile(introspection=Introspection(URLS[1:], "gateway", "s3cret")),
        profile(introspection=Introspection(URLS[:1], "other", "s3cret")),
        profile(introspection=HOW, issuer="https://other.example.com"),
        profile(introspection=HOW, audience=frozenset({"other"})),
    ):
        assert worker.asking.cached(other, OPAQUE, now_ns) is None


async def test_cancelled_caller_does_not_cancel_the_flight():
    """The client that asked first may go away; the others still wait."""
    worker = Worker()
    worker.endpoint.let_go.clear()
    first, second = (asyncio.create_task(worker.ask()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    worker.endpoint.let_go.set()
    assert (await second).kind is AnswerKind.CLAIMS
    assert worker.calls == 1


async def test_answer_is_kept_when_all_callers_have_gone():
    """The next request with that token profits."""
    worker = Worker()
    worker.endpoint.let_go.clear()
    asking = asyncio.create_task(worker.ask())
    await settle()
    asking.cancel()
    worker.endpoint.let_go.set()
    await settle()
    assert worker.cached() is not None


async def test_stale_question_asks_again_when_the_answer_is_older_than_allowed():
    """The answer counts from when the question was sent: THREATS section 2."""
    worker = Worker()
    await worker.ask()
    worker.time.advance(10)
    assert (await worker.ask(fresh_ns=10 * NS)).cached
    worker.time.advance(0.001)
    assert not (await worker.ask(fresh_ns=10 * NS)).cached
    assert worker.calls == 2


async def test_newest_word_replaces_an_older_active_answer():
    """A fresh refusal ends what was remembered, and the other way round."""
    worker = Worker()
    await worker.ask()
    worker.endpoint.say = INACTIVE
    worker.time.advance(1)
    await worker.ask(fresh_ns=1)
    said = worker.cached()
    assert said is not None
    assert said.kind is AnswerKind.INACTIVE
    worker.endpoint.say = answer(ACTIVE.body, cache_control="no-store")
    worker.time.advance(1)
    await worker.ask(fresh_ns=1)
    assert worker.cached() is None


async def test_issuer_that_is_away_leaves_remembered_answers_alone():
    """I10: cached active answers live out their time."""
    worker = Worker()
    await worker.ask()
    worker.endpoint.say = ControlError("timed_out")
    worker.time.advance(20)
    assert (await worker.ask(fresh_ns=1)).kind is AnswerKind.UNAVAILABLE
    assert worker.cached() is not None


async def test_forgotten_token_is_asked_about_again():
    """A phantom JWT that did not verify is never kept."""
    worker = Worker(PHANTOM)
    await worker.ask()
    worker.asking.forget(worker.issuer, OPAQUE)
    assert worker.cached() is None


async def test_regions_are_asked_at_their_own_endpoints():
    """The token's home knows it; another region's refusal says nothing."""
    how = Introspection(URLS, "gateway", "s3cret")
    worker = Worker(lambda url: ACTIVE if url == URLS[1] else INACTIVE, how=how)
    assert (await worker.ask(region=0)).kind is AnswerKind.INACTIVE
    assert worker.cached() is None
    assert worker.cached(region=0).kind is AnswerKind.INACTIVE
    assert (await worker.ask(region=1)).kind is AnswerKind.CLAIMS
    assert worker.cached().kind is AnswerKind.CLAIMS
    assert [url for _, url, _, _ in worker.endpoint.calls] == list(URLS)


@pytest.mark.parametrize("region", [-1, 1, 99])
async def test_region_that_does_not_exist_is_a_bug_not_the_last_region(region):
    """A negative index must not silently ask somebody else."""
    with pytest.raises(BugError):
        await Worker().ask(region=region)


async def test_issuer_without_introspection_is_never_asked():
    """Nothing cached, and a question would be our own fault."""
    worker = Worker(how=None)
    assert worker.cached() is None
    with pytest.raises(BugError):
        await worker.ask()
