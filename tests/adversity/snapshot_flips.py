"""Cut and flip saved states on the bus: `python -m tests.adversity.snapshot_flips`.

A small state of two chunks lies on a shelf as a server would return it. Every length of
its card and of its chunks is tried, then `--flips` single bits at random (THREATS.md
F14): none of it may be taken, and nothing but a refusal may come of it.
"""

import argparse
import asyncio
import logging
import random
import sys
import time
from collections.abc import AsyncIterator

from tests.feed_fakes import BootClock
from tests.shelf_fake import FakeShelf, states

from fastgate.control import shared_snapshots
from fastgate.errors import ControlError

_CHUNK_BYTES = 600
_CONTENT = random.Random(9).randbytes(_CHUNK_BYTES + 200)


async def _parts() -> AsyncIterator[bytes]:
    yield _CONTENT


class Shaken:
    """A shelf on which one blob is changed for one load."""

    def __init__(self) -> None:
        self.shelf = FakeShelf()
        self.reader = states(self.shelf, BootClock())
        self.tried = self.taken = 0

    async def leave(self) -> None:
        await states(self.shelf, BootClock()).save(_parts())
        if bytes(await self.reader.load() or b"") != _CONTENT:
            raise SystemExit("the state does not come back unchanged")

    async def load(self, place: tuple[str, str], changed: bytes) -> None:
        """Load with a blob changed; only a refusal, or nothing, may come of it."""
        whole = self.shelf.blobs[place]
        self.shelf.blobs[place] = changed
        self.tried += 1
        try:
            self.taken += await self.reader.load() is not None
        except ControlError:
            pass
        finally:
            self.shelf.blobs[place] = whole


async def shake(flips: int, seed: int, limit_s: float) -> Shaken:
    """Cut at every length, then flip bits; ends early past `limit_s` seconds."""
    shaken = Shaken()
    await shaken.leave()
    for place, whole in list(shaken.shelf.blobs.items()):
        for size in range(len(whole)):
            await shaken.load(place, whole[:size])
    rng = random.Random(seed)
    places = sorted(shaken.shelf.blobs)
    ends = time.monotonic() + limit_s
    for _ in range(flips):
        if time.monotonic() > ends:
            raise SystemExit(f"{shaken.tried} tried in {limit_s:g} s, no more")
        place = rng.choice(places)
        changed = bytearray(shaken.shelf.blobs[place])
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        await shaken.load(place, bytes(changed))
    return shaken


def main() -> int:
    """Return 1 where anything was taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds")
    asked = parser.parse_args()
    logging.disable()
    # Small chunks: a state of two is cut and flipped at every octet in seconds.
    shared_snapshots.CHUNK_BYTES = _CHUNK_BYTES
    shaken = asyncio.run(shake(asked.flips, asked.seed, asked.limit))
    said = f"{shaken.tried} cuts and flips, {asked.flips} of them flips"
    sys.stdout.write(f"{said}: {shaken.taken} taken\n")
    return 1 if shaken.taken else 0


if __name__ == "__main__":
    sys.exit(main())
