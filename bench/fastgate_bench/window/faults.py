"""Faults: what is done to the rig, each from a beginning to its healing.

Owns:      nothing; each fault puts back what it changed.
Called by: window.rounds draws some of them for every round.
Source:    REVOCATION.md section 6; THREATS.md section 8, F3-F5, F8, F9, F11, F33.
"""

import asyncio
import pathlib
import random
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastgate_bench.window.rig import NODES, REGIONS, Rig

__all__ = ["FAKETIME", "FAULTS", "Planned", "plan"]

# Where Debian's package `faketime` puts it, by architecture.
FAKETIME: Final = next(
    pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None
)
_DELAY_S: Final = 12.0
_OTHER_KEY: Final = "q" * 32

Fault = Callable[[Rig, str, float], Awaitable[None]]


async def _held_link(rig: Rig, region: str, for_s: float) -> None:
    rig.links[region].hold()
    await asyncio.sleep(for_s)
    rig.links[region].heal()


async def _one_way_out(rig: Rig, region: str, for_s: float) -> None:
    rig.links[region].hold(down=False)
    await asyncio.sleep(for_s)
    rig.links[region].heal()


async def _one_way_in(rig: Rig, region: str, for_s: float) -> None:
    rig.links[region].hold(up=False)
    await asyncio.sleep(for_s)
    rig.links[region].heal()


async def _flapping(rig: Rig, region: str, for_s: float) -> None:
    for _ in range(6):
        await rig.links[region].reset()
        await asyncio.sleep(for_s / 12)
        rig.links[region].heal()
        await asyncio.sleep(for_s / 12)


async def _reset_link(rig: Rig, region: str, for_s: float) -> None:
    await rig.links[region].reset()
    await asyncio.sleep(for_s)
    rig.links[region].heal()


async def _delayed_evenly(rig: Rig, region: str, for_s: float) -> None:
    rig.links[region].slow(_DELAY_S)
    await asyncio.sleep(for_s)
    rig.links[region].heal()


async def _isolated_node(rig: Rig, node: str, for_s: float) -> None:
    rig.nodes[node].bus.hold()
    await asyncio.sleep(for_s)
    rig.nodes[node].bus.heal()


async def _deaf_node(rig: Rig, node: str, for_s: float) -> None:
    rig.nodes[node].bus.hold(up=False)
    await asyncio.sleep(for_s)
    rig.nodes[node].bus.heal()


async def _mute_node(rig: Rig, node: str, for_s: float) -> None:
    rig.nodes[node].bus.hold(down=False)
    await asyncio.sleep(for_s)
    rig.nodes[node].bus.heal()


def _killed(role: str) -> Fault:
    async def fault(rig: Rig, node: str, for_s: float) -> None:
        for _ in range(1 + int(for_s) // 4):
            rig.nodes[node].send(role, signal.SIGKILL)
            await asyncio.sleep(4.0)

    return fault


def _stopped(role: str) -> Fault:
    async def fault(rig: Rig, node: str, for_s: float) -> None:
        rig.nodes[node].send(role, signal.SIGSTOP)
        await asyncio.sleep(for_s)
        rig.nodes[node].go_on()

    return fault


async def _stuttering_worker(rig: Rig, node: str, for_s: float) -> None:
    # Stops at many instants, so at some between a decision and its write.
    chance = random.Random(node)
    loop = asyncio.get_running_loop()
    until = loop.time() + for_s
    while loop.time() < until:
        rig.nodes[node].send("worker", signal.SIGSTOP)
        await asyncio.sleep(chance.uniform(0.2, 2.0))
        rig.nodes[node].go_on()
        await asyncio.sleep(chance.uniform(0.01, 0.3))


async def _killed_bus(rig: Rig, name: str, for_s: float) -> None:
    rig.buses[name].send(signal.SIGKILL)
    await asyncio.sleep(for_s)
    await rig.buses[name].stop()
    await rig.buses[name].start()


async def _stopped_bus(rig: Rig, name: str, for_s: float) -> None:
    rig.buses[name].send(signal.SIGSTOP)
    await asyncio.sleep(for_s)
    rig.buses[name].send(signal.SIGCONT)


async def _wiped_stream(rig: Rig, region: str, for_s: float) -> None:
    bus = rig.buses[region]
    bus.send(signal.SIGKILL)
    await bus.stop()
    bus.wipe()
    await asyncio.sleep(for_s / 4)
    await bus.start()


async def _restored_stream(rig: Rig, region: str, for_s: float) -> None:
    # Acknowledged messages are lost: the server comes back as it was a while ago.
    bus = rig.buses[region]
    kept = rig.folder / f"stream-{region}"
    bus.send(signal.SIGSTOP)
    await asyncio.to_thread(_copy, bus.store, kept)
    bus.send(signal.SIGCONT)
    await asyncio.sleep(for_s)
    bus.send(signal.SIGKILL)
    await bus.stop()
    await asyncio.to_thread(_copy, kept, bus.store)
    await bus.start()


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)


