"""The clocks: which one jumps and which one does not."""

import time

from tests.fakes import FakeClock

from fastgate.adapters.clock import SystemClock


def test_system_clock_reads_the_kernels_clocks():
    """Both values lie between two direct readings."""
    clock = SystemClock()
    before = time.time(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    read = clock.wall_s(), clock.boot_ns()
    after = time.time(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before[0] <= read[0] <= after[0]
    assert before[1] <= read[1] <= after[1]


def test_fake_clock_moves_when_told_only():
    """Setting the wall clock leaves the age of things alone."""
    clock = FakeClock()
    wall, boot = clock.wall_s(), clock.boot_ns()
    assert (clock.wall_s(), clock.boot_ns()) == (wall, boot)
    clock.advance(1.5)
    assert (clock.wall_s(), clock.boot_ns()) == (wall + 1.5, boot + 1_500_000_000)
    clock.set_wall(0.0)
    assert (clock.wall_s(), clock.boot_ns()) == (0.0, boot + 1_500_000_000)
