"""Kill the writer and the reader of a revocation index, thousands of times.

    python -m tests.adversity.index_kills --kills 10000

One forked writer at a time adds, merges, lifts, rebuilds, cleans up and moves the
evidence without a pause, and says in a page of its own what it has acknowledged. One
forked reader judges the index all the while. Both are ended with SIGKILL at random
moments; the next writer takes over, repeats what its predecessor may have left undone,
and goes on.

Time is a number here: second n is when event n is acknowledged, and evidence n says
that the events up to n are in. So entries expire and are cleaned up as fast as the
machine goes, and the reader can tell from the numbers alone what must be true:

- an acknowledged event that is not over is revoked, and one that was never added, or
  whose lift was acknowledged, is not;
- an event that is not revoked is not covered by the evidence either.
"""

import argparse
import mmap
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from fastgate._ext import revocations

Reader = revocations.RevocationReader
ALWAYS = revocations.ALWAYS
CAPACITY = 16_000
LIFE = 5_000  # events an entry lives; enough for several sizes of tables
START = 1_000_000  # the second and the evidence of event 0
BATCH = 32
MEMORY = ("control", "arena0", "arena1", "slots", "page")
# Words of the page that the two children and the parent share.
ACKED, LIFTED, LIFTS, CHECKS, STALE, UNSTABLE, FAULTS, MOVES, FRONT = range(9)


def key_of(number: int, family: int = 0) -> bytes:
    """Return the key of an event; hashes in the product, so spread here as well."""
    mixed = number * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    return struct.pack("=QQ", mixed, family << 60 | number)


