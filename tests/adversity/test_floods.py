"""A sample of the floods; `make flood-test` makes them more than a core can verify."""

import asyncio

import pytest
from tests.adversity import floods

pytestmark = pytest.mark.system

KINDS = tuple(floods.KINDS)
RATE, SECONDS = 1_500.0, 2.0
BURST, PER_S = 200, 50  # limits.failed_verification_burst, limits.failed_verifications


@pytest.fixture(scope="module")
def seen():
    """Each kind of flood once, one after the other, on one gateway."""

    async def every() -> dict[str, floods.Seen]:
        async with floods.rig() as here:
            return {kind: await here.flood(kind, RATE, SECONDS) for kind in KINDS}

    return asyncio.run(every())


@pytest.mark.parametrize("kind", KINDS)
def test_good_clients_go_on_while_a_flood_comes(seen, kind):
    """F29: they get 200 and nothing else, and the flood leaves nothing behind."""
    found = seen[kind]
    assert found.good >= 0.95
    assert found.others == {}
    assert found.broken == 0
    assert found.grown < 16 << 20
    assert set(found.flood) <= {"401", "429"}
    assert sum(found.flood.values()) > 1_000


def test_forged_tokens_are_verified_at_the_rate_of_one_client(seen):
    """T11: the rest is 429, for which nothing is verified."""
    found = seen["forged"]
    assert 0 < found.flood["401"] <= BURST + PER_S * found.seconds + 1
    assert found.flood["429"] > 0


def test_opaque_tokens_are_asked_about_at_the_rate_of_one_client(seen):
    """T12: the issuer hears of no more, however many come."""
    found = seen["opaque"]
    assert 0 < found.questions <= BURST + PER_S * found.seconds + 1
    assert found.flood["429"] > 0


def test_strange_kids_are_asked_for_once(seen):
    """T13: all floods together made one fetch; each strange kid is 401 at once."""
    assert sum(found.fetches for found in seen.values()) <= 1
    assert seen["strange_kid"].flood.keys() == {"401"}


def test_malformed_tokens_are_refused_for_what_they_are(seen):
    """T10: what costs no verification is no failed one."""
    assert seen["malformed"].flood.keys() == {"401"}
