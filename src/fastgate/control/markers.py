"""Markers: which gateway of a region speaks this second, and what it says.

Owns:      nothing that changes; both answers follow from what it is given.
Called by: control.feed once a second.
Source:    REVOCATION.md section 4: the first live gateway by name; the next after 2 s
           of silence. Two writers at once do no harm.
"""

from collections.abc import Callable

from fastgate.control.origin import OriginTracker
from fastgate.control.receipts import Receipts
from fastgate.domain.marker import Marker, encode_marker
from fastgate.ports import Clock

__all__ = ["MARKER_TTL_S", "MarkerWriter"]

# Reason: a new node reads them too, so they are few; old ones prove nothing.
MARKER_TTL_S = 600
_SILENCE_NS = 2_000_000_000


class MarkerWriter:
    """Decides and composes; the feed publishes.

    boot: This process's name for its clock, 16 hexadecimal digits.
    hash_key: Id of the key that entries are made with. agreed: As markers have it.
    """

    def __init__(
        self,
        *,
        region: str,
        node: str,
        boot: str,
        clock: Clock,
        receipts: Receipts,
        max_token_lifetime_s: int,
        hash_key: str = "",
        agreed: Callable[[], bool] = bool,
    ) -> None:
        self._region = region
        self._node = node
        self._boot = boot
        self._clock = clock
        self._receipts = receipts
        self._hash_key = hash_key
        self._agreed = agreed
        self.max_token_lifetime_s = max_token_lifetime_s
        self._began_ns = clock.boot_ns()

    def is_due(self, own: OriginTracker, now_ns: int) -> bool:
        """Tell whether this node writes the marker of this second.

        own: The own origin; a node that has not read it all cannot speak for it.
        """
        if not own.caught_up:
            return False
        roster = self._receipts.roster(self._region, now_ns)
        if self._node not in roster or roster[0] == self._node:
            # Not even its own report arrives: it cannot know who else would write.
            return True
        quiet_ns = now_ns - max(own.marker_ns, self._began_ns)
        return quiet_ns > _SILENCE_NS * roster.index(self._node)

    def compose(self, own: OriginTracker, adopted: tuple[str, ...] = ()) -> bytes:
        """Return the marker of now, shortened by echoes until it fits.

        adopted: Regions that this one speaks for.
        """
        now_ns = self._clock.boot_ns()
        echoes = self._receipts.echoes(now_ns)
        wall = self._clock.wall_s()
        marks = own.marks(int(wall))
        while True:
            marker = Marker(
                origin=self._region,
                writer=self._node,
                boot=self._boot,
                # Read after the nonces were taken, before it is sent.
                as_of=self._clock.boot_ns(),
                wall=wall,
                marks=marks,
                echo=echoes,
                max_token_lifetime=self.max_token_lifetime_s,
                roster=self._receipts.roster(self._region, now_ns)[:64],
                adopted=adopted,
                hash_key=self._hash_key,
                agreed=self._agreed(),
            )
            try:
                return encode_marker(marker)
            except ValueError:
                if not echoes:
                    raise
                echoes = dict(list(echoes.items())[: len(echoes) // 2])
