"""Setting faults: clocks that are wrong or stepped, hash keys, lifetimes of tokens.

Owns:      nothing; each puts back what it changed.
Called by: window.faults.
Source:    REVOCATION.md sections 3 and 6; THREATS.md section 8, F8, F31; docs/feed.md.
"""

import asyncio
import pathlib
from collections.abc import Mapping
from typing import Final

from fastgate_bench.window.node import HASH_KEY, MAX_TOKEN_LIFETIME, NODES
from fastgate_bench.window.rig import Fault, Rig

__all__ = ["FAKETIME", "SETTING_FAULTS"]

# Where Debian's package `faketime` puts it, by architecture.
FAKETIME: Final = next(
    pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None
)
_FAKED: Final = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
_STEPS: Final = ("+5", "-5", "+3", "+0")
_OTHER_KEY: Final = "q" * 32
_NEXT_KEY: Final = "n" * 32
_LONGER: Final = "2h"
_STEP_HEALS_S: Final = 15.0
# Halves of the rig, so that each region but one keeps serving.
_HALVES: Final = (("eu-1", "us-1"), ("eu-2", "ap-1"))


def _other_clock(offset: str) -> Fault:
    async def fault(rig: Rig, node: str, for_s: float) -> None:
        await rig.nodes[node].stop()
        await rig.nodes[node].start(
            _FAKED | {"FAKETIME": offset, "FAKETIME_NO_CACHE": "1"}
        )
        await asyncio.sleep(for_s + 4.0)
        await rig.nodes[node].stop()
        await rig.nodes[node].start()

    return fault


async def _other_hash_key(rig: Rig, node: str, for_s: float) -> None:
    # What it took under that key and never published, it cannot publish under the right
    # one: its operator lets that go, of which no client was told that it is published.
    await rig.nodes[node].stop()
    await rig.nodes[node].start({"FASTGATE_REVOCATION__HASH_KEY": _OTHER_KEY})
    await asyncio.sleep(for_s + 4.0)
    await rig.nodes[node].stop()
    rig.nodes[node].wipe_state()
    await rig.nodes[node].start()


async def _stepped_clock(rig: Rig, node: str, for_s: float) -> None:
    # The wall clock of a running node jumps to and fro; what was written is read again
    # within a second of each process's own.
    offset = rig.folder / f"clock-{node}"
    _write(offset, "+0")
    own = {"FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_CACHE_DURATION": "1"}
    await rig.nodes[node].stop()
    await rig.nodes[node].start(_FAKED | own)
    await rig.until_healed(_STEP_HEALS_S)
    for step in _STEPS:
        _write(offset, step)
        await asyncio.sleep(for_s / len(_STEPS) + 1.0)
    await rig.nodes[node].stop()
    await rig.nodes[node].start()


def _write(path: pathlib.Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(f"{text}\n", "ascii")
    part.replace(path)


async def _rotated_hash_key(rig: Rig, _: str, for_s: float) -> None:
    # As docs/feed.md says: known everywhere first, and only then used.
    del for_s  # it takes as long as it takes
    old = rig.hash_key
    new = _NEXT_KEY if old == HASH_KEY else HASH_KEY
    for key, other in ((old, new), (new, old)):
        for half in _HALVES:
            for name in half:
                rig.nodes[name].configure(hash_key=key, old_hash_keys=[other])
                await rig.nodes[name].stop()
                await rig.nodes[name].start()
            await rig.until_healed(_STEP_HEALS_S)
    rig.hash_key = new


async def _raised_lifetime(rig: Rig, _: str, for_s: float) -> None:
    await _reload_all(rig, _LONGER)
    await asyncio.sleep(for_s)
    await _reload_all(rig, MAX_TOKEN_LIFETIME)


async def _reload_all(rig: Rig, lifetime: str) -> None:
    for name in NODES:
        rig.nodes[name].configure(max_token_lifetime=lifetime)
        await rig.reload(name)


async def _unequal_lifetime(rig: Rig, node: str, for_s: float) -> None:
    await rig.nodes[node].stop()
    await rig.nodes[node].start({"FASTGATE_REVOCATION__MAX_TOKEN_LIFETIME": _LONGER})
    await asyncio.sleep(for_s + 4.0)
    await rig.nodes[node].stop()
    await rig.nodes[node].start()


_CLOCK_FAULTS: Final[Mapping[str, tuple[str, Fault]]] = {
    "clock+3s": ("node", _other_clock("+3")),
    "clock+5s": ("node", _other_clock("+5")),
    "clock-5s": ("node", _other_clock("-5")),
    "clock-stepped": ("node", _stepped_clock),
}

SETTING_FAULTS: Final[Mapping[str, tuple[str, Fault]]] = {
    "hash-key-unequal": ("node", _other_hash_key),
    "hash-key-rotated": ("nodes", _rotated_hash_key),
    "lifetime-raised": ("nodes", _raised_lifetime),
    "lifetime-unequal": ("node", _unequal_lifetime),
    **({} if FAKETIME is None else _CLOCK_FAULTS),
}
