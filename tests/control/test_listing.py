"""Pages of what a node knows: each event once, whatever its number and order."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import SETTINGS, Net, Node, entry, network
from tests.feed_fakes import until

from fastgate.control.enforcement import Enforcement
from fastgate.control.listing import Listed, Listing
from fastgate.domain.entry import EntryError
from fastgate.domain.event import Event
from fastgate.domain.revocation import Kind

TEN = 10


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


@pytest.fixture
async def node(net) -> Node:
    alone = await net.start(net.make("eu", settings=replace(SETTINGS, canary_s=0)))
    for region in ("us", "ap"):
        await net.add(region)
    await until(alone.fresh)
    return alone


async def every(listing: Listing, limit: int = 7, **how: object) -> list[Listed]:
    """Return all events, page after page; no page is longer than it may be."""
    found: list[Listed] = []
    cursor = None
    while True:
        page = await listing.page(limit=limit, cursor=cursor, **how)
        assert len(page.events) <= limit + 1_024
        found += page.events
        cursor = page.next
        if cursor is None:
            return found


def put(enforcement: Enforcement, count: int, **members: object) -> list[str]:
    """Take events of a stream of `us`, as if they had been read; return their ids."""
    ids = []
    for _ in range(count):
        event = Event(
            id=secrets.token_hex(12),
            origin="us",
            at=0.0,
            kind=Kind.JTI,
            key=secrets.token_bytes(16),
            key_id=enforcement.key_ids[0],
            expires=enforcement.now_s + 600,
        )
        enforcement.insert(replace(event, **members))
        ids.append(event.id)
    return ids


async def test_each_event_is_told_once_with_what_is_known(node):
    """By kind and home; a cutoff for kinds that have one."""
    session = await node.feed.enter(entry("s-1", home="eu"))
    user = await node.feed.enter(entry("bob", Kind.SUB, home="eu", issued_before=1e9))
    found = {each.id: each for each in await every(node.feed.listing)}
    assert set(found) == {session.id, user.id}
    assert found[session.id].kind is Kind.SID
    assert found[session.id].origin == "eu"
    assert found[session.id].cutoff is None
    assert found[session.id].expires > node.feed.enforcement.now_s
    assert not found[session.id].lifted
    assert abs(found[user.id].cutoff - 1e9) <= SETTINGS.lifetimes.leeway_s


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_pages_together_have_everything_once(node, limit):
    """Whatever the length of a page."""
    ids = put(node.feed.enforcement, 3_000)
    found = [each.id for each in await every(node.feed.listing, limit)]
    assert sorted(found) == sorted(ids)


async def test_what_stays_is_told_once_while_others_come_and_go(node):
    """A cursor is a place between keys, not a count."""
    enforcement, listing = node.feed.enforcement, node.feed.listing
    stay = set(put(enforcement, 2_000))
    found: list[str] = []
    cursor = None
    while True:
        page = await listing.page(limit=100, cursor=cursor)
        found += [each.id for each in page.events]
        put(enforcement, 150)  # the table is spread anew, more than once
        cursor = page.next
        if cursor is None or len(found) > 50_000:
            break
    assert stay <= set(found)
    assert len(found) == len(set(found))


async def test_many_events_of_one_key_stay_on_one_page(node):
    """A place between two keys is enough to go on."""
    key = secrets.token_bytes(16)
    same = set(put(node.feed.enforcement, 300, key=key))
    others = set(put(node.feed.enforcement, 300))
    pages, cursor = [], None
    while True:
        page = await node.feed.listing.page(limit=10, cursor=cursor)
        pages.append({each.id for each in page.events})
        cursor = page.next
        if cursor is None:
            break
    assert sum(map(len, pages)) == len(same | others)
    assert any(same <= page for page in pages)


async def test_lifted_and_ended_ones_are_told_when_they_are_asked_for(node):
    """By default only what is in force."""
    kept = await node.feed.enter(entry("s-1", home="eu"))
    gone = await node.feed.enter(entry("s-2", home="eu"))
    await node.feed.lift(gone.id)
    (ended,) = put(node.feed.enforcement, 1, expires=node.feed.enforcement.now_s - 5)
    live = {each.id for each in await every(node.feed.listing)}
    assert live == {kept.id}
    everything = {
        each.id: each.lifted for each in await every(node.feed.listing, live=False)
    }
    assert everything == {kept.id: False, gone.id: True, ended: False}


async def test_origin_and_kind_narrow_the_list(node):
    """Both at once, too."""
    put(node.feed.enforcement, 50)
    mine = await node.feed.enter(entry("s-1", home="eu"))
    listing = node.feed.listing
    assert [e.id for e in await every(listing, origin="eu")] == [mine.id]
    assert [e.id for e in await every(listing, kind=Kind.SID)] == [mine.id]
    assert len(await every(listing, origin="us", kind=Kind.JTI)) == 50
    assert await every(listing, origin="us", kind=Kind.SID) == []


@pytest.mark.parametrize("cursor", ["", "x", "0" * 24, "g" * 24, "0" * 25])
async def test_cursor_of_nobody_is_refused(node, cursor):
    """Also one of another node, whose order is another one."""
    with pytest.raises(EntryError) as caught:
        await node.feed.listing.page(limit=10, cursor=cursor)
    assert caught.value.field == "cursor"


async def test_loop_goes_on_while_a_long_list_is_searched(node, monkeypatch):
    """A filter that finds nothing looks at everything, and lets others run."""
    put(node.feed.enforcement, 20_000)
    monkeypatch.setattr("fastgate.control.listing._RECORDS_AT_ONCE", 1_000)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        assert await every(node.feed.listing, origin="ap") == []
    finally:
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
    assert turns >= 15


async def test_page_ends_early_when_it_has_looked_at_enough(node, monkeypatch):
    """Bounded work a request: the next one goes on."""
    put(node.feed.enforcement, 5_000)
    (wanted,) = put(node.feed.enforcement, 1, kind=Kind.KID)
    monkeypatch.setattr("fastgate.control.listing._RECORDS_A_PAGE", 500)
    page = await node.feed.listing.page(limit=10, origin="ap")
    assert page.events == ()
    assert page.next is not None
    assert [e.id for e in await every(node.feed.listing, kind=Kind.KID)] == [wanted]
