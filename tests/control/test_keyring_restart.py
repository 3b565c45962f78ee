"""Keyring: what a restart finds on disk, and what a reload changes."""

import asyncio

import pytest
from tests.jwk_makers import ec_pair
from tests.key_fakes import LOGIN, OTHER, MemoryStore, Node, answer, key_set, settle

from fastgate.control.key_policy import KeySource
from fastgate.control.keys_document import read_published
from fastgate.errors import ControlError

A, B = ec_pair().jwk(kid="a"), ec_pair().jwk(kid="b")


def node_with(*sources, say=None, store=None):
    return Node(*sources, say=key_set(A) if say is None else say, store=store)


async def test_restart_without_issuer_serves_the_saved_keys():
    """I1: last good set on disk; an unknown kid is the issuer's trouble then."""
    async with node_with() as node:
        store = node.store
    async with node_with(say=ControlError("connection_failed"), store=store) as node:
        assert node.kids() == {"a"}
        assert node.published().last_fetch_ok is False
        assert node.status()["source"] == "disk"
        assert node.alarms.names() == {"jwks_unavailable"}


async def test_saved_keys_of_another_place_are_not_used():
    """A configuration that points elsewhere starts without the old keys."""
    async with node_with() as node:
        store = node.store
    moved = KeySource("login", LOGIN.issuer, "https://login.example.com/v2")
    async with node_with(moved, say=ControlError("timed_out"), store=store) as node:
        assert node.kids() == set()
        assert not node.keyring.ready()


@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
async def test_saved_keys_of_yesterday_are_not_used(boot_id):
    """Less than 24 hours old, by either clock."""
    async with node_with() as node:
        store = node.store
    store.boot_id = boot_id
    late = node_with(say=ControlError("timed_out"), store=store)
    late.time.advance(86_400)
    async with late as node:
        assert node.kids() == set()


async def test_saved_keys_survive_nothing_when_the_wall_clock_was_set_back():
    """A set from the future has no age that could be trusted."""
    async with node_with() as node:
        store = node.store
    store.boot_id = "boot-2"
    late = node_with(say=ControlError("timed_out"), store=store)
    late.time.set_wall(late.time.wall_s() - 3600)
    async with late as node:
        assert node.kids() == set()


async def test_wall_clock_does_not_matter_within_one_boot():
    """CLOCK_BOOTTIME tells the age, wherever the wall clock was set."""
    async with node_with() as node:
        store = node.store
    late = node_with(say=ControlError("timed_out"), store=store)
    late.time.set_wall(late.time.wall_s() - 10 * 86_400)
    async with late as node:
        assert node.kids() == {"a"}


async def test_full_disk_raises_an_alarm_and_touches_nothing_else():
    """F13: serve on; the alarm names the issuer whose keys are not saved."""
    store = MemoryStore()
    async with node_with(store=store) as node:
        store.broken = True
        await node.keyring.refresh(wait=True)
        await node.keyring.stop()
        assert node.alarms.holding == {("keys_not_saved", "login")}
        assert node.kids() == {"a"}


async def test_withdrawn_key_is_not_saved_again():
    """A key that two fetches did not list is gone from the disk too."""
    async with node_with(say=key_set(A, B)) as node:
        node.endpoint.say = key_set(B)
        await node.time.pass_by(600)
        store = node.store
    late = node_with(say=ControlError("timed_out"), store=store)
    late.time.advance(600)
    async with late as node:
        assert node.kids() == {"b"}


async def test_reload_adds_and_removes_issuers_without_a_fetch_of_the_others():
    """Unchanged issuers go on; alarms of the removed ones end."""
    async with node_with(LOGIN) as node:
        node.endpoint.say = lambda url: (
            key_set(B) if url == OTHER.jwks_url else answer(status=500)
        )
        await node.time.pass_by(500)
        calls = len(node.endpoint.calls)
        assert node.alarms.holding
        await node.keyring.reconfigure([LOGIN, OTHER])
        await settle()
        assert len(node.endpoint.calls) == calls + 1
        assert node.kids("other") == {"b"}
        await node.keyring.reconfigure([OTHER])
        assert node.alarms.holding == set()
        assert list(read_published(node.documents[-1])) == ["other"]


async def test_reload_to_another_issuer_name_drops_the_keys_at_once():
    """Another `iss` is another party, whatever its alias."""
    async with node_with() as node:
        node.endpoint.say = ControlError("timed_out")
        await node.keyring.reconfigure(
            [KeySource("login", "https://new", LOGIN.jwks_url)]
        )
        await settle()
        assert node.kids() == set()


async def test_answer_of_the_old_place_is_ignored_when_it_moved_meanwhile():
    """A flight to the old URL ends with the reload that moved the issuer."""
    async with node_with() as node:
        node.endpoint.let_go.clear()
        refreshing = asyncio.create_task(node.keyring.refresh("login", wait=True))
        await settle()
        moved = KeySource("login", LOGIN.issuer, "https://login.example.com/v2")
        node.endpoint.say = lambda url: key_set(B if url == moved.jwks_url else A)
        await node.keyring.reconfigure([moved])
        node.endpoint.let_go.set()
        await refreshing
        await settle()
        assert node.kids() == {"b"}
