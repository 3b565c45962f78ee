"""Changed users: whose claims an issuer has changed since it was asked about a token.

Owns:      when each change was told, for as long as an older answer may be kept.
Called by: control.introspection, one object per worker.
Source:    CAEP 1.0 section 3.2 (token-claims-change); PROTOCOLS.md section 7.

Nothing is searched for and nothing removed: an answer that is older than the change is
not used any more, and ends by itself (DESIGN.md section 5).
"""

from collections import OrderedDict

from fastgate.control.introspection_answer import MOST_ACTIVE_S
from fastgate.domain.introspection import IntrospectionAnswer

__all__ = ["ChangedUsers"]

_LIFE_NS = int(MOST_ACTIVE_S * 1_000_000_000)
# Reason: more in a minute than a transmitter sends; past it, answers about everybody
# that are older than the change that is forgotten are asked for again.
_MAX_USERS = 4_096


class ChangedUsers:
    """The users of one worker's answers that are others by now."""

    __slots__ = ("_all_ns", "_since_ns")

    def __init__(self) -> None:
        self._since_ns: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._all_ns = 0

    def add(self, alias: str, subject: str, boot_ns: int) -> None:
        """Note a change, told at this time."""
        self._since_ns[alias, subject] = boot_ns
        self._since_ns.move_to_end((alias, subject))
        while next(iter(self._since_ns.values())) < boot_ns - _LIFE_NS:
            self._since_ns.popitem(last=False)
        if len(self._since_ns) > _MAX_USERS:
            self._all_ns = self._since_ns.popitem(last=False)[1]

    def outdates(self, alias: str, answer: IntrospectionAnswer) -> bool:
        """Tell whether an answer was asked for before its user's claims changed."""
        if not self._since_ns:
            return False
        since_ns = self._since_ns.get((alias, answer.subject), self._all_ns)
        return since_ns > 0 and answer.asked_boot_ns <= since_ns
