"""Receipts: told from reports, complete only when every live node has it."""

from fastgate.control.receipts import ALIVE_NS, Receipts
from fastgate.domain.marker import MAX_ECHOES, Report

MS = 1_000_000


def report(node: str, region: str = "eu", nonce: str = "n", **positions: int) -> Report:
    return Report(region, node, nonce, positions)


def test_region_is_counted_when_a_node_reports_the_position():
    """Milliseconds count from the entry to the report."""
    receipts = Receipts()
    watch = receipts.watch({"eu": 5}, ("eu", "us"), began_ns=0)
    receipts.reported(report("a", eu=4), 1 * MS)
    assert watch.receipt() == {}
    receipts.reported(report("a", eu=5), 2 * MS)
    receipts.reported(report("b", "us", eu=9), 7 * MS)
    assert watch.receipt() == {
        "eu": {"nodes": 1, "ms": 2.0},
        "us": {"nodes": 1, "ms": 7.0},
    }
    assert watch.everywhere.is_set()


def test_receipt_waits_for_every_live_node_of_a_region():
    """One node of two is not a region."""
    receipts = Receipts()
    receipts.reported(report("a"), 0)
    receipts.reported(report("b"), 0)
    watch = receipts.watch({"eu": 1}, ("eu",), began_ns=0)
    receipts.reported(report("a", eu=1), MS)
    assert not watch.everywhere.is_set()
    receipts.reported(report("b", eu=1), 2 * MS)
    assert watch.everywhere.is_set()


def test_receipt_does_not_wait_for_a_node_that_is_gone():
    """A node that stopped reporting cannot hold up a receipt for ever."""
    receipts = Receipts()
    receipts.reported(report("gone"), 0)
    watch = receipts.watch({"eu": 1}, ("eu",), began_ns=0)
    receipts.reported(report("a", eu=1), ALIVE_NS + 1)
    assert watch.everywhere.is_set()


def test_receipt_counts_reports_that_came_before_the_position_was_known():
    """The other region may be faster than the bus's own answer."""
    receipts = Receipts()
    watch = receipts.watch({}, ("us",), began_ns=0)
    receipts.reported(report("b", "us", eu=5), 3 * MS)
    receipts.want(watch, "eu", 5, 9 * MS)
    assert watch.receipt() == {"us": {"nodes": 1, "ms": 3.0}}
    assert watch.everywhere.is_set()


def test_event_counts_as_enforced_in_either_stream():
    """`handed` in the entry's stream, or published by its home."""
    receipts = Receipts()
    watch = receipts.watch({"eu": 5, "us": 9}, ("ap",), began_ns=0)
    receipts.reported(report("c", "ap", us=9), MS)
    assert watch.everywhere.is_set()


def test_position_zero_is_enforced_by_nobody():
    """Pending is not published."""
    receipts = Receipts()
    watch = receipts.watch({"eu": 0}, ("eu",), began_ns=0)
    receipts.reported(report("a", eu=0), MS)
    assert watch.receipt() == {}


def test_roster_lists_live_gateways_of_one_region_by_name():
    """The first by name writes the markers."""
    receipts = Receipts()
    receipts.reported(report("b"), 0)
    receipts.reported(report("z", "us"), ALIVE_NS)
    receipts.reported(report("c"), ALIVE_NS)
    receipts.reported(report("a"), ALIVE_NS)
    assert receipts.roster("eu", ALIVE_NS + 1) == ("a", "c")


def test_echoes_are_the_newest_nonces_and_bounded():
    """A marker is at most 64 KiB."""
    receipts = Receipts()
    for i in range(3_000):
        receipts.reported(report(f"n{i}", nonce=f"old{i}"), i)
    receipts.reported(report("n2999", nonce="new"), 3_000)
    echoes = receipts.echoes(3_000)
    assert len(echoes) == MAX_ECHOES
    assert echoes["eu/n2999"] == "new"
    assert "eu/n0" not in echoes


def test_forgotten_watch_is_no_longer_told():
    """An answer that was given costs nothing more."""
    receipts = Receipts()
    watch = receipts.watch({"eu": 1}, ("eu",), began_ns=0)
    receipts.forget(watch)
    receipts.forget(watch)
    receipts.reported(report("a", eu=1), MS)
    assert watch.receipt() == {}
