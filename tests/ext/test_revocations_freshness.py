"""Revocation index: how old the knowledge may be, and whose."""

import pytest
from tests.ext.index_rig import BOOT_NS, LATER_S, Memory, key_of

from fastgate._ext import revocations
from fastgate._ext.revocations import (
    ALWAYS,
    CLEAR,
    REVOKED,
    STALE_GLOBAL,
    STALE_HOME,
    UNSTABLE,
)


@pytest.fixture
def memory():
    memory = Memory()
    memory.writer.set_evidence(0, BOOT_NS)
    return memory


@pytest.mark.parametrize(
    ("age_ns", "max_age_ns", "answer"),
    [(5, 5, CLEAR), (6, 5, STALE_HOME), (0, 0, CLEAR), (0, -1, STALE_HOME)],
)
def test_check_judges_the_age_of_the_home_origin(memory, age_ns, max_age_ns, answer):
    """The allowed age is inclusive; a negative one allows nothing."""
    memory.writer.set_evidence(0, BOOT_NS - age_ns)
    assert memory.check(key_of(1), max_age_ns=max_age_ns) == answer


def test_check_is_stale_without_evidence(memory):
    """Never complete is stale, whatever the clock says."""
    memory.writer.set_evidence(0, 0)
    assert memory.check(key_of(1), max_age_ns=2**62) == STALE_HOME
    assert memory.check(key_of(1), now_ns=0, max_age_ns=0) == STALE_HOME


def test_check_takes_evidence_from_the_future_for_none(memory):
    """A reader may be stopped after it read its clock; a second of that is believed."""
    memory.writer.set_evidence(0, BOOT_NS + 10**9)
    assert memory.check(key_of(1), max_age_ns=0) == CLEAR
    memory.writer.set_evidence(0, BOOT_NS + 10**9 + 1)
    assert memory.check(key_of(1), max_age_ns=2**62) == STALE_HOME
    assert memory.check(key_of(1), now_ns=-1) == STALE_HOME


def test_check_judges_home_and_issuer_by_their_own_limits(memory):
    """A cut link hurts the users behind it; the issuer has a wider limit of its own."""
    memory.writer.set_origins(3)
    memory.writer.set_evidence(1, BOOT_NS - 100)
    memory.writer.set_evidence(2, BOOT_NS - 10)
    ages = {"max_age_ns": 50, "issuer_max_age_ns": 100}
    assert memory.check(home=2, issuer_home=1, **ages) == CLEAR
    assert memory.check(home=1, issuer_home=2, **ages) == STALE_HOME
    memory.writer.set_evidence(1, BOOT_NS - 101)
    assert memory.check(home=2, issuer_home=1, **ages) == STALE_GLOBAL
    assert memory.check(home=1, issuer_home=1, **ages) == STALE_HOME


def test_check_without_home_is_judged_by_the_oldest_origin(memory):
    """A token without region claim could belong to anybody."""
    memory.writer.set_origins(3)
    memory.writer.set_evidence(1, BOOT_NS - 100)
    assert memory.check(home=-1, max_age_ns=2**62) == STALE_HOME
    memory.writer.set_evidence(2, BOOT_NS)
    assert memory.check(home=-1, max_age_ns=100) == CLEAR
    assert memory.check(home=-1, max_age_ns=99) == STALE_HOME
    assert memory.check(home=0, issuer_home=-1, issuer_max_age_ns=99) == STALE_GLOBAL


@pytest.mark.parametrize("origin", [1, 63, 64, 2**62, -2, -(2**62)])
def test_check_is_stale_for_an_origin_nobody_knows(memory, origin):
    """An index that is not on the board is never young."""
    assert memory.check(key_of(1), home=origin) == STALE_HOME
    assert memory.check(key_of(1), issuer_home=origin) == STALE_GLOBAL


def test_revocation_is_found_however_old_the_knowledge_is(memory):
    """Staleness never hides what is known."""
    memory.writer.insert(key_of(1), ALWAYS, LATER_S)
    memory.writer.set_evidence(0, 0)
    assert memory.check(key_of(2), key_of(1)) == REVOKED | 1 << 8


def test_evidence_outlives_rebuild_and_writer(memory):
    """The board stands beside the arenas."""
    memory.writer.begin_rebuild()
    memory.finish()
    memory.succeed()
    assert memory.reader.evidence(0) == BOOT_NS
    assert memory.check(key_of(1)) == CLEAR


def test_set_origins_takes_evidence_from_rows_that_come_or_go(memory):
    """A row that is used anew starts without evidence."""
    memory.writer.set_origins(3)
    memory.writer.set_evidence(2, BOOT_NS)
    memory.writer.set_origins(2)
    memory.writer.set_origins(3)
    assert memory.reader.evidence(2) == 0
    assert memory.reader.evidence(0) == BOOT_NS


def test_urgent_and_applied_counters_move(memory):
    """Readers compare the counters with what they saw last."""
    assert memory.reader.urgent() == 0
    assert memory.writer.bump_urgent() == 1
    assert memory.reader.urgent() == 1
    memory.writer.insert(key_of(1), ALWAYS, LATER_S)
    memory.writer.remove(key_of(1))
    assert memory.reader.applied() == 2
    memory.succeed()
    assert memory.writer.bump_urgent() == 2


def test_check_is_unstable_before_the_first_writer():
    """Memory without an index denies."""
    arena_bytes, control_bytes = revocations.layout(10)
    reader = revocations.RevocationReader(
        bytes(control_bytes), bytes(arena_bytes), bytes(arena_bytes)
    )
    assert reader.check(key_of(1), 0, 0, 0, 0, 0, 0, 0) == UNSTABLE
    assert reader.find(key_of(1)) is None
    assert (reader.generation(), reader.entries(), reader.evidence(0)) == (0, 0, 0)
