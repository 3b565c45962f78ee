"""Faults: what is done to the rig, each from a beginning to its healing.

Owns:      which of them a round meets, and what they are done to.
Called by: window.rounds draws some of them for every round.
Source:    REVOCATION.md section 6; docs/bench.md has the list beside it.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastgate_bench.window.link_faults import LINK_FAULTS
from fastgate_bench.window.node import NODES, REGIONS
from fastgate_bench.window.process_faults import PROCESS_FAULTS
from fastgate_bench.window.rig import Fault, Rig
from fastgate_bench.window.setting_faults import FAKETIME, SETTING_FAULTS
from fastgate_bench.window.stream_faults import STREAM_FAULTS

__all__ = ["FAKETIME", "FAULTS", "Planned", "places", "plan"]

# Name to what it is done to, and how.
FAULTS: Final[Mapping[str, tuple[str, Fault]]] = {
    **LINK_FAULTS,
    **PROCESS_FAULTS,
    **STREAM_FAULTS,
    **SETTING_FAULTS,
}
_TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "node": tuple(NODES),
    "nodes": ("all",),
    # With another publisher in its region, which stays where it is.
    "publisher": tuple(name for name, region in NODES.items() if region == "eu"),
    "region": REGIONS,
    "bus": (*REGIONS, "transit"),
    "bus-region": REGIONS,
    "burst": REGIONS,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault of one round."""

    name: str
    target: str
    after_s: float
    for_s: float

    def __str__(self) -> str:
        return f"{self.name}({self.target}) {self.for_s:.1f}s"

    async def happen(self, rig: Rig) -> None:
        """Disturb and heal."""
        await asyncio.sleep(self.after_s)
        await FAULTS[self.name][1](rig, self.target, self.for_s)


def places(kind: str, target: str) -> frozenset[str]:
    """Return what a fault takes for itself, so that no two restart one thing."""
    match kind:
        case "nodes":
            return frozenset(f"node {name}" for name in NODES)
        case "publisher":
            return frozenset({f"node {target}", f"bus {NODES[target]}"})
        case "bus-region":
            return frozenset({f"bus {target}"})
    return frozenset({f"{kind} {target}"})


def plan(number: int, chance: random.Random) -> list[Planned]:
    """Return the faults of a round: each kind comes up, no target has two at once."""
    names = list(FAULTS)
    chosen = [names[number % len(names)]]
    chosen += chance.sample(names, chance.choice((0, 1, 1, 2)))
    taken: set[str] = set()
    found = []
    for name in chosen:
        kind = FAULTS[name][0]
        target = chance.choice(_TARGETS[kind])
        needs = places(kind, target)
        if needs & taken:
            continue
        taken |= needs
        found.append(
            Planned(name, target, chance.uniform(0.0, 2.0), chance.uniform(1.0, 13.0))
        )
    return found
