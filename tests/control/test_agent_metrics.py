"""Agent metrics: totals that go on over restarts, and what the agent alone knows."""

from fastgate._ext.counters import CounterRow, CounterTable, size
from fastgate.control.agent_metrics import ColumnFollower, samples
from fastgate.domain.metric_plan import MetricPlan
from fastgate.domain.metrics import METRICS

PLAN = MetricPlan(
    routes=("orders",), regions=("eu", "us"), issuers=["login"], own_region="eu"
)
RELOADS = "fastgate_config_reloads_total"
GAPS = "fastgate_revocation_feed_gaps_total"
REJECTED = "fastgate_revocation_feed_rejected_total"
URGENT = "fastgate_revocation_urgent_total"


class Row:
    """The agent's row in memory that outlives the agent."""

    def __init__(self) -> None:
        self._memory = bytearray(size(1, PLAN.columns))
        CounterTable(self._memory, 1, PLAN.columns)

    def open(self) -> CounterRow:
        """As the next agent finds it."""
        return CounterRow(self._memory, 0, PLAN.columns, PLAN.layout)

    def get(self, name: str, *labels: str) -> int:
        return self.open().get(PLAN.column(name, *labels))


def feed(**line):
    """A feed's status with one origin."""
    return {
        "origins": [{"origin": "us", "age_s": 1.5} | line],
        "connected": True,
        "urgent": {"heard": {"first": 5, "late": 0}},
    }


def test_total_is_copied_as_often_as_one_likes():
    """It is set, not added, so a slow or a quick tick gives the same."""
    row = Row()
    follower = ColumnFollower(PLAN, row.open())
    for total in (1, 1, 4):
        follower.follow_reloads({"success": total, "failure": 0})
    assert (row.get(RELOADS, "success"), row.get(RELOADS, "failure")) == (4, 0)


def test_next_agent_counts_on_from_where_its_predecessor_died():
    """A restart is no reset: rates over it stay true."""
    row = Row()
    ColumnFollower(PLAN, row.open()).follow_reloads({"success": 4})
    successor = ColumnFollower(PLAN, row.open())
    successor.follow_reloads({"success": 0})
    assert row.get(RELOADS, "success") == 4
    successor.follow_reloads({"success": 2})
    assert row.get(RELOADS, "success") == 6


def test_feed_counts_have_a_column_for_each_origin_and_cause():
    """What the feed counts by origin is what is shown of it."""
    row = Row()
    follower = ColumnFollower(PLAN, row.open())
    follower.follow_feed(feed(gaps=3, rejected={"malformed": 2, "version": 1}))
    assert row.get(GAPS, "us") == 3
    assert row.get(GAPS, "eu") == 0
    assert row.get(REJECTED, "us", "malformed") == 2
    assert row.get(REJECTED, "us", "version") == 1
    assert row.get(URGENT, "first") == 5


def test_origin_outside_the_plan_is_passed_over():
    """It has no series; nothing else is counted in its place."""
    row = Row()
    document = feed(gaps=3)
    document["origins"][0]["origin"] = "mars"
    ColumnFollower(PLAN, row.open()).follow_feed(document)
    assert row.get(GAPS, "us") == row.get(GAPS, "eu") == 0


def status(**changes):
    """What an agent says of itself."""
    document = {
        "commit": "abc",
        "config": {"since": 17.0},
        "workers": [{"slot": 0, "up": True}, {"slot": 1, "up": False}],
        "keys": [
            {"alias": "login", "keys": [{}, {}], "age_s": 10.0},
            {"alias": "new", "keys": [], "age_s": None},
        ],
        "revocations": {"entries": 7},
        "feed": feed(),
        "alarms": [{"alarm": "bus", "dependency": "bus"}],
    }
    return document | changes


def found(document):
    """Samples by name and labels."""
    return {(name, tuple(labels)): value for name, labels, value in samples(document)}


def test_samples_say_what_only_the_agent_knows():
    """Who is up, how many keys, how many entries, how old, what is wrong."""
    values = found(status())
    assert values["fastgate_process_up", ("agent", "0")] == 1
    assert values["fastgate_process_up", ("worker", "1")] == 0
    assert values["fastgate_jwks_keys", ("login",)] == 2
    assert values["fastgate_revocation_entries", ("all",)] == 7
    assert values["fastgate_revocation_feed_staleness_seconds", ("us",)] == 1.5
    assert values["fastgate_revocation_feed_connected", ("us",)] == 1
    assert values["fastgate_alarm_active", ("bus", "bus")] == 1
    assert values["fastgate_config_last_reload_success_timestamp_seconds", ()] == 17


def test_what_was_never_heard_of_is_not_shown_as_fresh():
    """An origin without an age is older than any limit; keys may have no fetch."""
    values = found(status(feed=feed(age_s=None)))
    assert values["fastgate_revocation_feed_staleness_seconds", ("us",)] > 1e8
    fetched = "fastgate_jwks_last_success_timestamp_seconds"
    assert (fetched, ("login",)) in values
    assert (fetched, ("new",)) not in values


def test_samples_have_the_names_and_labels_of_the_table():
    """The page refuses or loses what the table does not know."""
    known = {m.name: len(m.labels) for m in METRICS if m.by_agent}
    for name, labels in found(status()):
        assert known[name] == len(labels)
