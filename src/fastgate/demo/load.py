"""Load: a steady stream of good requests, to see whether any of them fails.

Owns:      the requests in flight and the count of their answers.
Called by: steps that break or change something underneath.
"""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from fastgate.demo.scene import OK, Scene
from fastgate.errors import UpstreamError

__all__ = ["Load", "load"]

# Reason: the stand-ins and this client share two cores with six workers.
_PER_SECOND: Final = 150
_CALLERS: Final = 12


class Load:
    """What the requests came to.

    pairs: (gateway's region, token), taken in turn; may be changed at any time.
    counts: Answers by what they were, such as "200" or "503 stale_revocation".
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = list(pairs)
        self.counts: Counter[str] = Counter()
        self.answered = asyncio.Event()

    @property
    def total(self) -> int:
        """Requests that came to an end."""
        return self.counts.total()

    @property
    def failed(self) -> int:
        """Requests that were answered by anything but 200, or not at all."""
        return self.total - self.counts[str(OK)]

    @property
    def summary(self) -> str:
        """All that happened, in a few words."""
        return ", ".join(f"{count} times {what}" for what, count in self.counts.items())

    async def more(self, count: int) -> None:
        """Return when so many more requests came to an end."""
        goal = self.total + count
        while self.total < goal:
            self.answered.clear()
            await self.answered.wait()

    async def run(self, scene: Scene, turns: "itertools.count[int]") -> None:
        """Send one request after the other, at a steady pace."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            region, token = self.pairs[next(turns) % len(self.pairs)]
            try:
                reply = await scene.call(region, token)
                what = str(reply.status)
                if reply.status != OK:
                    what += f" {reply.reason or reply.code} at {region}"
            except UpstreamError:
                what = f"no answer at {region}"
            self.counts[what] += 1
            self.answered.set()
            due = max(due + _CALLERS / _PER_SECOND, clock() - 1.0)
            await asyncio.sleep(max(0.0, due - clock()))


@contextlib.asynccontextmanager
async def load(
    scene: Scene, pairs: Sequence[tuple[str, str]]
) -> AsyncGenerator[Load, None]:
    """Send requests for the time of a block."""
    running = Load(pairs)
    turns = itertools.count()
    tasks = [asyncio.create_task(running.run(scene, turns)) for _ in range(_CALLERS)]
    try:
        yield running
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
