"""Stream faults: servers killed and stopped; streams lost, restored, in two; a burst.

Owns:      nothing; each puts back what it changed.
Called by: window.faults.
Source:    REVOCATION.md section 6; THREATS.md section 8, F3, F5 and F30.
"""

import asyncio
import signal
from collections.abc import Mapping
from typing import Final

from fastgate_bench.window.bursts import burst
from fastgate_bench.window.rig import Fault, Rig, copy_folder

__all__ = ["STREAM_FAULTS"]


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
    await asyncio.to_thread(copy_folder, bus.store, kept)
    bus.send(signal.SIGCONT)
    await asyncio.sleep(for_s)
    bus.send(signal.SIGKILL)
    await bus.stop()
    await asyncio.to_thread(copy_folder, kept, bus.store)
    await bus.start()


async def _two_streams_in_turn(rig: Rig, region: str, for_s: float) -> None:
    # An empty one takes over under the same name; then the first is there again, and
    # what the other has acknowledged is not in it.
    bus = rig.buses[region]
    first = rig.folder / f"first-{region}"
    bus.send(signal.SIGKILL)
    await bus.stop()
    await asyncio.to_thread(copy_folder, bus.store, first)
    bus.wipe()
    await bus.start()
    await asyncio.sleep(for_s)
    bus.send(signal.SIGKILL)
    await bus.stop()
    await asyncio.to_thread(copy_folder, first, bus.store)
    await bus.start()


async def _two_streams_at_once(rig: Rig, node: str, for_s: float) -> None:
    # One of two publishers is led to another server of the same region and domain.
    link = rig.nodes[node].bus
    other = await rig.second_bus(rig.nodes[node].region)
    try:
        await link.turn(other.port)
        await asyncio.sleep(for_s)
    finally:
        await link.turn(rig.buses[rig.nodes[node].region].port)
        await other.stop()


STREAM_FAULTS: Final[Mapping[str, tuple[str, Fault]]] = {
    "bus-killed": ("bus", _killed_bus),
    "bus-stopped": ("bus", _stopped_bus),
    "stream-wiped": ("bus-region", _wiped_stream),
    "stream-restored": ("bus-region", _restored_stream),
    "stream-replaced": ("bus-region", _two_streams_in_turn),
    "stream-split": ("publisher", _two_streams_at_once),
    "burst-10000": ("burst", burst),
}
