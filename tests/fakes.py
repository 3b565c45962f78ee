"""A fake per port, each written with its port."""


class FakeClock:
    """ports.Clock that a test moves by hand; both clocks move together unless set."""

    def __init__(self, *, wall_s: float = 1_800_000_000.0, boot_ns: int = 10**12):
        self._wall_s = wall_s
        self._boot_ns = boot_ns

    def wall_s(self) -> float:
        return self._wall_s

    def boot_ns(self) -> int:
        return self._boot_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall_s += seconds
        self._boot_ns += round(seconds * 1e9)

    def set_wall(self, wall_s: float) -> None:
        """Set the wall clock, as an administrator or NTP would."""
        self._wall_s = wall_s
