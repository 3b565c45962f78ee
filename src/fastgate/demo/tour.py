"""Tour: walk through what fastgate is for, and say of each step whether it holds.

Owns:      the order of the steps, the one way a step fails, and the report.
Called by: cli.demo.

A step is a function in one of the `steps_*` modules: it returns what it has seen in one
line, and raises StepError with what it saw in place of what should be.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from fastgate.demo.regions import Regions
from fastgate.demo.scene import Scene, StepError
from fastgate.demo.steps_faults import agent_down, bus_cut
from fastgate.demo.steps_keys import key_rotation, kid_flood
from fastgate.demo.steps_live import forced_logout, window
from fastgate.demo.steps_messages import first_visit, front_channel, oauth_messages
from fastgate.demo.steps_sessions import logout_everywhere
from fastgate.demo.steps_tokens import phantom, refusals, traveller
from fastgate.demo.visitor import Visitor
from fastgate.demo.world import REGIONS
from fastgate.errors import FastgateError

__all__ = ["STEPS", "Outcome", "report", "steps_of", "walk"]

_log = logging.getLogger(__name__)

Step = Callable[[Scene], Awaitable[str]]

# Source: REQUIREMENTS.md part 4 for the names. The order is that of a visit: who comes,
# how they sign in, what they do, how it ends; then keys, then what breaks.
STEPS: Final[dict[str, Step]] = {
    "first-visit": first_visit,
    "front-channel": front_channel,
    "traveller": traveller,
    "phantom": phantom,
    "oauth-messages": oauth_messages,
    "refusals": refusals,
    "logout-everywhere": logout_everywhere,
    "forced-logout": forced_logout,
    "key-rotation": key_rotation,
    "kid-flood": kid_flood,
    "agent-down": agent_down,
    "bus-cut": bus_cut,
    "window": window,
}
_NEED_BUS: Final = frozenset({"bus-cut"})
# Reason: the longest step waits for a contract to run out, and for a link to heal.
_STEP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step. ms: How long it took."""

    name: str
    ok: bool
    detail: str
    ms: float


def steps_of(bus: str) -> list[str]:
    """Return the steps that can be shown with a bus, "nats" or "local"."""
    return [name for name in STEPS if bus == "nats" or name not in _NEED_BUS]


async def walk(regions: Regions, names: Sequence[str]) -> AsyncIterator[Outcome]:
    """Yield the outcome of each step as it ends; a failed one stops nobody."""
    async with Visitor() as visitor:
        scene = Scene(regions, visitor)
        for name in names:
            began = time.perf_counter()
            ok, detail = await _outcome(STEPS[name], scene)
            ms = (time.perf_counter() - began) * 1e3
            yield Outcome(name, ok, detail, round(ms, 1))


async def _outcome(step: Step, scene: Scene) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(_STEP_S):
            return True, await step(scene)
    except TimeoutError:
        return False, f"no end after {_STEP_S:g} s"
    except Exception as error:  # noqa: BLE001
        # The last border of a step: whatever goes wrong in one, the others are taken.
        return False, _what_went_wrong(error)


def _what_went_wrong(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):  # of a step's own tasks: the first counts
        error = error.exceptions[0]
    if isinstance(error, StepError):
        return str(error)
    if isinstance(error, FastgateError):
        return f"{type(error).__name__}: {error}"
    _log.error("a step of the tour broke", exc_info=error)
    return f"broke: {type(error).__name__}: {error}"


def report(outcomes: Sequence[Outcome], bus: str) -> dict[str, Any]:
    """Return the document that `fastgate demo --headless --json` prints."""
    return {
        "ok": bool(outcomes) and all(outcome.ok for outcome in outcomes),
        "steps": [asdict(outcome) for outcome in outcomes],
        "regions": list(REGIONS),
        "bus": bus,
    }
