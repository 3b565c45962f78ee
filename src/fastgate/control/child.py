"""Child: the present process of one role, and when its successor may start.

Owns:      what is known of one process: its pid, its signs of life, its early deaths.
           Pure: no clock and no system call; `now_s` is an argument.
Called by: control.supervisor, one object per role for the life of the node.
"""

import math
from dataclasses import dataclass
from typing import Final

from fastgate.control.process import Role

__all__ = ["AGENT", "Child"]

AGENT: Final = "agent"

# Reason: a process that worked this long is replaced at once, also the tenth time: its
# successor serves again, and that is better than any pause.
_YOUNG_S: Final = 1.0
_BACKOFF_FIRST_S: Final = 0.25
_BACKOFF_MAX_S: Final = 4.0
_UP_AFTER_S: Final = 1.0  # where a role has no heartbeat, this age counts as up


@dataclass(slots=True, eq=False)
class Child:
    """The present process of a role, or the pause before its successor.

    pid: 0 where there is none. due_s: When to start. kill_at_s: When patience ends.
    beat: Last heartbeat seen. silent_s: How long it was watched without a change.
    up: It gave a sign of life. leaving: Its end was asked for.
    young_deaths: Early ends in a row.
    """

    role: Role
    pid: int = 0
    started_s: float = 0.0
    due_s: float = 0.0
    kill_at_s: float = math.inf
    young_deaths: int = 0
    beat: int | None = None
    silent_s: float = 0.0
    up: bool = False
    leaving: bool = False

    @property
    def is_agent(self) -> bool:
        """True for the one writer of shared state, which ends last."""
        return self.role.name == AGENT

    def begin(self, now_s: float, beat: int | None) -> None:
        """Be a new process; `beat` is what its predecessor left."""
        self.started_s = now_s
        self.kill_at_s = math.inf
        self.beat = beat
        self.silent_s = 0.0
        self.up = self.leaving = False

    def hear(self, beat: int | None, now_s: float, lap_s: float) -> bool:
        """Take note of a heartbeat; True where the process came up by it.

        lap_s: Time for which its silence counts.
        """
        before = self.up
        if beat is None:
            self.up = before or now_s - self.started_s >= _UP_AFTER_S
        elif beat != self.beat:
            self.beat = beat
            self.silent_s = 0.0
            self.up = True
        else:
            self.silent_s += lap_s
        return self.up and not before

    def end(self, now_s: float) -> float:
        """Have ended unasked; returns the pause before a successor, seconds.

        The first early death costs no pause; each further one doubles it, to a bound.
        """
        young = not self.up or now_s - self.started_s < _YOUNG_S
        self.up = False
        self.young_deaths = self.young_deaths + 1 if young else 0
        pause_s = 0.0
        if self.young_deaths > 1:
            # The exponent is bounded because the deaths are not.
            doublings = min(self.young_deaths - 2, 10)
            pause_s = min(_BACKOFF_FIRST_S * 2.0**doublings, _BACKOFF_MAX_S)
        self.due_s = now_s + pause_s
        return pause_s
