"""What is revoked and how old that knowledge is: an index in memory of the caller.

The memory: one `control` segment, two arenas, one page of worker slots; anything with
the buffer protocol, aligned to 8 bytes, zero at first. In the product these are file
descriptors that cannot shrink, and only the writer may map the first three writable.

Keys are 128-bit hashes. An entry is (key, cutoff, expiry); it is live before `expiry`
(seconds since 1970, 32 bits) and revokes a token whose `iat` is at most `cutoff`; with
the cutoff `ALWAYS`, every token. Answers are exact: no key is special, none is guessed.
"""

from collections.abc import Callable
from typing import Final

from typing_extensions import Buffer

CLEAR: Final = 1
"""No key is revoked, and the knowledge is young enough."""
REVOKED: Final = 2
"""A key is revoked; the index of the key is shifted left by 8 and added."""
STALE_HOME: Final = 3
"""No key found, but the evidence of the token's home origin is too old."""
STALE_GLOBAL: Final = 4
"""No key found, but the evidence of the issuer's home origin is too old."""
UNSTABLE: Final = 5
"""No steady index within the bound (no writer yet, or a bad header): treat as stale."""

INSERTED: Final = 1
MERGED: Final = 2
FULL: Final = 3
"""Nothing was stored: the capacity is reached. A live entry is never dropped."""
OVER: Final = 4
"""Nothing to store: an expiry of 0 is over at any time."""

LAYOUT_VERSION: Final = 1
ALWAYS: Final = 0xFFFFFFFF
MAX_ORIGINS: Final = 64
MAX_KEYS: Final = 16
MAX_WORKERS: Final = 256
MAX_CAPACITY: Final = 268435456
SLOTS_BYTES: Final = 16384

def layout(capacity: int) -> tuple[int, int]:
    """Return the bytes that an arena and the control segment need.

    capacity: Live entries that always fit, 1 to `MAX_CAPACITY`. An arena may be sparse:
        only the pages of the table in use are ever touched (10 for 1,000 entries).
    Raises ValueError.
    """

class RevocationReader:
    """Judge requests by the index, without a lock and without writing it."""

    def __init__(
        self,
        control: Buffer,
        arena0: Buffer,
        arena1: Buffer,
        slots: Buffer | None = None,
        slot: int | None = None,
    ) -> None:
        """Hold the buffers (read-only ones do); there need not be a writer yet.

        slots: The page of worker slots, writable; unused where `slot` is None.
        slot: The slot, below `MAX_WORKERS`, in which this worker announces the
            generation that it reads; None for a reader that does not announce.
        Raises ValueError (too small, not aligned, slot), BufferError, TypeError.
        """

    def check(
        self,
        keys: bytes,
        iat: int,
        now_s: int,
        now_boot_ns: int,
        home: int,
        max_age_ns: int,
        issuer_home: int,
        issuer_max_age_ns: int,
    ) -> int:
        """Judge one token by its keys and by the age of this node's knowledge.

        keys: At most `MAX_KEYS` keys of 16 bytes, one behind the other.
        iat: Seconds since 1970; 0 when absent, which is older than every cutoff.
        now_s: Wall clock, seconds. now_boot_ns: CLOCK_BOOTTIME; both read just before.
        home, issuer_home: Origin, or -1 for the oldest of all; an unknown one is stale.
        max_age_ns, issuer_max_age_ns: The age that is still allowed, inclusive.
        Returns CLEAR, REVOKED + (index << 8), STALE_HOME, STALE_GLOBAL or UNSTABLE; a
        revocation is found however old the knowledge is, and of two stale origins the
        token's is named. Evidence more than a second ahead of `now_boot_ns` is none.
        Raises ValueError for other keys, OverflowError past 64 bits.
        """

    def find(self, key: bytes) -> tuple[int, int] | None:
        """Return (cutoff, expiry) of an entry, also of an expired one still held."""

    def evidence(self, origin: int) -> int:
        """Return the CLOCK_BOOTTIME nanoseconds of an origin's evidence, 0 for none."""

    def generation(self) -> int:
        """Return the generation in use, 0 before the first writer."""

    def entries(self) -> int:
        """Return the entries held, less those known to be removed or expired."""

    def urgent(self) -> int:
        """Return the counter that moves when open streams must be judged again."""

    def applied(self) -> int:
        """Return how many changes all writers together have applied."""

