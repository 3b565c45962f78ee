"""A hash key is rotated: what was revoked under the old one stays revoked."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from tests.control.feed_net import HASH_KEY, ISSUER, SETTINGS, Net, entry, network
from tests.feed_fakes import until

from fastgate.control.kid_renewal import KidRenewal
from fastgate.domain.entry import followed_by
from fastgate.domain.event import Event, key_id
from fastgate.domain.revocation import KeyHasher, Kind

NEW = b"n" * 32
FIRST = replace(SETTINGS, old_hash_keys=(NEW,))
SECOND = replace(SETTINGS, hash_key=NEW, old_hash_keys=(HASH_KEY,))
LAST = replace(SETTINGS, hash_key=NEW)


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


def under(key: bytes, value: str) -> bytes:
    return KeyHasher(key, ISSUER).key(Kind.SID, value)


async def test_regions_understand_each_other_at_each_step_of_a_rotation(net):
    """Old and new key together everywhere, then exchanged one region at a time."""
    eu = await net.add("eu", settings=FIRST)
    us = await net.add("us", settings=SECOND)
    ap = await net.add("ap", settings=FIRST)
    nodes = (eu, us, ap)
    await until(lambda: all(node.fresh() for node in nodes))
    await eu.feed.enter(entry("s-1", home="eu"))
    await us.feed.enter(entry("s-2", home="us"))
    for node in nodes:
        await until(lambda: under(HASH_KEY, "s-1") in node.index.entries)  # noqa: B023
        await until(lambda: under(NEW, "s-2") in node.index.entries)  # noqa: B023


async def test_frame_under_an_unknown_hash_key_is_a_gap(net):
    """Whoever lacks the key cannot enforce, and must not call itself complete."""
    us = await net.add("us", settings=LAST)
    eu = await net.add("eu")
    ap = await net.add("ap")
    await until(lambda: eu.fresh("eu", "ap"))
    began = us.clock.boot_ns()
    await eu.feed.enter(entry("s-1", home="eu"))
    await until(lambda: us.feed.trackers["eu"].faults.get("key"))
    await until(lambda: ap.newer("eu", ap.clock.boot_ns() - 10**8))
    assert not us.newer("eu", began + 10**9)
    assert us.feed.trackers["eu"].gaps


async def test_lift_has_the_hash_key_of_its_event(net):
    """The key that the event was hashed with is the key that is settled."""
    us = await net.add("us", settings=SECOND)
    eu = await net.add("eu", settings=FIRST)
    ap = await net.add("ap", settings=SECOND)
    await until(lambda: all(node.fresh() for node in (eu, us, ap)))
    receipt = await eu.feed.enter(entry("s-1", home="eu"))
    await until(lambda: under(HASH_KEY, "s-1") in us.index.entries)
    other = await net.add("eu", "gw-eu-2", settings=SECOND)
    await until(other.fresh)
    await other.feed.lift(receipt.id)
    assert other.journal.rows[0].event.key_id == key_id(HASH_KEY)
    await until(lambda: under(HASH_KEY, "s-1") not in us.index.entries)


def test_entry_against_a_key_is_renewed_under_the_new_hash_key():
    """It has to live longer than the old hash key."""
    old = KeyHasher(HASH_KEY, ISSUER).key(Kind.KID, "k-1")
    event = Event(
        id="a", origin="eu", at=0.0, kind=Kind.KID, key=old, expires=100, key_id="x"
    )
    kids = KidRenewal((NEW, HASH_KEY), lambda: [(ISSUER, "k-1")])
    kids.note(event)
    [renewed] = kids.due(90.0, SETTINGS.lifetimes)
    assert renewed.key == KeyHasher(NEW, ISSUER).key(Kind.KID, "k-1")
    assert renewed.key_id == key_id(NEW)
    assert renewed.id == followed_by("a", renewed.expires)
