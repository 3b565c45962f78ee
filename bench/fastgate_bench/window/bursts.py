"""Bursts: 10,000 events a second from a publisher that comes and goes.

Owns:      the publisher's process, and the file that it tells of its events in.
Called by: window.stream_faults.

A fraction of the events is handed to the load as if a client had entered it, the moment
it is told: those tokens are asked for everywhere.
"""

import asyncio
import pathlib
import sys
from typing import Final

import orjson

from fastgate.demo.children import Child
from fastgate_bench.window.node import NODES, REGIONS
from fastgate_bench.window.rig import Rig

__all__ = ["burst"]

_RATE: Final = 10_000
_MOST_S: Final = 4.0
_ONE_IN: Final = 100
_LOOK_S: Final = 0.05
_LIMIT_S: Final = 60.0
_MODULE: Final = "fastgate_bench.window.publisher"


async def burst(rig: Rig, region: str, for_s: float) -> None:
    """Publish 10,000 events a second in a region, for at most 4 s.

    Raises StartError where the publisher did not come to its end.
    """
    rig.bursts += 1
    name = f"burst-{rig.bursts}"
    folder = rig.folder / name
    await asyncio.to_thread(folder.mkdir)
    told = folder / "told.log"
    told.touch()
    near = next(node for node in rig.nodes.values() if node.region == region)
    job = {
        "region": region,
        # By name behind the region's own, so that markers are theirs.
        "node": f"{region}-{len(NODES) + rig.bursts}",
        "origins": REGIONS,
        "port": near.bus_port,
        "folder": str(folder),
        "hash_key": rig.hash_key,
        "name": f"{name}-",
        "rate": _RATE,
        "seconds": min(for_s, _MOST_S),
        "one_in": _ONE_IN,
        "told": str(told),
    }
    argv = (sys.executable, "-m", _MODULE, orjson.dumps(job).decode())
    child = Child(name, argv, folder / "publisher.log")
    await child.start()
    try:
        async with asyncio.timeout(_LIMIT_S):
            await _pass_on(rig, region, told, child)
    except TimeoutError:
        raise child.failure(f"not over after {_LIMIT_S:g} s") from None
    finally:
        await child.stop()


async def _pass_on(rig: Rig, region: str, told: pathlib.Path, child: Child) -> None:
    part = b""
    with told.open("rb") as file:
        while True:
            # Asked before the file is read: what it wrote last is not overlooked.
            over = child.ended
            *lines, part = (part + file.read()).split(b"\n")
            for text in lines:
                line = orjson.loads(text)
                if "rate" in line:
                    rig.remarks.append(_remark(line))
                    return
                rig.publish(line["id"], line["event"], region, line["told"])
            if over:
                raise child.failure("ended before its burst")
            await asyncio.sleep(_LOOK_S)


def _remark(line: dict[str, float]) -> str:
    count, rate = line["published"], line["rate"]
    return f"burst of {count:.0f} events, {rate:.0f} a second"
