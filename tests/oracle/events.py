"""The set of events and lifts, as plain sets: what the compiled store comes to."""

from dataclasses import dataclass, field


@dataclass
class EventSet:
    """Every event by (id, origin), every lift by (id, origin, expiry)."""

    events: dict[tuple[str, str], tuple[bytes, int, int]] = field(default_factory=dict)
    lifts: set[tuple[str, str, bytes, int]] = field(default_factory=set)

    def event(
        self, id_: str, origin: str, key: bytes, cutoff: int, expires: int
    ) -> None:
        self.events[id_, origin] = (key, cutoff, expires)

    def lift(self, id_: str, origin: str, key: bytes, expires: int) -> None:
        self.lifts.add((id_, origin, key, expires))

    def entries(self) -> dict[bytes, tuple[int, int]]:
        """Return cutoff and expiry by key."""
        entries: dict[bytes, tuple[int, int]] = {}
        for (id_, origin), (key, cutoff, expires) in self.events.items():
            if (id_, origin, key, expires) in self.lifts:
                continue
            known = entries.get(key, (0, 0))
            entries[key] = max(known[0], cutoff), max(known[1], expires)
        return entries
