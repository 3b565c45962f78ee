"""Urgent events over every bus: enforced elsewhere while the stream is of no use."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.contract.places import REMOTE, place_of
from tests.contract.test_feeds import HEALED_S, World, start
from tests.control.feed_net import entry
from tests.feed_fakes import until

from fastgate.errors import ControlError

pytestmark = pytest.mark.system


@pytest.fixture(params=REMOTE)
async def world(request, tmp_path: Path) -> AsyncGenerator[World, None]:
    async with (
        place_of(request.param, tmp_path, request) as place,
        contextlib.AsyncExitStack() as stack,
    ):
        eu, us = [
            await start(stack, place, tmp_path / name, region, name)
            for region, name in (("eu", "gw-eu"), ("us", "gw-us"))
        ]
        await until(lambda: eu.fresh() and us.fresh(), within_s=HEALED_S)
        yield World(place, tmp_path, stack, eu, us)


@pytest.fixture
def hang(world, monkeypatch) -> asyncio.Event:
    """Let nothing more of eu's gateway into its stream, until this is set."""
    go_on = asyncio.Event()
    bus = world.eu.feed.bus
    publish = bus.publish

    async def late(*args: object) -> int:
        await go_on.wait()
        return await publish(*args)

    monkeypatch.setattr(bus, "publish", late)
    return go_on


async def test_urgent_event_is_enforced_elsewhere_while_its_stream_hangs(world, hang):
    """Pending for whoever entered it, and in force in the other region already."""
    eu, us = world.eu, world.us
    receipt = await eu.feed.enter(entry("s-1", home="eu", urgent=True))
    assert not receipt.published
    await until(lambda: us.has("s-1"))
    ordinary = await eu.feed.enter(entry("s-2", home="eu"))
    assert not ordinary.published
    assert not us.has("s-2")
    assert us.index.urgent == 1
    hang.set()
    await until(lambda: us.has("s-2"), within_s=HEALED_S)
    await world.fresh_again()
    assert us.index.entries == eu.index.entries
    assert us.index.urgent == 1
    assert us.feed.status()["urgent"]["heard"]["first"] == 1


async def test_urgent_event_entered_away_from_its_home_is_in_force_there(world, hang):
    """Its home and every other region hear it where it was entered."""
    eu, us = world.eu, world.us
    hung = asyncio.Event()

    async def nobody(home: str, payload: bytes) -> bytes:
        await hung.wait()
        raise ControlError("nobody")

    eu.feed.bus.hand = nobody
    receipt = await eu.feed.enter(entry("s-1", home="us", urgent=True))
    assert (receipt.origin, receipt.published) == ("us", False)
    await until(lambda: us.has("s-1"))
    hung.set()


async def test_urgent_event_is_published_where_its_own_path_is_cut(world, monkeypatch):
    """Nobody waits for that path."""
    eu, us = world.eu, world.us

    async def cut(publisher: str, payload: bytes) -> None:
        raise ControlError("not connected")

    monkeypatch.setattr(eu.feed.bus, "urge", cut)
    receipt = await eu.feed.enter(entry("s-1", home="eu", urgent=True), wait="regions")
    assert (receipt.published, receipt.complete) == (True, True)
    assert us.has("s-1")
    assert us.index.urgent == 1


async def test_lift_and_urgent_event_agree_on_both_sides(world):
    """Lifted while some copy of it may still be on its way."""
    eu, us = world.eu, world.us
    for number in range(10):
        entered = await eu.feed.enter(entry(f"s-{number}", home="eu", urgent=True))
        await eu.feed.lift(entered.id)
    await world.fresh_again()
    assert eu.index.entries == us.index.entries == {}
