"""Origin gaps: what came in an origin's stream and is not in force at this node.

Owns:      frames that could not be read, by publisher; frames under hash keys that are
           not known here, by key; from which position on that is so.
Called by: control.origin, one object per tracker, for every frame that it cannot use.
Source:    REVOCATION.md section 3: a frame that cannot be read, or under a hash key
           that is not known, is a gap.

Both are gaps until they are over, and are over for different reasons. What could not be
read may be explained: its publisher says so, no number is missing around it, or the
stream has it no more, and then somebody says it again. What is under an unknown key can
be read and counted, and nobody can make this node look it up: only time ends that, once
no token is alive that it can touch, whatever becomes of stream and publisher.
"""

from collections.abc import Collection, Mapping

__all__ = ["OriginGaps"]

# Reason: publishers that a stream may have; more of them are one gap all the same.
_MAX_UNREAD = 4_096
# Reason: a rotation has two keys. What comes under more is kept under no name, so that
# it does not end by a key becoming known.
_MAX_BLIND = 16
_ANY_OTHER = ""


class OriginGaps:
    """The gaps of one origin's view."""

    def __init__(self) -> None:
        # Position of the first message that is not in force, 0 for none.
        self.flaw = 0
        self.full = False  # the index refused something that was read
        # With the number read before it, 0 where none was.
        self._unread: dict[str, int] = {}
        # When the last event under a hash key ends, seconds.
        self._blind: dict[str, int] = {}

    # -- what happens ------------------------------------------------------------------

    def refused(self, position: int) -> None:
        """Note a frame that the index has no room for."""
        self.full = True
        self.flaw = self.flaw or position

    def unread(self, publisher: str, last: int, position: int) -> None:
        """Note a frame that cannot be read. last: Number read before it."""
        self.flaw = self.flaw or position
        if len(self._unread) < _MAX_UNREAD:
            self._unread.setdefault(publisher, last)

    def blinded(self, key_id: str, until_s: int, position: int) -> None:
        """Note a frame under a hash key that is not known here.

        until_s: When the last of its events ends.
        """
        self.flaw = self.flaw or position
        if key_id not in self._blind and len(self._blind) >= _MAX_BLIND:
            key_id = _ANY_OTHER
        self._blind[key_id] = max(until_s, self._blind.get(key_id, 0))

    def followed(self, publisher: str, first: int) -> None:
        """Note a frame that can be read; it closes a gap that no number fell into."""
        if 0 < self._unread.get(publisher, 0) == first - 1:
            del self._unread[publisher]

    def vouched(self, publisher: str) -> None:
        """Note that a publisher itself calls what was read of it complete."""
        self._unread.pop(publisher, None)

    def begin_anew(self) -> None:
        """Note that the stream is read from its start; its positions count no more."""
        self._unread.clear()
        self.flaw, self.full = int(bool(self._blind)), False

    def proven(self) -> None:
        """Note that a marker proved everything: nothing is missing any more."""
        self.flaw = 0
        self._blind.clear()

    # -- what is known -----------------------------------------------------------------

    def has_unread_of(self, publishers: Collection[str]) -> bool:
        """Tell whether one of these said what could not be read.

        A name that never published is only counted: anybody may make one up.
        """
        return not self._unread.keys().isdisjoint(publishers)

    def is_blind(self, wall_s: float) -> bool:
        """Tell whether an event that cannot be looked up may touch a live token."""
        return any(until_s >= wall_s for until_s in self._blind.values())

    # -- what is kept on the disk ------------------------------------------------------

    @property
    def is_saved_by_reading(self) -> bool:
        """True where only another reading of the stream shows what is missing."""
        return self.full or bool(self._unread)

    def saved(self) -> dict[str, int]:
        """Return the unknown keys, and when what is under them ends."""
        return dict(self._blind)

    def restore(self, blind: Mapping[str, int], known_keys: Collection[str]) -> bool:
        """Take what was saved; False where the stream must be read from its start.

        A key that has become known since is one to read the stream again for.
        """
        for key_id, until_s in blind.items():
            if key_id not in known_keys:
                self.blinded(key_id, until_s, 1)
        return not any(key_id in known_keys for key_id in blind)