async def _killed_node(rig: Rig, node: str, for_s: float) -> None:
    await rig.nodes[node].stop()
    await asyncio.sleep(for_s)
    await rig.nodes[node].start()


async def _wiped_state(rig: Rig, node: str, for_s: float) -> None:
    await rig.nodes[node].stop()
    rig.nodes[node].wipe_state()
    await asyncio.sleep(for_s / 4)
    await rig.nodes[node].start()


async def _restored_state(rig: Rig, node: str, for_s: float) -> None:
    old = rig.folder / f"state-{node}"
    await asyncio.to_thread(rig.nodes[node].copy_state, old)
    await asyncio.sleep(for_s)
    await rig.nodes[node].stop()
    await asyncio.to_thread(_copy, old, rig.nodes[node].state)
    await rig.nodes[node].start()


async def _cloned_state(rig: Rig, node: str, for_s: float) -> None:
    source = rig.nodes["eu-1" if node != "eu-1" else "eu-2"]
    await rig.nodes[node].stop()
    await asyncio.to_thread(source.copy_state, rig.nodes[node].state)
    await rig.nodes[node].start()
    await asyncio.sleep(for_s)


def _other_clock(offset: str) -> Fault:
    async def fault(rig: Rig, node: str, for_s: float) -> None:
        await rig.nodes[node].stop()
        await rig.nodes[node].start(
            {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME": offset,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_NO_CACHE": "1",
            }
        )
        await asyncio.sleep(for_s + 4.0)
        await rig.nodes[node].stop()
        await rig.nodes[node].start()

    return fault


async def _other_hash_key(rig: Rig, node: str, for_s: float) -> None:
    await rig.nodes[node].stop()
    await rig.nodes[node].start({"FASTGATE_REVOCATION__HASH_KEY": _OTHER_KEY})
    await asyncio.sleep(for_s + 4.0)
    await rig.nodes[node].stop()
    await rig.nodes[node].start()


# Name to what it is done to, and how.
FAULTS: Final[dict[str, tuple[str, Fault]]] = {
    "link-cut": ("region", _held_link),
    "link-reset": ("region", _reset_link),
    "link-flapping": ("region", _flapping),
    "link-one-way-out": ("region", _one_way_out),
    "link-one-way-in": ("region", _one_way_in),
    "link-delayed-12s": ("region", _delayed_evenly),
    "node-isolated": ("node", _isolated_node),
    "node-deaf": ("node", _deaf_node),
    "node-mute": ("node", _mute_node),
    "agent-killed": ("node", _killed("agent")),
    "agent-stopped": ("node", _stopped("agent")),
    "worker-killed": ("node", _killed("worker")),
    "worker-stopped": ("node", _stopped("worker")),
    "worker-stuttering": ("node", _stuttering_worker),
    "bus-killed": ("bus", _killed_bus),
    "bus-stopped": ("bus", _stopped_bus),
    "stream-wiped": ("bus-region", _wiped_stream),
    "stream-restored": ("bus-region", _restored_stream),
    "node-killed": ("node", _killed_node),
    "state-wiped": ("node", _wiped_state),
    "state-restored": ("node", _restored_state),
    "state-cloned": ("node", _cloned_state),
    "hash-key-unequal": ("node", _other_hash_key),
    **(
        {
            "clock+3s": ("node", _other_clock("+3")),
            "clock+5s": ("node", _other_clock("+5")),
            "clock-5s": ("node", _other_clock("-5")),
        }
        if FAKETIME is not None
        else {}
    ),
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


def plan(number: int, chance: random.Random) -> list[Planned]:
    """Return the faults of a round: each kind comes up, no target has two at once."""
    names = list(FAULTS)
    chosen = [names[number % len(names)]]
    chosen += chance.sample(names, chance.choice((0, 1, 1, 2)))
    taken: set[str] = set()
    found = []
    for name in chosen:
        kind = FAULTS[name][0]
        targets = {
            "node": list(NODES),
            "region": list(REGIONS),
            "bus-region": list(REGIONS),
            "bus": [*REGIONS, "transit"],
        }[kind]
        target = chance.choice(targets)
        place = f"{kind.partition('-')[0]} {target}"
        if place in taken:
            continue
        taken.add(place)
        found.append(
            Planned(name, target, chance.uniform(0.0, 2.0), chance.uniform(1.0, 13.0))
        )
    return found
