"""Process faults: agents, workers and nodes killed and stopped; journals lost.

Owns:      nothing; each puts back what it changed.
Called by: window.faults.
Source:    REVOCATION.md section 6; THREATS.md section 8, F9 and F11.
"""

import asyncio
import random
import signal
from collections.abc import Mapping
from typing import Final

from fastgate_bench.window.rig import Fault, Rig, copy_folder

__all__ = ["PROCESS_FAULTS"]


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
    await asyncio.to_thread(copy_folder, old, rig.nodes[node].state)
    await rig.nodes[node].start()


async def _cloned_state(rig: Rig, node: str, for_s: float) -> None:
    source = rig.nodes["eu-1" if node != "eu-1" else "eu-2"]
    await rig.nodes[node].stop()
    await asyncio.to_thread(source.copy_state, rig.nodes[node].state)
    await rig.nodes[node].start()
    await asyncio.sleep(for_s)


PROCESS_FAULTS: Final[Mapping[str, tuple[str, Fault]]] = {
    "agent-killed": ("node", _killed("agent")),
    "agent-stopped": ("node", _stopped("agent")),
    "worker-killed": ("node", _killed("worker")),
    "worker-stopped": ("node", _stopped("worker")),
    "worker-stuttering": ("node", _stuttering_worker),
    "node-killed": ("node", _killed_node),
    "state-wiped": ("node", _wiped_state),
    "state-restored": ("node", _restored_state),
    "state-cloned": ("node", _cloned_state),
}
