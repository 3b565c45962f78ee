"""Who writes the marker of this second, and what it says."""

from dataclasses import replace

from tests.fakes import FakeClock

from fastgate.control.markers import MarkerWriter
from fastgate.control.origin import OriginTracker
from fastgate.control.receipts import Receipts
from fastgate.domain.event import Batch, Event
from fastgate.domain.frame import open_frame
from fastgate.domain.freshness import NonceLog
from fastgate.domain.marker import MAX_MARKER_BYTES, Marker, Report, decode_marker
from fastgate.domain.revocation import Kind
from fastgate.domain.stream import StreamState

EVENT = Event(
    id="e",
    origin="eu",
    at=0.0,
    kind=Kind.JTI,
    key=bytes(16),
    expires=2**31,
    key_id="00000000",
    seq=1,
)


class Region:
    """The own origin as one gateway sees it."""

    def __init__(self, node: str, *, caught_up: bool = True) -> None:
        self.clock = FakeClock()
        self.receipts = Receipts()
        self.own = OriginTracker(
            "eu",
            me=f"eu/{node}",
            nonces=NonceLog(),
            known_keys=(),
            apply=lambda *_: True,
            prove=lambda _: None,
            wall_s=lambda: 0.0,
        )
        if caught_up:
            assert self.own.plan(StreamState("made", 0, 0.0), 0, 1) is not None
            self.own.reached(0, 1)
        self.writer = MarkerWriter(
            region="eu",
            node=node,
            boot="00" * 8,
            clock=self.clock,
            receipts=self.receipts,
            max_token_lifetime_s=3_600,
        )

    def hear(self, *nodes: str, region: str = "eu") -> None:
        for node in nodes:
            report = Report(region, node, "11" * 8, {})
            self.receipts.reported(report, self.clock.boot_ns())

    def due(self) -> bool:
        return self.writer.is_due(self.own, self.clock.boot_ns())

    def compose(self) -> Marker:
        payload = self.writer.compose(self.own)
        assert len(payload) <= MAX_MARKER_BYTES
        return decode_marker(open_frame(payload)[1])


def test_first_live_gateway_by_name_writes():
    """One marker a second, without an election."""
    first, second = Region("a"), Region("b")
    for region in (first, second):
        region.hear("b", "a")
    assert first.due()
    assert not second.due()


def test_next_gateway_writes_after_two_seconds_of_silence():
    """A writer that is stopped, not dead, still reports nothing new."""
    region = Region("b")
    region.clock.advance(1.9)
    region.hear("b", "a")
    assert not region.due()
    region.clock.advance(0.2)
    assert region.due()


def test_gateway_writes_when_it_hears_nobody():
    """Not even itself: then it cannot know who else would."""
    assert Region("b").due()


def test_gateway_does_not_write_before_it_has_read_its_own_stream():
    """Marks from half a view would call everybody incomplete."""
    assert not Region("a", caught_up=False).due()


def test_gateways_of_other_regions_do_not_count():
    """Each region speaks for itself."""
    region = Region("b")
    region.hear("b")
    region.hear("a", region="us")
    assert region.due()


def test_marker_echoes_nonces_and_names_the_roster():
    """What readers need for their age, and people for their status."""
    region = Region("a")
    region.hear("a", "b")
    region.hear("z", region="us")
    marker = region.compose()
    assert set(marker.echo) == {"eu/a", "eu/b", "us/z"}
    assert (marker.roster, marker.writer) == (("a", "b"), "a")
    assert marker.as_of == region.clock.boot_ns()
    assert marker.max_token_lifetime == 3_600


def test_marker_drops_the_oldest_echoes_when_it_would_be_too_large():
    """64 KiB hold; the newest nonces are the ones that count."""
    region = Region("a")
    for i in range(400):
        region.hear(f"{i:03d}" + "n" * 60, region="r" * 64)
    for i in range(100):
        name = "p" * 60 + f".{i:08d}"
        region.own.acked(Batch("eu", name, (replace(EVENT, id=f"e{i}"),)), i + 1)
    marker = region.compose()
    assert len(marker.marks) == 100
    newest = "r" * 64 + "/399" + "n" * 60
    assert newest in marker.echo
    assert 100 < len(marker.echo) < 400
