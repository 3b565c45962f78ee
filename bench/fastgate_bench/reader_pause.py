"""Reader pause: what a look-up costs while a million entries expire beside it.

Owns:      the reader, a process of its own; its parent is the one writer.
Called by: revocation.
Source:    DESIGN.md section 7; THREATS.md F10 and F30: readers never wait.

The time of a check is the processor's time of its thread: a check that waited would
spin, and a scheduler that gives the processor away is not the index's doing.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from fastgate.errors import BugError
from fastgate_bench.figures import Stage
from fastgate_bench.gate_kit import Index, boot_ns
from fastgate_bench.histogram import decoded, encoded, statistics

__all__ = ["pause_stages"]

_PHASE_S: Final = 3.0
_KEYS: Final = 6
_BATCH: Final = 500
_AGE_NS: Final = 3_600 * 10**9
_DAYS_S: Final = 2 * 86_400
_NS_PER_US: Final = 1000.0
_CLEAR: Final = 1
# What a histogram in base64 does not begin with.
_TROUBLE: Final = b"?"


def pause_stages(entries: int) -> list[Stage]:
    """Return a stage of a calm index, and one of an index whose entries expire.

    entries: Live in the index. Raises BugError where a reader found no answer.
    """
    index = Index(entries)
    index.fill(entries)
    calm = _read_beside(index, None)
    rounds = 0

    def expire() -> None:
        # All of them at once, the worst there is; then as many anew.
        nonlocal rounds
        later_s = int(time.time()) + _DAYS_S
        while index.writer.stats()["entries"]:
            index.writer.maintain(later_s)
            if not index.writer.stats()["rebuilding"]:
                index.writer.begin_rebuild()
        index.fill(entries // 10)
        rounds += 1

    busy = _read_beside(index, expire)
    notes = ("nothing is written", f"{entries} entries expire, {rounds} rounds")
    return [
        Stage(name, "us", statistics(histogram, 1 / _NS_PER_US), "p999", note=note)
        for name, histogram, note in zip(
            ("check-calm", "check-expiring"), (calm, busy), notes, strict=True
        )
    ]


def _read_beside(index: Index, write: Callable[[], None] | None) -> Any:
    """Read in a process of its own for some seconds; return its histogram."""
    index.refresh()
    inlet, outlet = os.pipe()
    reader = os.fork()
    if reader == 0:
        _read(index, outlet)
    os.close(outlet)
    try:
        until = time.monotonic() + _PHASE_S
        while time.monotonic() < until:
            if write is None:
                time.sleep(_PHASE_S / 10)
            else:
                write()
    finally:
        os.kill(reader, signal.SIGTERM)
        with os.fdopen(inlet, "rb") as pipe:
            said = pipe.read()
        os.waitpid(reader, 0)
    if not said or said.startswith(_TROUBLE):
        why = said.removeprefix(_TROUBLE).decode() or "it said nothing"
        raise BugError(f"a reader of the index: {why}")
    return decoded(said.decode("ascii"))


def _read(index: Index, outlet: int) -> NoReturn:
    """Check random keys until told to end; in the child, which never returns."""
    over = False

    def end(_signal: int, _frame: object) -> None:
        nonlocal over
        over = True

    try:
        signal.signal(signal.SIGTERM, end)
        check, clock = index.reader.check, time.thread_time_ns
        now_s, now_ns = int(time.time()), boot_ns()
        spent: list[int] = []
        answers: set[int] = set()
        while not over:
            for keys in [random.randbytes(16 * _KEYS) for _ in range(_BATCH)]:
                began = clock()
                answer = check(keys, 0, now_s, now_ns, 0, _AGE_NS, 0, _AGE_NS)
                spent.append(clock() - began)
                answers.add(answer & 0xFF)
        if answers <= {_CLEAR}:
            os.write(outlet, encoded(spent).encode("ascii"))
        else:
            os.write(outlet, _TROUBLE + f"answers {sorted(answers)}".encode())
    except Exception as error:  # noqa: BLE001 - the last border of the child
        os.write(outlet, _TROUBLE + repr(error).encode())
    finally:
        os._exit(0)
