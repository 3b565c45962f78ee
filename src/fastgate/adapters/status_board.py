"""Status board: the entries of Token Status Lists in shared memory, looked at in place.

Owns:      the layout of that segment: a directory, then the lists, byte by byte exact.
Called by: wiring makes one writable in the agent (control.status_lists writes it) and
           one to read in each worker, where hotpath.gate looks a token's entry up.

The directory is a SharedDocument; it names for each list where its bytes are. A new
version of a list goes to a free place, then the directory is published, so that readers
have the old list or the new one, whole. A place that was left is used again only after
a while, and a reader compares the directory's version after it has read.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from fastgate.domain.status_list import entry_of
from fastgate.errors import ControlError

__all__ = ["StatusBoard"]

_ALIGNED = 4096
_TRIES = 4
# Reason: no look-up takes a second, so nobody still reads a place that old.
_QUARANTINE_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a list is.

    until_ns: CLOCK_BOOTTIME up to which it may be relied upon.
    """

    at: int
    size: int
    bits: int
    until_ns: int

    @property
    def end(self) -> int:
        return -(-(self.at + self.size) // _ALIGNED) * _ALIGNED


class Directory(Protocol):
    """A published document (adapters.shared_document)."""

    def version(self) -> int:
        """Return the current version, 0 for none."""
        ...

    def read(self) -> tuple[int, bytes] | None:
        """Return version and document, whole."""
        ...

    def publish(self, document: bytes) -> int:
        """Replace the document; returns its version. Raises ControlError."""
        ...


class StatusBoard:
    """One writer, any number of readers.

    directory: A SharedDocument, of the writer or of a reader; a writer goes on from
        what its predecessor left. data: The rest of the segment.
    """

    def __init__(self, directory: Directory, data: memoryview) -> None:
        self._directory = directory
        self._data = data
        self._version = 0
        self._places: dict[str, _Place] = {}
        # What a look-up needs: entries, bits of each, and until when they count.
        self._looks: dict[str, tuple[memoryview, int, int]] = {}
        self._left: list[tuple[_Place, int]] = []
        self._follow()

    # -- the agent's side ------------------------------------------------------------

    def put(
        self, name: str, raw: bytes, bits: int, *, until_ns: int, now_ns: int
    ) -> None:
        """Replace a list; the old one stays where there is no room: ControlError.

        name: Of the list. until_ns, now_ns: CLOCK_BOOTTIME.
        """
        old = self._places.get(name)
        place = _Place(self._free_place(len(raw), now_ns), len(raw), bits, until_ns)
        self._data[place.at : place.at + len(raw)] = raw
        places = self._places | {name: place}
        self._publish(places)
        if old is not None:
            self._left.append((old, now_ns))

    def keep_only(self, names: set[str], *, now_ns: int) -> None:
        """Drop every list that is not named."""
        gone = [name for name in self._places if name not in names]
        if gone:
            left = [(self._places[name], now_ns) for name in gone]
            self._publish({n: p for n, p in self._places.items() if n in names})
            self._left += left

    def _free_place(self, size: int, now_ns: int) -> int:
        self._left = [
            (place, since)
            for place, since in self._left
            if now_ns - since < _QUARANTINE_NS
        ]
        used = [*self._places.values(), *(place for place, _ in self._left)]
        at = 0
        for place in sorted(used, key=lambda each: each.at):
            if at + size <= place.at:
                break
            at = max(at, place.end)
        if at + size > len(self._data):
            raise ControlError("no room for the status list")
        return at

    def _publish(self, places: dict[str, _Place]) -> None:
        told = {n: [p.at, p.size, p.bits, p.until_ns] for n, p in places.items()}
        self._version = self._directory.publish(orjson.dumps(told))
        self._adopt(places)

    # -- the side of the readers -------------------------------------------------------

    def status(self, name: str, index: int, boot_ns: int) -> int:
        """Return the status of an entry: 0 valid, 1 invalid, 2 suspended, 3 and up.

        boot_ns: CLOCK_BOOTTIME of the decision.
        Returns -1 where the list is not there or too old to be relied upon, -2 where
        it has no such entry. Raises nothing.
        """
        for _ in range(_TRIES):
            if self._directory.version() != self._version:
                self._follow()
            look = self._looks.get(name)
            if look is None or look[2] <= boot_ns:
                return -1
            found = entry_of(look[0], look[1], index)
            if self._directory.version() == self._version:
                return -2 if found is None else found
        return -1

    def until_ns(self, name: str) -> int:
        """Return up to when a list may be relied upon, 0 where it is not there."""
        place = self._places.get(name)
        return 0 if place is None else place.until_ns

    def _follow(self) -> None:
        found = self._directory.read()
        if found is None:
            return
        self._version, document = found
        try:
            told: dict[str, Any] = orjson.loads(document)
            places = {name: _Place(*map(int, place)) for name, place in told.items()}
        except (ValueError, TypeError):
            # An agent of another version wrote it: nothing of it is relied upon.
            places = {}
        self._adopt(places)

    def _adopt(self, places: dict[str, _Place]) -> None:
        self._places = places
        self._looks = {
            name: (self._data[p.at : p.at + p.size], p.bits, p.until_ns)
            for name, p in places.items()
        }
