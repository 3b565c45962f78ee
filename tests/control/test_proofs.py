"""What this node cannot enforce of its own is no proof of being complete."""

from types import SimpleNamespace

from fastgate.control.proofs import Proofs


class Board:
    def __init__(self):
        self.evidence = {}

    def set_evidence(self, index, boot_ns):
        self.evidence[index] = boot_ns


def proofs_of(*, incomplete):
    tracker = SimpleNamespace(evidence_ns=5, marker=None)
    enforcement = SimpleNamespace(incomplete=incomplete, settle=lambda: None)
    feed = SimpleNamespace(
        standalone=False,
        origins=("eu", "us"),
        speaks_for={"eu"},
        trackers={"eu": tracker, "us": tracker},
        adoption=SimpleNamespace(evidence_ns={}),
        enforcement=enforcement,
        keys=SimpleNamespace(proven=lambda: None),
    )
    board = Board()
    return Proofs(feed, board), board


def test_own_events_that_are_not_in_force_keep_the_own_origin_stale():
    """As after a start with another hash key: they were promised, and mean nothing."""
    proofs, board = proofs_of(incomplete=True)
    proofs.prove("eu", 7)
    proofs.prove("us", 7)
    assert board.evidence == {1: 7}
    assert (proofs.of("eu"), proofs.of("us")) == (0, 7)


def test_a_whole_journal_proves_the_own_origin():
    """And nothing else is needed."""
    proofs, board = proofs_of(incomplete=False)
    proofs.prove("eu", 7)
    assert board.evidence == {0: 7}
