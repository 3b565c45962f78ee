"""Link faults: cut, reset, flapping, one-way, late; messages doubled and reordered.

Owns:      nothing; each puts back what it changed.
Called by: window.faults.
Source:    REVOCATION.md section 6; THREATS.md section 8, F4 and F6.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from fastgate_bench.window.rig import Fault, Rig

__all__ = ["LINK_FAULTS"]

_DELAY_S: Final = 12.0


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


async def _mixed_messages(rig: Rig, node: str, for_s: float) -> None:
    link = rig.nodes[node].bus
    await link.mix(random.Random(node))
    await asyncio.sleep(for_s)
    link.heal()


LINK_FAULTS: Final[Mapping[str, tuple[str, Fault]]] = {
    "link-cut": ("region", _held_link),
    "link-reset": ("region", _reset_link),
    "link-flapping": ("region", _flapping),
    "link-one-way-out": ("region", _one_way_out),
    "link-one-way-in": ("region", _one_way_in),
    "link-delayed-12s": ("region", _delayed_evenly),
    "node-isolated": ("node", _isolated_node),
    "node-deaf": ("node", _deaf_node),
    "node-mute": ("node", _mute_node),
    "messages-mixed": ("node", _mixed_messages),
}