class Memory:
    """Shared memory as in the product: descriptors, mapped by each child for itself."""

    def __init__(self) -> None:
        arena_bytes, control_bytes = revocations.layout(CAPACITY)
        sizes = (control_bytes, arena_bytes, arena_bytes, revocations.SLOTS_BYTES, 4096)
        self.sizes = dict(zip(MEMORY, sizes, strict=True))
        self.descriptors = {name: os.memfd_create(name) for name in MEMORY}
        for name, size in self.sizes.items():
            os.ftruncate(self.descriptors[name], size)
        self.page = memoryview(self.map("page")).cast("Q")

    def map(self, name: str, *, readonly: bool = False) -> mmap.mmap:
        """Map one of the segments."""
        protection = mmap.PROT_READ | (0 if readonly else mmap.PROT_WRITE)
        return mmap.mmap(self.descriptors[name], self.sizes[name], prot=protection)

    def close(self) -> None:
        """Close the descriptors; the maps go with their objects."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)


def write(memory: Memory, seed: int) -> NoReturn:
    """Change the index for ever; what has returned is acknowledged on the page."""
    page = memory.page
    draw = random.Random(seed)
    buffers = [memory.map(name) for name in MEMORY[:4]]
    writer = revocations.RevocationWriter(
        *buffers,
        origins=1,
        now_s=START + page[ACKED],
        free=lambda which, *part: buffers[1 + which].madvise(mmap.MADV_REMOVE, *part),
    )
    # A replay: what was in flight when the last writer died, and some of what was not.
    number = max(0, page[ACKED] - BATCH)
    generation = writer.stats()["generation"]
    while True:
        count = draw.choice((1, 1, 1, 2, 5, BATCH))
        last = number + count
        if count == 1:
            writer.insert(key_of(last), ALWAYS, START + last + LIFE)
        else:
            writer.insert_many(
                b"".join(
                    key_of(n) + struct.pack("=II", ALWAYS, START + n + LIFE)
                    for n in range(number + 1, last + 1)
                )
            )
        number = last
        page[ACKED] = max(page[ACKED], number)
        writer.set_evidence(0, START + page[ACKED])
        if draw.random() < 0.2:
            page[LIFTS] += 1  # a number is used once, also if this writer dies here
            writer.insert(key_of(page[LIFTS], 1), ALWAYS, START + number + LIFE)
            writer.remove(key_of(page[LIFTS], 1))
            page[LIFTED] = page[LIFTS]
        if draw.random() < 0.3:
            writer.maintain(START + page[ACKED], draw.choice((1, 100, 3000)))
        if draw.random() < 0.01:
            writer.begin_rebuild(draw.choice((0, 3000, 9000)))
        if writer.stats()["generation"] != generation:
            page[MOVES] += 1
            generation = writer.stats()["generation"]


def judge(memory: Memory, reader: Reader, draw: random.Random) -> list[str]:
    """Ask one question of each kind; return the answers that are false."""
    page = memory.page
    faults = []
    acked, lifted = page[ACKED], page[LIFTED]
    now_s = START + acked
    old = draw.randrange(max(1, acked - LIFE // 2), acked + 1) if acked else None
    for number in (acked, old):
        if not number:
            continue
        answer = reader.check(key_of(number), now_s, now_s, START, 0, 0, 0, 0)
        if answer == revocations.UNSTABLE:
            page[UNSTABLE] += 1
        elif answer != revocations.REVOKED and page[ACKED] - acked < LIFE // 4:
            faults.append(f"acknowledged {number} of {acked} gets {answer}")
    # The key of zeros is that of an empty slot.
    unknown = key_of(acked + draw.randrange(LIFE), 2)
    for never in (unknown, key_of(lifted, 1), bytes(16)):
        answer = reader.check(never, now_s, now_s, START, 0, 0, 0, 0)
        if answer == revocations.REVOKED:
            faults.append(f"{never.hex()} is revoked at {acked}")
    # The front: if the evidence covers the next events already, they must be in.
    for number in range(acked + 1, acked + 4):
        answer = reader.check(key_of(number), now_s, now_s, START + number, 0, 0, 0, 0)
        if answer == revocations.CLEAR and page[ACKED] - acked < LIFE // 4:
            faults.append(f"evidence covers {number}, the index does not")
        page[FRONT] += answer == revocations.REVOKED
        page[STALE] += answer == revocations.STALE_HOME
    page[CHECKS] += 8
    return faults


def read(memory: Memory, seed: int) -> NoReturn:
    """Judge the index for ever; a false answer is printed and counted on the page."""
    draw = random.Random(seed)
    control, arena0, arena1 = (memory.map(name, readonly=True) for name in MEMORY[:3])
    slots = memory.map("slots")
    slot = seed % revocations.MAX_WORKERS
    reader = Reader(control, arena0, arena1, slots, slot)
    while True:
        for fault in judge(memory, reader, draw):
            memory.page[FAULTS] += 1
            os.write(2, f"{fault}\n".encode())


Role = Callable[[Memory, int], NoReturn]


@dataclass
class Report:
    """What a run has shown."""

    kills: int = 0
    readers: int = 0
    seconds: float = 0.0
    events: int = 0
    generations: int = 0
    checks: int = 0
    stale: int = 0
    unstable: int = 0
    front: int = 0
    faults: int = 0

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"{self.kills} kills ({self.readers} of them of readers) in"
            f" {self.seconds:.1f} s; {self.events} events, {self.generations}"
            f" generations, {self.checks} checks ({self.front} ahead of the"
            f" acknowledgement, {self.stale} not covered yet, {self.unstable}"
            f" unstable): {self.faults} false answers"
        )


def start(run: Role, memory: Memory, seed: int) -> int:
    """Fork a child that runs for ever, or ends with 1 where its code fails."""
    child = os.fork()
    if child == 0:
        try:
            run(memory, seed)
        except BaseException:  # noqa: BLE001 - a forked child's last border
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    return child


def end(child: int) -> bool:
    """Kill a child and reap it; False where it had ended by itself: a fault."""
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def run(kills: int, seed: int) -> Report:
    """Kill a writer `kills` times, every fourth time its reader instead."""
    memory = Memory()
    page = memory.page
    report = Report()
    draw = random.Random(seed)
    began = time.monotonic()
    children = {write: start(write, memory, seed), read: start(read, memory, seed)}
    try:
        for number in range(kills):
            # From the fork itself to a few thousand events later.
            time.sleep(draw.choice((0.0005, 0.002, 0.005)) * draw.random())
            victim = read if number % 4 == 3 else write
            if not end(children.pop(victim)):
                report.faults += 1
            report.kills += 1
            report.readers += victim is read
            children[victim] = start(victim, memory, seed + number + 1)
        settle(memory, report)
    finally:
        for child in children.values():
            if not end(child):
                report.faults += 1
        report.seconds = time.monotonic() - began
        report.events, report.generations = page[ACKED], page[MOVES]
        report.checks, report.stale = page[CHECKS], page[STALE]
        report.unstable, report.front = page[UNSTABLE], page[FRONT]
        report.faults += page[FAULTS]
        memory.close()
    return report


def settle(memory: Memory, report: Report) -> None:
    """Wait until the last writer and the last reader have done something."""
    page = memory.page
    acked, checks = page[ACKED], page[CHECKS]
    deadline = time.monotonic() + 20
    while page[ACKED] == acked or page[CHECKS] == checks:
        if time.monotonic() > deadline:
            report.faults += 1
            sys.stderr.write("the successors do not go on\n")
            return
        time.sleep(0.001)


def main() -> int:
    """Run from the command line; 1 where an answer was false."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFFFF)
    options = parser.parse_args()
    print(f"seed {options.seed}")  # noqa: T201 - to repeat a run
    report = run(options.kills, options.seed)
    print(report)  # noqa: T201 - the result
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
