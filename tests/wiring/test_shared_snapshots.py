"""Which configurations leave states on the bus, and with what bounds."""

from pathlib import Path

import pytest
from tests.config.documents import BASE, load_text
from tests.feed_fakes import BootClock, FakeJournal

from fastgate.control.feed_settings import FeedSettings
from fastgate.control.frame_seal import FrameSeal
from fastgate.control.shared_snapshots import SharedSnapshots
from fastgate.wiring.buses import build_bus, lifetimes_of, nats_settings
from fastgate.wiring.shared_snapshots import build_shared_snapshots

KEY = "hash_key: 0123456789abcdef"
NATS = "bus: 'nats://127.0.0.1:4222'"
REDIS = "bus: 'redis://127.0.0.1:6379'"
KAFKA = "bus: 'kafka://127.0.0.1:9092'"


def built(folder: Path, rules: str) -> SharedSnapshots | None:
    config = load_text(folder, f"{BASE}revocation: {{{rules}}}\n").require()
    journal = FakeJournal("gw-eu-1")
    settings = FeedSettings(
        lifetimes=lifetimes_of(config), default_origin="eu", hash_key=b"0" * 16
    )
    bus = build_bus(config, journal, settings.lifetimes.longest_s)
    return build_shared_snapshots(
        config,
        bus,
        journal=journal,
        settings=settings,
        seal=FrameSeal(),
        clock=BootClock(),
    )


@pytest.mark.parametrize("bus", [NATS, REDIS], ids=["nats", "redis"])
def test_states_are_left_where_a_key_guards_them(tmp_path, bus):
    """By default, up to 256 MiB."""
    default = built(tmp_path, f"{bus}, {KEY}")
    assert default is not None
    assert default.max_bytes == 256 << 20
    small = built(tmp_path, f"{bus}, {KEY}, snapshot_max_bytes: 2MiB")
    assert small is not None
    assert small.max_bytes == 2 << 20


@pytest.mark.parametrize(
    "rules",
    ["bus: local", f"{KAFKA}, {KEY}", NATS, f"{NATS}, {KEY}, snapshots_on_bus: false"],
    ids=["local", "kafka", "no-key", "off"],
)
def test_no_state_is_left_elsewhere(tmp_path, rules):
    """One host, a log, no key, or switched off."""
    assert built(tmp_path, rules) is None


def test_stream_for_states_is_wanted_only_where_some_are_left(tmp_path):
    """`bus init` makes what a gateway would use, and no more."""
    on = load_text(tmp_path, f"{BASE}revocation: {{{NATS}, {KEY}}}\n").require()
    assert nats_settings(on, 60).snapshot_bytes == 256 << 20
    off = load_text(tmp_path, f"{BASE}revocation: {{{NATS}}}\n").require()
    assert nats_settings(off, 60).snapshot_bytes == 0
