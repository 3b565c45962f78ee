"""Allocator: how the C library's heap treats what a relayed body leaves behind.

Owns:      two settings of the process, made once.
Called by: wiring, in each worker before it serves.
Source:    mallopt(3).

The loop reads a body in pieces of up to 256 KiB and frees each once it is written. By
default the heap gives such pieces back to the kernel and asks for them again at once: a
page fault for every 4 KiB, each page cleared first. That was two thirds of the CPU of
relaying 1 MiB.
"""

import contextlib
import ctypes

__all__ = ["keep_freed_memory"]

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Reason: some dozens of pieces in flight; what a worker keeps beyond its need at most.
KEPT_BYTES = 16 << 20
# Reason: well above a piece; what is larger is no piece of a body, and goes back.
OWN_MAPPING_BYTES = 4 << 20


def keep_freed_memory() -> bool:
    """Let the heap keep up to KEPT_BYTES that were freed at its end.

    Returns False where the C library knows no such setting (musl): then nothing
    changes.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(
            mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
            and mallopt(_M_MMAP_THRESHOLD, OWN_MAPPING_BYTES)
        )
    return False
