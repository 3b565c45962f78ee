"""The revocation arena: one table of revoked keys, written by one process, read by many.

Owns:      the layout of an arena, and the order in which its words are stored and loaded.
Called by: _ext.revocations, which decides which arena is in use.

Rules that hold for the shared words:
- Every shared word is aligned, 8 bytes wide and accessed atomically.
- A slot is {lo, hi, meta}. meta (cutoff << 32 | expiry) is 0 while the slot is empty and is stored
  last (release); whoever loads it (acquire) as non-zero sees the finished key. A writer that dies
  in between leaves an empty slot. No key is special: the comparison is exact over 128 bits.
- The key of a slot never changes while its arena may be read. A removed entry keeps its slot.
- The bitmap bits of a key are stored after its slot. A slot whose bits are missing was never
  acknowledged to anybody; the next insert of that key sets them.
- A reader derives all it touches from header words it has checked (`bind`), so no later change of
  shared memory can lead it outside the buffer.
"""

from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #define fg_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define fg_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
    #define fg_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define fg_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
    #define fg_fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
    #define fg_fence_full() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    #define fg_prefetch(p) __builtin_prefetch((p))
    #define FG_MAGIC UINT64_C(0x7665725F65746167)      /* "gate_rev" */
    #define FG_ALWAYS UINT64_C(0xFFFFFFFF)
    #define FG_TOMBSTONE UINT64_C(0xFFFFFFFF00000000)
    static inline uint64_t fg_fold(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    static inline uint64_t fg_scale(uint64_t hash, uint64_t range) {  /* into [0, range) */
        return (uint64_t)(((unsigned __int128)hash * range) >> 64);
    }
    """
    uint64_t fg_load(const uint64_t* at) noexcept nogil
    uint64_t fg_load_relaxed(const uint64_t* at) noexcept nogil
    void fg_store(uint64_t* at, uint64_t value) noexcept nogil
    void fg_store_relaxed(uint64_t* at, uint64_t value) noexcept nogil
    void fg_fence_acquire() noexcept nogil
    void fg_fence_full() noexcept nogil
    void fg_prefetch(const void* at) noexcept nogil
    uint64_t fg_fold(uint64_t a, uint64_t b) noexcept nogil
    uint64_t fg_scale(uint64_t value, uint64_t range) noexcept nogil
    const uint64_t FG_MAGIC
    const uint64_t FG_ALWAYS         # cutoff of the id kinds: every token is before it
    const uint64_t FG_TOMBSTONE      # expiry 0, yet not empty: the run goes on behind it

cdef enum:
    LAYOUT = 1
    ARENA_HEADER = 128               # bytes
    MIN_BUCKETS = 1024
    # The longest run of slots that is followed; at load 0.9 the longest run of a table of 20
    # million is about 3,100 (ln n / (a - 1 - ln a)).
    PROBE_LIMIT = 4096
    SLOT_WORDS = 3
    A_MAGIC = 0                      # header words
    A_VERSION = 1
    A_BUCKETS = 2
    A_SEED0 = 3
    A_SEED1 = 4
    A_GENERATION = 5                 # under which it was published; 0 while it is being filled

cdef enum:                           # 0 is no outcome
    PUT_NEW = 1
    PUT_MERGED = 2
    PUT_FULL = 3

cdef struct Arena:
    unsigned char* base
    uint64_t size                    # bytes
    uint64_t buckets
    uint64_t slots                   # the buckets, and room behind the last: runs never wrap
    uint64_t words                   # of the bitmap: 16 bits a bucket
    uint64_t seed0
    uint64_t seed1
    uint64_t* bitmap
    uint64_t* table
    uint64_t used                    # the writer's counts: slots that are not empty,
    uint64_t dead                    # and those of them that are removed or expired


cdef inline uint64_t extent(uint64_t buckets) noexcept nogil:
    return ARENA_HEADER + buckets * 2 + (buckets + PROBE_LIMIT) * (SLOT_WORDS * 8)


cdef inline bint bind(Arena* arena, uint64_t generation) noexcept nogil:
    # True if the header is that of an arena published under `generation` and lies in the buffer.
    cdef uint64_t* header = <uint64_t*> arena.base
    cdef uint64_t buckets = fg_load_relaxed(header + A_BUCKETS)
    if (fg_load(header + A_MAGIC) != FG_MAGIC or fg_load_relaxed(header + A_VERSION) != LAYOUT
            or fg_load_relaxed(header + A_GENERATION) != generation):
        return False
    # The division comes first: an extent of hostile size would wrap around.
    if (buckets < MIN_BUCKETS or buckets % 64 or buckets > arena.size // 26
            or extent(buckets) > arena.size):
        return False
    arena.buckets = buckets
    arena.slots = buckets + PROBE_LIMIT
    arena.words = buckets // 4
    arena.seed0 = fg_load_relaxed(header + A_SEED0)
    arena.seed1 = fg_load_relaxed(header + A_SEED1)
    arena.bitmap = <uint64_t*> (arena.base + ARENA_HEADER)
    arena.table = <uint64_t*> (arena.base + ARENA_HEADER + buckets * 2)
    return True


cdef inline uint64_t spread(const Arena* arena, uint64_t lo, uint64_t hi) noexcept nogil:
    # Keys are keyed hashes already; the seeds keep even who knows that key from choosing buckets.
    # Both arenas share their seeds, so a copy reads and writes in the same, rising order.
    return fg_fold(lo ^ arena.seed0, hi ^ arena.seed1)


cdef inline uint64_t bits(uint64_t mixed) noexcept nogil:
    # Four bits of one word: the top of `mixed` chose the word, its bottom chooses the bits. At load
    # 0.8 about 3 absent keys of 1,000 pass; the table then decides exactly.
    return ((<uint64_t> 1 << (mixed & 63)) | (<uint64_t> 1 << ((mixed >> 6) & 63))
            | (<uint64_t> 1 << ((mixed >> 12) & 63)) | (<uint64_t> 1 << ((mixed >> 18) & 63)))


cdef inline uint64_t* bitmap_word(const Arena* arena, uint64_t mixed) noexcept nogil:
    return arena.bitmap + fg_scale(mixed, arena.words)


cdef inline uint64_t* locate(const Arena* arena, uint64_t mixed, uint64_t lo,
                             uint64_t hi) noexcept nogil:
    # The slot of this key, else the empty slot that ends its run, else NULL: the run is too long.
    cdef uint64_t* slot = arena.table + fg_scale(mixed, arena.buckets) * SLOT_WORDS
    cdef uint64_t* end = slot + PROBE_LIMIT * SLOT_WORDS
    while slot < end:
        if fg_load(slot + 2) == 0:
            return slot
        if fg_load_relaxed(slot) == lo and fg_load_relaxed(slot + 1) == hi:
            return slot
        slot += SLOT_WORDS
    return NULL


cdef inline uint64_t lookup(const Arena* arena, uint64_t mixed, uint64_t lo,
                            uint64_t hi) noexcept nogil:
    # meta of the key; 0 where it is absent.
    cdef uint64_t wanted = bits(mixed)
    cdef uint64_t* slot
    if fg_load(bitmap_word(arena, mixed)) & wanted != wanted:
        return 0
    slot = locate(arena, mixed, lo, hi)
    return 0 if slot == NULL else fg_load_relaxed(slot + 2)


cdef inline bint over(uint64_t meta, int64_t now_s) noexcept nogil:
    # Empty, removed (expiry 0, whatever the clock), or expired: an entry lives before its expiry.
    return meta & FG_ALWAYS == 0 or <int64_t> (meta & FG_ALWAYS) <= now_s


cdef inline uint64_t merge(uint64_t old, uint64_t new, int64_t now_s) noexcept nogil:
    # The later cutoff and the later expiry. What is over counts for nothing, so the outcome does
    # not depend on whether a rebuild has left it out already.
    if over(old, now_s):
        return new
    return (max(old >> 32, new >> 32) << 32) | max(old & FG_ALWAYS, new & FG_ALWAYS)


cdef inline int put(Arena* arena, uint64_t lo, uint64_t hi, uint64_t* meta, bint merging,
                    int64_t now_s) noexcept nogil:
    # Stores meta, or what it merges to, which it hands back.
    cdef uint64_t mixed = spread(arena, lo, hi)
    cdef uint64_t* slot = locate(arena, mixed, lo, hi)
    cdef uint64_t* word = bitmap_word(arena, mixed)
    cdef uint64_t wanted = bits(mixed)
    cdef uint64_t old
    if slot == NULL:
        return PUT_FULL
    old = fg_load_relaxed(slot + 2)
    if old == 0:
        if arena.used >= arena.buckets - arena.buckets // 10:
            return PUT_FULL
        fg_store_relaxed(slot, lo)
        fg_store_relaxed(slot + 1, hi)
        arena.used += 1
    elif merging:
        meta[0] = merge(old, meta[0], now_s)
    if old != meta[0]:
        fg_store(slot + 2, meta[0])
    if fg_load_relaxed(word) & wanted != wanted:
        fg_store(word, fg_load_relaxed(word) | wanted)
    if not over(old, now_s):
        return PUT_MERGED
    if old and arena.dead:
        arena.dead -= 1              # it was counted; if it is still dead, the next count says so
    return PUT_NEW


cdef inline bint bury(Arena* arena, uint64_t lo, uint64_t hi, int64_t now_s) noexcept nogil:
    # Removes the key; False where it is absent. Its slot and bits stay until the next rebuild.
    cdef uint64_t* slot = locate(arena, spread(arena, lo, hi), lo, hi)
    if slot == NULL or over(fg_load_relaxed(slot + 2), now_s):
        return False
    fg_store(slot + 2, FG_TOMBSTONE)
    arena.dead += 1
    return True


cdef inline void wipe(Arena* arena) noexcept nogil:
    # The magic goes last: a wipe that was cut short is recognised, and done again.
    cdef uint64_t* word = <uint64_t*> arena.base
    cdef uint64_t* end = word + arena.size // 8
    cdef uint64_t buckets = fg_load_relaxed(word + A_BUCKETS)
    if MIN_BUCKETS <= buckets <= arena.size // 26 and extent(buckets) <= arena.size:
        end = word + extent(buckets) // 8
    word += ARENA_HEADER // 8
    while word < end:
        fg_store_relaxed(word, 0)
        word += 1
    fg_fence_full()
    fg_store(<uint64_t*> arena.base + A_MAGIC, 0)


cdef inline void form(Arena* arena, uint64_t buckets, uint64_t seed0,
                      uint64_t seed1) noexcept nogil:
    # An empty arena in wiped memory. The magic comes after its words and before the first slot.
    cdef uint64_t* header = <uint64_t*> arena.base
    fg_store_relaxed(header + A_VERSION, LAYOUT)
    fg_store_relaxed(header + A_BUCKETS, buckets)
    fg_store_relaxed(header + A_SEED0, seed0)
    fg_store_relaxed(header + A_SEED1, seed1)
    fg_store_relaxed(header + A_GENERATION, 0)
    fg_store(header + A_MAGIC, FG_MAGIC)
    fg_fence_full()
    bind(arena, 0)
    arena.used = arena.dead = 0
