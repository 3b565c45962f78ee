"""Options: what a caller may choose of a run.

Owns:      the defaults, and the quick forms of every bench.
Called by: suite and every bench.
"""

import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Options", "Tell"]

# Told of each step: its name, and the share of the whole that is done.
Tell = Callable[[str, float], None]

_FULL_S: Final = 5.0
_QUICK_S: Final = 0.5
_FULL_ROUNDS: Final = 5
_QUICK_ROUNDS: Final = 1


@dataclass(frozen=True, slots=True)
class Options:
    """One run.

    quick: Small enough to see that everything works; its figures mean little.
    target: URL to measure in place of a gateway of our own (relay).
    token_file: Bearer tokens for it, one a line. statuses: What it may answer.
    rate: Requests a second; 0: half of the maximum that is found first.
    seconds, rounds: Of each measurement; 0: as `quick` says.
    connections: Open at a time; 0: as the bench finds right.
    churn: Requests on each connection; 0: kept open.
    access_log: With access logs on, in every gateway.
    seed: Of what is drawn by chance (window); 0: another each time, which is printed.
    first: Number of the first round, to run one again. keep: Folder for logs; unset:
        they go with the run.
    """

    quick: bool = False
    target: str = ""
    token_file: pathlib.Path | None = None
    statuses: tuple[int, ...] = (200,)
    rate: float = 0.0
    seconds: float = 0.0
    rounds: int = 0
    connections: int = 0
    churn: int = 0
    access_log: bool = False
    seed: int = 0
    first: int = 0
    keep: pathlib.Path | None = None

    @property
    def length_s(self) -> float:
        """Seconds of one measurement."""
        return self.seconds or (_QUICK_S if self.quick else _FULL_S)

    @property
    def round_count(self) -> int:
        """How often each measurement is made."""
        return self.rounds or (_QUICK_ROUNDS if self.quick else _FULL_ROUNDS)
