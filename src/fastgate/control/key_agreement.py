"""Key agreement: whether this node's hash key is the one that everybody else uses.

Owns:      what markers said of the key that entries are made with, by origin.
Called by: control.feed: every marker is told here; entries, the publisher and readiness
           ask. Alarms follow from it each second.
Source:    REVOCATION.md section 3: one hash key for all regions; a frame under another
           one is a gap for everybody, for as long as its events live.

A node with a wrong key would make that gap by one entry, and deny its whole region
everywhere. So whoever has just started, and is contradicted, enters nothing. A node
that was complete once with everybody's agreement is not put off by one that comes later
with another key: then that one is wrong. Where nobody was, as when all of them are new,
the greater number decides.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from fastgate.domain.event import Event
from fastgate.domain.marker import Marker
from fastgate.errors import ControlError

__all__ = ["KeyAgreement"]

# Reason: as long as a stream keeps a marker. An operator who replaces the key
# everywhere at once is held up for so long.
_SAID_FOR_S = 600


@dataclass(frozen=True, slots=True)
class _Word:
    key_id: str
    at_s: float


class KeyAgreement:
    """One per node.

    boot: Of this process, as its markers name it.
    key_id: Of the key that entries are made with. known_keys: Of all looked up here.
    blind: Tells whether something live came under a key that is not known here.
    wall_s: Tells the wall time.
    """

    def __init__(
        self,
        *,
        boot: str,
        key_id: str,
        known_keys: Collection[str],
        blind: Callable[[], bool],
        wall_s: Callable[[], float],
    ) -> None:
        self.key_id = key_id
        # Everybody's markers agreed while this node was complete for every origin.
        self.agreed = False
        self._boot = boot
        self._known_keys = known_keys
        self._blind = blind
        self._wall_s = wall_s
        # The newest word of each origin, by whether its writer could be sure of it.
        # What this node said before it was started again is a word as any other.
        self._sure: dict[str, _Word] = {}
        self._unsure: dict[str, _Word] = {}

    def heard(self, marker: Marker) -> None:
        """Take the word of a marker, new or old, of any origin."""
        if not marker.hash_key or marker.boot == self._boot:
            return
        word = _Word(marker.hash_key, min(marker.wall, self._wall_s()))
        (self._sure if marker.agreed else self._unsure)[marker.origin] = word

    def proven(self) -> None:
        """Note that this node is complete for every origin."""
        self.agreed = self.agreed or not self.in_doubt

    @property
    def in_doubt(self) -> bool:
        """True while others use another key, and this node has not proven itself."""
        if self.agreed:
            return False
        good, bad = self._count(self._sure)
        if good or bad:
            return bad >= max(good, 1)
        good, bad = self._count(self._unsure)
        return bad > good or (good == 0 and self._blind())

    def contradicting(self) -> tuple[str, ...]:
        """Return the origins whose newest markers name a key that is not known here."""
        newest = dict(self._sure)
        for origin, word in self._unsure.items():
            if origin not in newest or newest[origin].at_s <= word.at_s:
                newest[origin] = word
        said = self._lately(newest)
        return tuple(sorted(o for o, key_id in said if key_id not in self._known_keys))

    def may_be_said(self, event: Event) -> bool:
        """Tell whether an event may be published: others would know its key, too.

        What was entered under a key that is gone waits in the journal: published, it
        would be a gap for everybody, and nobody was told that it is published.
        """
        return event.key_id in self._known_keys and not self.in_doubt

    def check(self) -> None:
        """Refuse to make an entry while in doubt. Raises ControlError."""
        if self.in_doubt:
            raise ControlError(
                "revocation.hash_key is not the one that the other gateways use"
            )

    def _lately(self, words: Mapping[str, _Word]) -> list[tuple[str, str]]:
        since_s = self._wall_s() - _SAID_FOR_S
        return [(o, word.key_id) for o, word in words.items() if word.at_s >= since_s]

    def _count(self, words: Mapping[str, _Word]) -> tuple[int, int]:
        """Return how many origins name a key known here, and how many another."""
        known = [key_id in self._known_keys for _, key_id in self._lately(words)]
        return sum(known), len(known) - sum(known)
