"""The tally: which columns a request adds to."""

from types import SimpleNamespace

import pytest
from tests.fakes import FakeMeter, decided
from tests.lane_kit import public, snapshot_of

from fastgate.domain.region import RegionSource
from fastgate.domain.route import OnStale
from fastgate.domain.verdict import Reason, Verdict
from fastgate.hotpath.flow import Flow
from fastgate.hotpath.headers import read_head
from fastgate.hotpath.tally import Tally


class Column:
    """Reads columns by metric name and labels."""

    def __init__(self, tally: Tally, meter: FakeMeter) -> None:
        self.tally, self.meter = tally, meter

    def __call__(self, name: str, *labels: str) -> int:
        return self.meter.columns[self.tally._plan.column(f"fastgate_{name}", *labels)]


@pytest.fixture
def counted():
    snapshot = snapshot_of(public("http://a", on_stale=OnStale.DENY))
    meter = FakeMeter()
    tally = Tally.of(snapshot, meter)
    return snapshot, tally, Column(tally, meter)


class Head:
    path = "/"


def test_tally_counts_an_allowed_decision_with_its_region(counted):
    """Kind, result, cache, where to and why."""
    snapshot, tally, column = counted
    tally.decided(
        decided(
            Verdict.ALLOW,
            snapshot,
            Head(),
            kind="jwt",
            cache="hit",
            region=1,
            source=RegionSource.CLAIM,
            conflict=RegionSource.COOKIE,
        )
    )
    assert column("token_checks_total", "jwt", "allow") == 1
    assert column("decision_cache_total", "hit") == 1
    assert column("region_routed_total", "eu", "us", "claim") == 1
    assert column("region_disagreement_total", "claim", "cookie") == 1


@pytest.mark.parametrize("reason", list(Reason))
def test_tally_counts_every_reason(counted, reason):
    """No reason lacks a column."""
    snapshot, tally, column = counted
    tally.decided(decided(Verdict.DENY, snapshot, Head(), reason=reason, region=-1))
    assert column("token_checks_total", "none", reason.value) == 1
    stale = int(reason is Reason.STALE_REVOCATION)
    assert column("stale_answers_total", "public", "deny") == stale


class Done:
    """An exchange as the tally sees it."""

    lane = "general"


@pytest.mark.parametrize(
    ("reason", "begun", "kind"),
    [
        (Reason.UPSTREAM_REFUSED, False, "refused"),
        (Reason.UPSTREAM_TIMEOUT, False, "timeout"),
        (Reason.BAD_UPSTREAM_RESPONSE, False, "bad_response"),
        (Reason.BAD_UPSTREAM_RESPONSE, True, "cut"),
    ],
)
def test_tally_counts_how_an_upstream_failed(counted, reason, begun, kind):
    """By region, and apart where the answer had begun."""
    snapshot, tally, column = counted
    flow = Flow(Done(), snapshot, 0)
    flow.status, flow.reason = 502, reason
    flow.begun_ns = int(begun)
    flow.inbound = read_head(
        "GET", b"/", (1, 1), [(b"Host", b"a")], peer="", limits=snapshot.limits
    )
    flow.decision = decided(Verdict.ALLOW, snapshot, flow.inbound.head)
    tally.finished(flow, 2_000_000, known_routes=True)
    assert column("upstream_errors_total", "eu", kind) == 1


def test_tally_counts_a_request_without_route_or_region(counted):
    """Refused before the gate: unknown, and not somebody else's column."""
    snapshot, tally, column = counted
    flow = Flow(Done(), snapshot, 0)
    flow.status = 400
    tally.finished(flow, 1, known_routes=True)
    place = tally._plan.request_column(-1, "", 400, -1)
    assert column.meter.columns[place] == 1


def test_tally_observes_durations_in_their_buckets(counted):
    """The first bucket whose bound is not below, and the sum."""
    snapshot, tally, column = counted
    flow = Flow(Done(), snapshot, 0)
    flow.status = 400
    tally.finished(flow, 1_000_000, known_routes=True)
    first, bounds = tally._plan.histogram("fastgate_request_duration_seconds", "")
    assert column.meter.columns[first + bounds.index(1_000_000)] == 1
    assert column.meter.columns[first + len(bounds) + 1] == 1_000_000


@pytest.mark.parametrize("kind", ["jwt", "none", "opaque"])
@pytest.mark.parametrize("cache", ["hit", "miss", ""])
def test_tally_counts_a_plain_request_like_any_other(counted, kind, cache):
    """The compiled lane's one call adds what the relay's three calls add."""
    snapshot, tally, _ = counted
    other = Tally.of(snapshot, FakeMeter())
    decision = decided(
        Verdict.ALLOW, snapshot, Head(), kind=kind, cache=cache, region=0
    )
    for one in (tally, other):
        one.begin(0)
    for _ in range(2):
        served = tally.served(decision, "GET", 200)
        served.count(1_000, 31_000, 900_000, 910_000, 950_000)
        flow = Flow(SimpleNamespace(lane="compiled"), snapshot, 1_000)
        flow.decision, flow.status = decision, 200
        flow.inbound = SimpleNamespace(head=SimpleNamespace(method="GET"))
        flow.sent_ns, flow.heard_ns, flow.begun_ns = 31_000, 900_000, 910_000
        other.decided(decision)
        other.end(0)
        other.finished(flow, 950_000, known_routes=True)
    assert tally._meter.columns == other._meter.columns


def test_tally_times_the_checks_of_a_token_by_its_issuer(counted):
    """A route without tokens has no issuer, and nothing to time."""
    snapshot, tally, column = counted
    decision = decided(Verdict.ALLOW, snapshot, Head(), cache="miss")
    tally.verified(decision, 70_000)
    assert not column.meter.columns
    decision.route = SimpleNamespace(issuer=SimpleNamespace(index=0))
    tally._verified = [tally._meter.histogram(0, (50_000, 100_000))]
    tally.verified(decision, 70_000)
    assert column.meter.columns == {1: 1, 3: 70_000}
