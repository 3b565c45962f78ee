"""The revocation index: the control segment, and which of two arenas is in use.

Owns:      generation and freshness board, the order in which both move, and the rebuild.
Called by: _ext.revocations. Nothing here raises, allocates or touches an object.
Source:    REVOCATION section 4 (entries before evidence; board and index in one generation).

Rules that hold here:
- The arena in use is `generation & 1`; the other one is idle. Growth, clean-up and a successor fill
  the idle one with the valid slots of the arena in use, while changes go to both, in use first;
  then the generation moves. Nothing is ever repaired in place.
- A reader loads generation, evidence, entries, and the generation again. If it moved, it starts
  over. So the idle arena may be wiped under a slow reader: it cannot answer from it. And evidence
  that is newer than the arena in its hand, it can only have seen together with the move.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from fastgate._ext.revocation_arena cimport (
    FG_ALWAYS, FG_MAGIC, LAYOUT, A_GENERATION, MIN_BUCKETS, PROBE_LIMIT, PUT_FULL, SLOT_WORDS,
    Arena, bind, bitmap_word, bury, fg_fence_acquire, fg_fence_full, fg_fold, fg_load,
    fg_load_relaxed, fg_prefetch, fg_scale, fg_store, fg_store_relaxed, form, locate, lookup, over,
    put, spread,
)

cdef enum:                           # answers of a check; 0 is none
    SAYS_CLEAR = 1
    SAYS_REVOKED = 2
    SAYS_STALE_HOME = 3
    SAYS_STALE_GLOBAL = 4
    SAYS_UNSTABLE = 5

cdef enum:                           # words of the control segment; a line each where writes differ
    C_MAGIC = 0
    C_VERSION = 1
    C_ORIGINS = 2
    C_GENERATION = 8
    C_URGENT = 16
    C_APPLIED = 17
    C_ENTRIES = 18
    C_BOARD = 64                     # evidence, a word an origin

cdef enum:
    ORIGINS = 64
    KEYS = 16                        # a token names at most seven, twice while a hash key rotates
    WORKERS = 256
    CONTROL_SIZE = 4096              # bytes
    INSERT_STEP = 64                 # slots copied per insert: growth begun at 0.8 ends before 0.9
    # Evidence ahead of the reader's clock by more is none. A little is honest: the reader took its
    # clock first and was stopped. (A decision older than a second is made again anyway.)
    AHEAD_NS = 1000000000

cdef enum:                           # the idle arena
    IDLE_DIRTY = 1
    IDLE_CLEAN = 2
    IDLE_COPYING = 3

cdef struct Index:                   # what the one writer knows
    uint64_t* control
    Arena arenas[2]
    int using                        # index of the arena in use
    int idle                         # state of the other one
    uint64_t most                    # buckets the arenas have room for
    uint64_t cursor                  # next slot to copy, or to count
    uint64_t expired                 # found so far by the count
    int64_t now_s                    # as last told
    int64_t began_s                  # `now_s` when the copy began: what was over is left out
    uint64_t floor                   # entries the next table must hold at least
    bint reseed                      # the next table gets seeds of its own
    uint64_t rebuilds
    uint64_t abandoned


cdef inline Arena* enter(const uint64_t* control, Arena* arenas, uint64_t* seen) noexcept nogil:
    # The arena in use, and its generation in `seen`; NULL where there is none to be trusted.
    cdef uint64_t generation = fg_load(control + C_GENERATION)
    cdef Arena* arena = &arenas[generation & 1]
    if generation == seen[0] and generation != 0:
        return arena
    if (generation == 0 or fg_load(control + C_MAGIC) != FG_MAGIC
            or fg_load_relaxed(control + C_VERSION) != LAYOUT or not bind(arena, generation)):
        return NULL
    seen[0] = generation
    return arena


cdef inline bint unmoved(const uint64_t* control, uint64_t generation) noexcept nogil:
    fg_fence_acquire()               # no load above may be done below
    return fg_load_relaxed(control + C_GENERATION) == generation


cdef inline bint fresh(const uint64_t* control, int64_t origin, int64_t now_ns,
                       int64_t max_age_ns) noexcept nogil:
    # -1 stands for every origin: the oldest one decides. Acquire: entries come before evidence.
    cdef uint64_t count = fg_load_relaxed(control + C_ORIGINS)
    cdef int64_t first = 0 if origin == -1 else origin
    cdef int64_t end, at
    if (count == 0 or count > ORIGINS or origin < -1 or origin >= <int64_t> count
            or now_ns < 0 or max_age_ns < 0):
        return False
    end = <int64_t> count if origin == -1 else origin + 1
    while first < end:
        at = <int64_t> fg_load(control + C_BOARD + first)
        if at <= 0 or at - now_ns > AHEAD_NS or now_ns - at > max_age_ns:
            return False
        first += 1
    return True


cdef inline int search(const Arena* arena, const char* keys, Py_ssize_t count, int64_t iat,
                       int64_t now_s) noexcept nogil:
    # 0, or SAYS_REVOKED with the index of the first key that has a live entry which matches.
    cdef uint64_t lo[KEYS]
    cdef uint64_t hi[KEYS]
    cdef uint64_t mixed[KEYS]
    cdef uint64_t meta
    cdef Py_ssize_t i
    for i in range(count):           # all cache misses at once
        memcpy(&lo[i], keys + 16 * i, 8)
        memcpy(&hi[i], keys + 16 * i + 8, 8)
        mixed[i] = spread(arena, lo[i], hi[i])
        fg_prefetch(bitmap_word(arena, mixed[i]))
    for i in range(count):
        meta = lookup(arena, mixed[i], lo[i], hi[i])
        if over(meta, now_s):
            continue
        if meta >> 32 == FG_ALWAYS or iat <= <int64_t> (meta >> 32):
            return SAYS_REVOKED | <int> i << 8
    return 0


cdef inline bint last(const Arena* arena, uint64_t slot, uint64_t meta) noexcept nogil:
    # Behind the last bucket only a run goes on; looking past it would touch pages for nothing.
    return meta == 0 and slot >= arena.buckets


cdef inline uint64_t live(const Arena* arena) noexcept nogil:
    return arena.used - min(arena.used, arena.dead)


cdef inline void tell(Index* index, uint64_t changes) noexcept nogil:
    cdef uint64_t* applied = index.control + C_APPLIED
    fg_store(applied, fg_load_relaxed(applied) + changes)
    fg_store(index.control + C_ENTRIES, live(&index.arenas[index.using]))


cdef inline bint pressed(const Index* index) noexcept nogil:
    # Time to rebuild: too full to grow later, or an eighth is dead (48 bytes a live entry).
    cdef const Arena* arena = &index.arenas[index.using]
    if arena.dead * 8 >= arena.used and arena.used * 2 >= <uint64_t> MIN_BUCKETS:
        return True
    return arena.used * 5 >= arena.buckets * 4 and arena.buckets < index.most


cdef inline bint relievable(const Index* index) noexcept nogil:
    # An insert found no room. Can a rebuild help: by growing, by other seeds, by leaving out?
    cdef const Arena* arena = &index.arenas[index.using]
    return (arena.buckets < index.most or arena.used < arena.buckets - arena.buckets // 10
            or live(arena) < index.most // 5 * 4)


cdef inline void begin(Index* index, uint64_t entries, const uint64_t* seeds) noexcept nogil:
    # The idle arena must be clean. Load 0.64 after a rebuild and 0.8 before the next one make 40.6
    # to 32.5 bytes an entry.
    cdef uint64_t buckets = max(live(&index.arenas[index.using]), max(entries, index.floor))
    buckets = (buckets * 25 // 16 // 64 + 1) * 64
    buckets = min(index.most, max(<uint64_t> MIN_BUCKETS, buckets))
    form(&index.arenas[1 - index.using], buckets, seeds[0], seeds[1])
    index.reseed = False
    index.floor = 0
    index.idle = IDLE_COPYING
    index.cursor = 0
    index.began_s = index.now_s


cdef inline void publish(Index* index) noexcept nogil:
    cdef uint64_t generation = fg_load_relaxed(index.control + C_GENERATION) + 1
    fg_store(<uint64_t*> index.arenas[generation & 1].base + A_GENERATION, generation)
    fg_store(index.control + C_GENERATION, generation)
    fg_fence_full()                  # nobody sees the old arena wiped and the old generation
    index.using = 1 - index.using
    index.idle = IDLE_DIRTY
    index.cursor = index.expired = 0
    index.rebuilds += 1
    tell(index, 0)


cdef inline void abandon(Index* index) noexcept nogil:
    # A run grew too long or the table too small: next time other seeds and more room. The arena in
    # use has everything and serves on.
    index.idle = IDLE_DIRTY
    index.reseed = True
    index.floor = index.arenas[index.using].used
    index.cursor = index.expired = 0
    index.abandoned += 1


cdef inline void step(Index* index, uint64_t slots) noexcept nogil:
    # Copies the next slots; publishes behind the last.
    cdef Arena* old = &index.arenas[index.using]
    cdef Arena* new = &index.arenas[1 - index.using]
    cdef uint64_t end = index.cursor + min(slots, old.slots - index.cursor)
    cdef uint64_t* slot
    cdef uint64_t meta
    while index.cursor < end:
        slot = old.table + index.cursor * SLOT_WORDS
        meta = slot[2]               # plain loads: this process is the only one that writes them
        if last(old, index.cursor, meta):
            index.cursor = old.slots
            break
        if (not over(meta, index.began_s)
                and put(new, slot[0], slot[1], &meta, False, index.began_s) == PUT_FULL):
            abandon(index)
            return
        index.cursor += 1
    if index.cursor == old.slots:
        publish(index)


cdef inline void count_expired(Index* index, uint64_t slots) noexcept nogil:
    # One pass over the arena in use, `slots` a call; ends with cursor at 0 and `dead` exact.
    cdef Arena* arena = &index.arenas[index.using]
    cdef uint64_t end = index.cursor + min(slots, arena.slots - index.cursor)
    cdef uint64_t meta
    while index.cursor < end:
        meta = arena.table[index.cursor * SLOT_WORDS + 2]
        if last(arena, index.cursor, meta):
            index.cursor = arena.slots
            break
        index.expired += meta != 0 and over(meta, index.now_s)
        index.cursor += 1
    if index.cursor == arena.slots:
        arena.dead = index.expired
        index.cursor = index.expired = 0
        tell(index, 0)


cdef inline int apply(Index* index, uint64_t lo, uint64_t hi, uint64_t meta) noexcept nogil:
    # The arena in use first: it is what readers see, and what a successor copies.
    cdef int code = put(&index.arenas[index.using], lo, hi, &meta, True, index.now_s)
    if code == PUT_FULL:
        return code
    # The idle one gets what the merge came to, unless the copy would leave it out.
    if (index.idle == IDLE_COPYING and not over(meta, index.began_s) and put(
            &index.arenas[1 - index.using], lo, hi, &meta, False, index.began_s) == PUT_FULL):
        abandon(index)
    tell(index, 1)
    return code


cdef inline bint retract(Index* index, uint64_t lo, uint64_t hi) noexcept nogil:
    if not bury(&index.arenas[index.using], lo, hi, index.now_s):
        return False
    if index.idle == IDLE_COPYING:
        bury(&index.arenas[1 - index.using], lo, hi, index.now_s)
    tell(index, 1)
    return True


cdef inline bint restate(Index* index, uint64_t lo, uint64_t hi, uint64_t meta) noexcept nogil:
    # Lowers an entry to `meta`, in one store: no reader finds less than that in between.
    cdef Arena* arena = &index.arenas[index.using]
    cdef uint64_t* slot = locate(arena, spread(arena, lo, hi), lo, hi)
    if over(meta, index.now_s):
        return retract(index, lo, hi)
    if slot == NULL or over(fg_load_relaxed(slot + 2), index.now_s):
        return False
    fg_store(slot + 2, meta)
    if index.idle == IDLE_COPYING:   # what is not copied yet will be, as it is now
        arena = &index.arenas[1 - index.using]
        slot = locate(arena, spread(arena, lo, hi), lo, hi)
        if slot != NULL and fg_load_relaxed(slot + 2) != 0:
            fg_store(slot + 2, meta)
    tell(index, 1)
    return True


cdef inline bint recovered(const Arena* arena, uint64_t mixed, uint64_t seed0, uint64_t seed1,
                           uint64_t* key) noexcept nogil:
    # Finds the key that these seeds spread to `mixed`: in its run where they are the arena's.
    cdef uint64_t at = 0
    cdef uint64_t end = arena.slots
    cdef uint64_t* slot
    if seed0 == arena.seed0 and seed1 == arena.seed1:
        at = fg_scale(mixed, arena.buckets)
        end = min(end, at + PROBE_LIMIT)
    while at < end:
        slot = arena.table + at * SLOT_WORDS
        if fg_load_relaxed(slot + 2) and fg_fold(slot[0] ^ seed0, slot[1] ^ seed1) == mixed:
            key[0], key[1] = slot[0], slot[1]
            return True
        at += 1
    return False


cdef inline uint64_t copy_out(const Arena* arena, uint64_t at, uint64_t end, int64_t now_s,
                              unsigned char* packed) noexcept nogil:
    # Packs what is live in [at, end) as records of key, cutoff and expiry; returns how many.
    cdef uint64_t count = 0
    cdef uint64_t* slot
    cdef uint64_t meta
    while at < end:
        slot = arena.table + at * SLOT_WORDS
        meta = fg_load_relaxed(slot + 2)
        if not over(meta, now_s):
            memcpy(packed, slot, 16)
            meta = meta >> 32 | meta << 32
            memcpy(packed + 16, &meta, 8)
            packed += 24
            count += 1
        at += 1
    return count


cdef inline bint adopt(Index* index) noexcept nogil:
    # After a writer that is gone: binds what it published, and counts it.
    cdef uint64_t seen = 0
    cdef uint64_t i, meta
    cdef Arena* arena = enter(index.control, index.arenas, &seen)
    if arena == NULL:
        return False
    index.using = <int> (seen & 1)
    index.idle = IDLE_DIRTY
    arena.used = arena.dead = 0
    for i in range(arena.slots):
        meta = arena.table[i * SLOT_WORDS + 2]
        if last(arena, i, meta):
            break
        arena.used += meta != 0
        arena.dead += meta != 0 and over(meta, index.now_s)
    return True


cdef inline void found(Index* index, const uint64_t* seeds) noexcept nogil:
    # In clean arenas. The magic comes last: after a founder that was killed comes another founder.
    cdef Py_ssize_t word
    for word in range(CONTROL_SIZE // 8):
        fg_store_relaxed(index.control + word, 0)
    index.using = 1
    index.idle = IDLE_CLEAN
    form(&index.arenas[1], MIN_BUCKETS, seeds[0], seeds[1])
    fg_store(<uint64_t*> index.arenas[1].base + A_GENERATION, 1)
    fg_store_relaxed(index.control + C_VERSION, LAYOUT)
    fg_store(index.control + C_GENERATION, 1)
    fg_store(index.control + C_MAGIC, FG_MAGIC)
