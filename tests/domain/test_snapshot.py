"""Snapshots: immutable, swapped whole, one key set an issuer; and empty decisions."""

from dataclasses import FrozenInstanceError

import pytest
from tests.hotpath.gates import World, keys_of
from tests.tokens import signing_key

from fastgate.domain.decision import Asked, Decision
from fastgate.domain.keys import IssuerKeys
from fastgate.domain.region import NO_REGION, RegionSource
from fastgate.domain.snapshot import Limits, SnapshotCell
from fastgate.domain.verdict import Verdict


def test_snapshot_with_keys_changes_keys_alone() -> None:
    """The one before stays as it was, for the requests that began with it."""
    before = World().snapshot
    keys = (keys_of(signing_key("ES384")),)
    after = before.with_keys(keys)
    assert after.keys is keys
    assert before.keys is not keys
    assert (after.routes, after.issuers) == (before.routes, before.issuers)
    with pytest.raises(FrozenInstanceError):
        after.keys = ()


@pytest.mark.parametrize("count", [0, 2])
def test_snapshot_refuses_keys_that_fit_no_issuer(count: int) -> None:
    """An issuer's tokens must not meet another's keys."""
    with pytest.raises(ValueError, match="one key set per issuer"):
        World().snapshot.with_keys((IssuerKeys(),) * count)


def test_snapshot_names_its_routes_in_order() -> None:
    """Metrics label by index."""
    assert World().snapshot.route_names() == ("orders",)


def test_snapshot_cell_is_swapped_whole() -> None:
    """Reading it is one attribute."""
    first, second = World().snapshot, World().snapshot
    cell = SnapshotCell(first)
    cell.current = second
    assert cell.current is second


@pytest.mark.parametrize(
    ("rate", "burst", "workers", "share"),
    [
        (50, 200, 1, (50.0, 200)),
        (50, 200, 2, (25.0, 100)),
        (50, 200, 32, (1.5625, 10)),
        (50, 200, 256, (1.0, 10)),
        (1, 1, 4, (1.0, 1)),
        (1_000_000, 1_000_000, 1, (1e6, 1_000_000)),
    ],
)
def test_limits_give_each_worker_its_share_of_a_clients_failures(
    rate: int, burst: int, workers: int, share: tuple[float, int]
) -> None:
    """All workers together allow what was configured, or the least that is useful."""
    limits = Limits(failures_per_s=rate, failure_burst=burst)
    assert limits.failure_share(workers) == share


def test_decision_begins_undecided_and_allows_nothing() -> None:
    """A lane that got one by mistake denies."""
    decision = Decision()
    assert decision.verdict is Verdict.UNDECIDED
    assert (decision.reason, decision.route, decision.facts) == (None, None, None)
    assert (decision.token, decision.credential, decision.failed_keys) == (b"", b"", ())
    assert (decision.region, decision.source) == (NO_REGION, RegionSource.DEFAULT)
    assert (decision.conflict, decision.repair_cookie) == (None, False)
    assert (decision.cache, decision.kind, decision.age_ms) == ("", "none", -1)
    assert (decision.decided_boot_ns, decision.stale_question) == (0, False)
    assert decision.ask_kid is None


def test_asked_remembers_the_keys_that_failed() -> None:
    """The gate tries them no more."""
    asked = Asked()
    assert (asked.key_asked, asked.failed_keys, asked.missed) == (False, (), False)
    decision = Decision()
    decision.failed_keys = (b"t" * 32,)
    asked.key_answered(decision)
    assert (asked.key_asked, asked.failed_keys) == (True, (b"t" * 32,))


def test_asked_remembers_that_the_cache_was_missed() -> None:
    """However often the request is decided afterwards."""
    asked = Asked()
    for cache, missed in (("", False), ("miss", True), ("hit", True)):
        decision = Decision()
        decision.cache = cache
        asked.learn(decision)
        assert (asked.missed, asked.key_asked) == (missed, False)


def test_keys_index_their_thumbprints() -> None:
    """Facts hang on them, not on kids."""
    keys = keys_of(signing_key(), signing_key("ES384"))
    assert keys.thumbprints == {key.thumbprint for key in keys.every}
    assert len(keys.thumbprints) == 2
