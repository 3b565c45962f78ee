"""Lifts: which events undo an event that somebody names.

Owns:      the rule who may lift what, and what follows from one event.
Called by: control.entries, once a lift.
Source:    REVOCATION.md section 3: a lift names an id, counts only from the origin of
           that id, and has the same expiry.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fastgate.control.enforcement import Enforcement, Known
from fastgate.domain.entry import EntryError, followed_by
from fastgate.domain.event import Event, lift_id
from fastgate.errors import ControlError

__all__ = ["LiftPlan", "lift_of", "plan_lift"]


@dataclass(frozen=True, slots=True)
class LiftPlan:
    """What lifts an event of this region's.

    id: Of the first lift, which stands for all. origin: Whose event it is.
    events: To be published; none where all of it is lifted already.
    elsewhere: Regions that have published the same event as theirs.
    """

    id: str
    origin: str
    events: tuple[Event, ...]
    elsewhere: tuple[str, ...]


async def plan_lift(
    id_: str,
    enforcement: Enforcement,
    speaks_for: Collection[str],
    *,
    now: float,
    reason: str,
) -> LiftPlan | None:
    """Return what lifts an event; None where no live one of that id is known here.

    now: Wall time, seconds. reason: Travels with the lift.
    Raises EntryError where the event is another region's, ControlError where the index
    has no entry of it.
    """
    found = await enforcement.find(id_)
    if not found:
        return None
    own = [known for known in found if known.origin in speaks_for]
    elsewhere = tuple(
        sorted({known.origin for known in found if known.origin not in speaks_for})
    )
    if not own:
        regions = ", ".join(elsewhere) or "no region of this configuration"
        raise EntryError("id", f"is an event of {regions}: it is lifted there")
    events: list[Event] = []
    for known in own:
        if known.key is None:
            if known.lifted:
                continue
            raise ControlError("the index has no entry of that event")
        events += [
            lift_of(each, known.key, now, reason)
            for each in _family(known, enforcement.about(known.key))
            if not each.lifted
        ]
    return LiftPlan(
        lift_id(own[0].origin, id_), own[0].origin, tuple(events), elsewhere
    )


def _family(first: Known, others: Iterable[Known]) -> list[Known]:
    # Lengthened and renewed events are the same revocation under a name that follows
    # from the one before: lifting the first without them would lift nothing.
    left = [known for known in others if known.origin == first.origin]
    family = [first]
    for member in family:
        heirs = [
            known
            for known in left
            if member.id is not None
            and known.id == followed_by(member.id, known.expires)
        ]
        family += [known for known in heirs if known not in family]
    return family


def lift_of(known: Known, key: bytes, now: float, reason: str) -> Event:
    """Return the lift of an event; the same id, whoever makes it."""
    return Event(
        id=lift_id(known.origin, known.id or ""),
        origin=known.origin,
        at=round(now, 3),
        kind=known.kind,
        key=key,
        key_id=known.key_id,
        expires=known.expires,
        reason=reason,
        lifts=known.id or "",
    )