class RevocationWriter:
    """Keep the index: the one writer of these buffers, one call at a time.

    It may die at any instruction. The next one takes over what is published, and fills
    the other arena while `maintain` is called; its changes reach readers at once.
    """

    def __init__(
        self,
        control: Buffer,
        arena0: Buffer,
        arena1: Buffer,
        slots: Buffer,
        *,
        origins: int,
        now_s: int,
        free: Callable[[int, int, int], object] | None = None,
    ) -> None:
        """Make the index in zeroed memory, or take it over from a writer that is gone.

        slots: The page of worker slots; read only.
        origins: How many rows of the board are in use, see `set_origins`.
        now_s: Wall clock, as for `maintain`.
        free: Called with (0 or 1, offset, bytes) to make that part of that arena read
            as zeros (punch a hole); where it raises OSError or does nothing, the arena
            is wiped by hand, and keeps its pages.
        Raises ValueError (another layout, too small, not aligned), BufferError.
        """

    def insert(self, key: bytes, cutoff: int, expiry: int) -> int:
        """Add an entry, or merge it into the key's own: the later cutoff and expiry.

        An entry that was over at the last `now_s` told counts as absent.
        cutoff, expiry: Seconds since 1970, 32 bits.
        Returns INSERTED, MERGED, FULL or OVER. When it returns, every reader finds it.
        Raises ValueError, OverflowError.
        """

    def insert_many(self, packed: Buffer) -> int:
        """Add records in order; return how many were applied before the first FULL.

        packed: Records of 24 bytes: key, cutoff and expiry, in this machine's order.
        """

    def remove(self, key: bytes) -> bool:
        """Take an entry out (a lift); False where there is none, or it is over."""

    def settle(self, key: bytes, cutoff: int, expiry: int) -> bool:
        """Set an entry to what is left of it after a lift, in one step for readers.

        cutoff, expiry: Of the events that remain; expiry 0 takes the entry out.
        Returns False where there is no live entry. Raises ValueError, OverflowError.
        """

    def seeds(self) -> tuple[int, int]:
        """Return the two numbers that the arena in use spreads keys by."""

    def recover(self, mixed: int, seed0: int, seed1: int) -> bytes | None:
        """Return the key that these seeds spread to `mixed`; None where it is not here.

        Looks at one run where the seeds are the arena's, else at every slot.
        """

    def records(self, cursor: int, slots: int) -> tuple[bytes, int]:
        """Return the live entries of the next slots, as `insert_many` takes them.

        cursor: 0, then what the call before returned, for as long as the generation
            (`stats`) stays the same; slots: How many to look at.
        Returns them and the next cursor, 0 behind the last slot.
        """

    def set_origins(self, count: int) -> None:
        """Say how many rows are origins, 1 to `MAX_ORIGINS`; new rows hold no evidence.

        An origin keeps its row for as long as any reader may think it has it.
        """

    def set_evidence(self, origin: int, boot_ns: int) -> None:
        """Say as of when this node is complete for an origin: after the entries.

        boot_ns: CLOCK_BOOTTIME of this host; 0 takes the evidence away.
        """

    def bump_urgent(self) -> int:
        """Move the urgent counter and return it."""

    def idle_in_use(self) -> bool:
        """Tell whether a worker slot announces a generation that is not in use."""

    def begin_rebuild(self, entries: int = 0) -> bool:
        """Begin to fill the idle arena, with room for so many entries.

        Returns False if a rebuild is under way already.
        """

    def maintain(self, now_s: int, max_slots: int = 65536) -> bool:
        """Do one slice of the upkeep: copy, count the expired, free the idle arena.

        now_s: Wall clock; what is over by then leaves with the next rebuild, so give a
            clock that does not jump ahead.
        max_slots: Slots to look at in this call; some 5 ns each.
        Returns True while a rebuild is under way: call again soon, else once a second.
        """

    def stats(self) -> dict[str, int]:
        """Return counts for status and alarms.

        generation, entries, capacity, used, dead, buckets, bytes, rebuilding, rebuilds,
        abandoned, refused, applied, urgent.
        """
