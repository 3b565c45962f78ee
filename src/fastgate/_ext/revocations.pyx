"""Revocations: which identifiers are revoked, and how old that knowledge is, in shared memory.

Owns:      the two objects over memory of the caller: one writer, any number of lock-free readers.
Called by: hotpath.native, one `check` per request; the agent, the only writer.
Source:    the rules stand in revocation_index.pxd and revocation_arena.pxd.

A check that cannot finish (no writer yet, a bad header, a generation that moves too often) says
UNSTABLE, which denies like a stale answer.

Longer than others: the reader and the writer of one layout stand side by side.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastgate._ext.revocation_arena cimport (
    FG_ALWAYS, A_MAGIC, ARENA_HEADER, MIN_BUCKETS, PUT_FULL, Arena, extent, fg_load,
    fg_store, lookup, spread, wipe,
)
from fastgate._ext.revocation_index cimport (
    C_APPLIED, C_BOARD, C_ENTRIES, C_GENERATION, C_MAGIC, C_ORIGINS, C_URGENT, CONTROL_SIZE,
    IDLE_CLEAN, IDLE_COPYING, IDLE_DIRTY, INSERT_STEP, KEYS, ORIGINS, SAYS_CLEAR,
    SAYS_STALE_GLOBAL, SAYS_STALE_HOME, SAYS_UNSTABLE, WORKERS, adopt, apply, begin, copy_out,
    count_expired, enter, found, fresh, live, pressed, recovered, relievable, restate, retract,
    search, step, unmoved,
)

import os

# A hole of this size takes 1 to 2 ms when it was full.
cdef uint64_t FREE_BYTES = 16 << 20
cdef uint64_t ARENA_END = <uint64_t> -1
cdef enum:
    RECORD = 24                      # bytes of insert_many: key 16, cutoff 4, expiry 4
    CHECK_TRIES = 64                 # two publications within one check are rare already
    PATIENCE = 64                    # calls of `maintain` that wait for workers to move on
    CENSUS_S = 60                    # seconds between two counts of the expired
    INSERT_OVER = 4                  # beside the PUT_ codes

CLEAR, REVOKED, STALE_HOME, STALE_GLOBAL, UNSTABLE = 1, 2, 3, 4, 5
INSERTED, MERGED, FULL, OVER = 1, 2, 3, 4
LAYOUT_VERSION = 1
ALWAYS = 0xFFFFFFFF
MAX_ORIGINS = ORIGINS
MAX_KEYS = KEYS
MAX_WORKERS = WORKERS
MAX_CAPACITY = 1 << 28
SLOTS_BYTES = WORKERS * 64


def layout(capacity: int) -> tuple[int, int]:
    """Return the bytes that an arena and the control segment need."""
    if not 1 <= capacity <= MAX_CAPACITY:
        raise ValueError("capacity out of range")
    buckets = max(MIN_BUCKETS, -(-capacity * 5 // (4 * 64)) * 64)
    return -(-extent(buckets) // 4096) * 4096, CONTROL_SIZE


@cython.final
@cython.no_gc_clear                  # tp_clear would drop the owner before its buffer is released
cdef class Pinned:
    """A buffer of the caller, held for as long as its words are used."""

    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, owner, bint writable, Py_ssize_t least, str name):
        PyObject_GetBuffer(owner, &self.view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.held = True
        if self.view.len < least:
            raise ValueError(f"{name} is smaller than its layout")
        if <size_t> self.view.buf % 8:
            raise ValueError(f"{name} is not aligned to 8 bytes")

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef void lend(self, Arena* arena) noexcept:
        arena.base = <unsigned char*> self.view.buf
        arena.size = <uint64_t> self.view.len


cdef int halves(bytes key, uint64_t* lo, uint64_t* hi) except -1:
    if PyBytes_GET_SIZE(key) != 16:
        raise ValueError("a key has 16 bytes")
    memcpy(lo, PyBytes_AS_STRING(key), 8)
    memcpy(hi, PyBytes_AS_STRING(key) + 8, 8)
    return 0


@cython.final
@cython.no_gc_clear                  # the words are in use for as long as the object is
cdef class RevocationReader:
    """Judge requests by the index, without a lock and without writing it."""

    cdef tuple pins
    cdef const uint64_t* control
    cdef uint64_t* announce          # NULL: this reader does not
    cdef Arena[2] arenas
    cdef uint64_t seen               # the generation whose arena is bound; 0 none

    def __cinit__(self, control, arena0, arena1, slots=None, slot=None):
        cdef Pinned memory = Pinned(control, False, CONTROL_SIZE, "control")
        cdef Pinned first = Pinned(arena0, False, ARENA_HEADER, "arena0")
        cdef Pinned second = Pinned(arena1, False, ARENA_HEADER, "arena1")
        cdef Pinned page
        self.pins = (memory, first, second)
        self.control = <const uint64_t*> memory.view.buf
        first.lend(&self.arenas[0])
        second.lend(&self.arenas[1])
        if slot is not None:
            if not 0 <= slot < WORKERS:
                raise ValueError("slot out of range")
            page = Pinned(slots, True, SLOTS_BYTES, "slots")
            self.pins += (page,)
            self.announce = <uint64_t*> page.view.buf + 8 * <Py_ssize_t> slot

    cdef Arena* arena(self) noexcept nogil:
        cdef uint64_t before = self.seen
        cdef Arena* arena = enter(self.control, self.arenas, &self.seen)
        if self.announce != NULL and self.seen != before:
            fg_store(self.announce, self.seen)
        return arena

    def check(self, bytes keys not None, int64_t iat, int64_t now_s, int64_t now_boot_ns,
              int64_t home, int64_t max_age_ns, int64_t issuer_home,
              int64_t issuer_max_age_ns) -> int:
        """Judge one token by its keys and by the age of this node's knowledge."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(keys)
        cdef Arena* arena
        cdef int hit, age, _attempt
        if size % 16 or size > 16 * KEYS:
            raise ValueError("keys are at most 16 times 16 bytes")
        for _attempt in range(CHECK_TRIES):
            arena = self.arena()
            if arena == NULL:
                continue
            age = SAYS_CLEAR         # evidence first: the entries it speaks of are there already
            if not fresh(self.control, home, now_boot_ns, max_age_ns):
                age = SAYS_STALE_HOME
            elif not fresh(self.control, issuer_home, now_boot_ns, issuer_max_age_ns):
                age = SAYS_STALE_GLOBAL
            hit = search(arena, PyBytes_AS_STRING(keys), size // 16, iat, now_s)
            if unmoved(self.control, self.seen):
                return hit if hit else age
        return SAYS_UNSTABLE

    def find(self, bytes key not None) -> tuple[int, int] | None:
        """Return (cutoff, expiry) of an entry, also of an expired one that is still held."""
        cdef uint64_t lo = 0, hi = 0, meta
        cdef Arena* arena
        cdef int _attempt
        halves(key, &lo, &hi)
        for _attempt in range(CHECK_TRIES):
            arena = self.arena()
            if arena == NULL:
                continue
            meta = lookup(arena, spread(arena, lo, hi), lo, hi)
            if unmoved(self.control, self.seen):
                return (meta >> 32, meta & FG_ALWAYS) if meta & FG_ALWAYS else None
        return None

    def evidence(self, Py_ssize_t origin) -> int:
        """Return the CLOCK_BOOTTIME nanoseconds of an origin's evidence, 0 for none."""
        if not 0 <= origin < ORIGINS:
            raise ValueError("origin out of range")
        return fg_load(self.control + C_BOARD + origin)

    def generation(self) -> int:
        return fg_load(self.control + C_GENERATION)

    def entries(self) -> int:
        return fg_load(self.control + C_ENTRIES)

    def urgent(self) -> int:
        return fg_load(self.control + C_URGENT)

    def applied(self) -> int:
        return fg_load(self.control + C_APPLIED)


@cython.final
@cython.no_gc_clear                  # a cycle through `free` is broken on its other side
cdef class RevocationWriter:
    """Keep the index: the one writer of these buffers."""

    def __cinit__(self, control, arena0, arena1, slots, *, origins, int64_t now_s,
                  free=None):
        cdef Pinned memory = Pinned(control, True, CONTROL_SIZE, "control")
        cdef Pinned first = Pinned(arena0, True, extent(MIN_BUCKETS), "arena0")
        cdef Pinned second = Pinned(arena1, True, extent(MIN_BUCKETS), "arena1")
        cdef Pinned page = Pinned(slots, False, SLOTS_BYTES, "slots")
        cdef uint64_t size = <uint64_t> min(first.view.len, second.view.len)
        cdef uint64_t seeds[2]
        self.pins = (memory, first, second, page)
        self.free = free
        self.index.now_s = max(now_s, 0)
        self.workers = <const uint64_t*> page.view.buf
        self.index.control = <uint64_t*> memory.view.buf
        first.lend(&self.index.arenas[0])
        second.lend(&self.index.arenas[1])
        self.index.most = (size - extent(0)) // 26 // 64 * 64
        if fg_load(self.index.control + C_MAGIC) == 0:
            self.clear(0, ARENA_END)
            self.clear(1, ARENA_END)
            self.draw(seeds)
            found(&self.index, seeds)
        elif adopt(&self.index):
            self.rebuild(0)          # never repaired in place: see revocation_index.pxd
        else:
            raise ValueError("not a revocation index of this layout")
        self.set_origins(origins)

    cdef int draw(self, uint64_t* seeds) except -1:
        cdef bytes random = os.urandom(16)
        memcpy(seeds, PyBytes_AS_STRING(random), 16)
        return 0

    cdef int clear(self, int which, uint64_t budget) except -1:
        # Frees up to `budget` more bytes, from the end to the header: while one is left, so is the
        # magic, and who finds that (a successor too) knows that the arena is dirty.
        cdef Arena* arena = &self.index.arenas[which]
        cdef uint64_t length
        while self.free is not None and self.cleared < arena.size:
            if budget == 0:
                return 0
            length = min(FREE_BYTES, arena.size - self.cleared)
            try:
                self.free(which, arena.size - self.cleared - length, length)
            except OSError:
                break                # that costs memory, not truth: it is wiped below
            self.cleared += length
            budget -= min(budget, length)
        if fg_load(<uint64_t*> arena.base + A_MAGIC) != 0:
            wipe(arena)
        self.index.idle = IDLE_CLEAN
        self.cleared = 0
        self.waited = 0
        return 0

    cdef int rebuild(self, uint64_t entries) except -1:
        cdef uint64_t seeds[2]
        if self.index.idle == IDLE_DIRTY:
            self.clear(1 - self.index.using, ARENA_END)
        seeds[0] = self.index.arenas[self.index.using].seed0
        seeds[1] = self.index.arenas[self.index.using].seed1
        if self.index.reseed:
            self.draw(seeds)
        begin(&self.index, entries, seeds)
        return 0

    cdef bint relieve(self) except -1:
        # An insert found no room: end the rebuild now. True: there is another arena, try again.
        cdef uint64_t rebuilds = self.index.rebuilds
        cdef int _attempt
        for _attempt in range(3):
            if self.index.idle != IDLE_COPYING:
                if not relievable(&self.index):
                    return False
                self.index.reseed = True     # if a run was too long, only this helps
                self.rebuild(0)
            step(&self.index, self.index.arenas[self.index.using].slots)
            if self.index.rebuilds != rebuilds:
                return True
        return False

    cdef int take(self, uint64_t lo, uint64_t hi, uint64_t meta) except -1:
        cdef int code, _attempt
        if meta & FG_ALWAYS == 0:
            return INSERT_OVER
        if self.index.idle != IDLE_COPYING and pressed(&self.index):
            self.rebuild(0)
        if self.index.idle == IDLE_COPYING:
            step(&self.index, INSERT_STEP)
        for _attempt in range(3):
            code = apply(&self.index, lo, hi, meta)
            if code != PUT_FULL:
                return code
            if not self.relieve():
                break
        self.refused += 1
        return PUT_FULL

    def insert(self, bytes key not None, uint32_t cutoff, uint32_t expiry) -> int:
        """Add an entry, or merge it into the one of that key: the later cutoff and expiry."""
        cdef uint64_t lo = 0, hi = 0
        halves(key, &lo, &hi)
        return self.take(lo, hi, <uint64_t> cutoff << 32 | expiry)

    def insert_many(self, packed) -> int:
        """Add records of 24 bytes in order; return how many were applied before a FULL."""
        cdef Py_buffer view
        cdef const unsigned char* at
        cdef Py_ssize_t _left, done = 0
        cdef uint64_t key[2]
        cdef uint32_t times[2]
        PyObject_GetBuffer(packed, &view, PyBUF_SIMPLE)
        try:
            if view.len % RECORD:
                raise ValueError("a record has 24 bytes")
            at = <const unsigned char*> view.buf
            for _left in range(view.len // RECORD):
                memcpy(key, at, 16)
                memcpy(times, at + 16, 8)
                if self.take(key[0], key[1], <uint64_t> times[0] << 32 | times[1]) == PUT_FULL:
                    break
                at += RECORD
                done += 1
        finally:
            PyBuffer_Release(&view)
        return done

    def remove(self, bytes key not None) -> bool:
        """Take an entry out (a lift); False where there is none."""
        cdef uint64_t lo = 0, hi = 0
        halves(key, &lo, &hi)
        return retract(&self.index, lo, hi)

    def settle(self, bytes key not None, uint32_t cutoff, uint32_t expiry) -> bool:
        """Set an entry to what is left of it after a lift; False where there is none."""
        cdef uint64_t lo = 0, hi = 0
        halves(key, &lo, &hi)
        return restate(&self.index, lo, hi, <uint64_t> cutoff << 32 | expiry)

    def seeds(self) -> tuple[int, int]:
        """Return what the arena in use spreads keys by."""
        cdef Arena* arena = &self.index.arenas[self.index.using]
        return arena.seed0, arena.seed1

    def recover(self, uint64_t mixed, uint64_t seed0, uint64_t seed1) -> bytes | None:
        """Return the key that these seeds spread to `mixed`, where the index has it."""
        cdef uint64_t key[2]
        if not recovered(&self.index.arenas[self.index.using], mixed, seed0, seed1, key):
            return None
        return (<const char*> key)[:16]

    def records(self, uint64_t cursor, uint64_t slots) -> tuple[bytes, int]:
        """Return the live entries of a stretch as insert_many takes them, and where it ends."""
        cdef Arena* arena = &self.index.arenas[self.index.using]
        cdef uint64_t end = min(arena.slots, cursor + slots)
        cdef uint64_t room = end - min(cursor, end)
        cdef bytes packed = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> room * RECORD)
        cdef uint64_t size = copy_out(
            arena, cursor, end, self.index.now_s, <unsigned char*> PyBytes_AS_STRING(packed))
        return packed[:size * RECORD], (0 if end == arena.slots else end)

    def set_origins(self, Py_ssize_t count) -> None:
        """Say how many rows of the board are origins; rows behind them hold no evidence."""
        cdef Py_ssize_t row
        if not 1 <= count <= ORIGINS:
            raise ValueError("origins out of range")
        # A row that comes or goes says "never" before the count tells of it.
        for row in range(ORIGINS):
            if row >= count or <uint64_t> row >= fg_load(self.index.control + C_ORIGINS):
                fg_store(self.index.control + C_BOARD + row, 0)
        fg_store(self.index.control + C_ORIGINS, <uint64_t> count)

    def set_evidence(self, Py_ssize_t origin, int64_t boot_ns) -> None:
        """Say as of when this node is complete for an origin; after the entries, never before."""
        if not 0 <= origin < <Py_ssize_t> fg_load(self.index.control + C_ORIGINS) or boot_ns < 0:
            raise ValueError("origin or time out of range")
        fg_store(self.index.control + C_BOARD + origin, <uint64_t> boot_ns)

    def bump_urgent(self) -> int:
        """Move the urgent counter: readers judge their open streams again."""
        cdef uint64_t count = fg_load(self.index.control + C_URGENT) + 1
        fg_store(self.index.control + C_URGENT, count)
        return count

    def idle_in_use(self) -> bool:
        """Tell whether a worker slot announces another generation than the one in use."""
        cdef uint64_t now = fg_load(self.index.control + C_GENERATION)
        cdef uint64_t held
        cdef Py_ssize_t worker
        for worker in range(WORKERS):
            held = fg_load(self.workers + 8 * worker)
            if held != 0 and held != now:
                return True
        return False

    def begin_rebuild(self, uint64_t entries=0) -> bool:
        """Begin to fill the idle arena, with room for so many entries."""
        if self.index.idle == IDLE_COPYING:
            return False
        self.rebuild(min(entries, <uint64_t> MAX_CAPACITY))
        return True

    def maintain(self, int64_t now_s, uint64_t max_slots=65536) -> bool:
        """Do one slice of the upkeep; True while a rebuild is under way (call again soon)."""
        self.index.now_s = max(now_s, 0)
        if self.index.idle == IDLE_COPYING:
            step(&self.index, max_slots)
        elif pressed(&self.index):
            self.rebuild(0)
        elif self.index.idle == IDLE_DIRTY:
            # Readers notice a wiped arena, so this wait only spares them a repeated look-up.
            self.waited += 1
            if self.waited >= PATIENCE or not self.idle_in_use():
                self.clear(1 - self.index.using, FREE_BYTES)
        elif now_s >= self.census_s or self.index.cursor:
            count_expired(&self.index, max_slots)
            if self.index.cursor == 0:
                self.census_s = now_s + CENSUS_S
        return self.index.idle == IDLE_COPYING

    def stats(self) -> dict[str, int]:
        """Return counts for status and alarms."""
        cdef Arena* arena = &self.index.arenas[self.index.using]
        return {
            "generation": fg_load(self.index.control + C_GENERATION),
            "entries": live(arena),
            "capacity": self.index.most // 5 * 4,
            "used": arena.used,
            "dead": arena.dead,
            "buckets": arena.buckets,
            "bytes": ARENA_HEADER + arena.buckets * 26,
            "rebuilding": self.index.idle == IDLE_COPYING,
            "rebuilds": self.index.rebuilds,
            "abandoned": self.index.abandoned,
            "refused": self.refused,
            "applied": fg_load(self.index.control + C_APPLIED),
            "urgent": fg_load(self.index.control + C_URGENT),
        }
