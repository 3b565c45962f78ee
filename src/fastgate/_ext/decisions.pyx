# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Decisions: facts about tokens whose signature this worker has already verified.

Owns:      one table of references to facts, found by a 32-byte digest; one per worker.
Called by: hotpath.gate through hotpath.native, once a request; one thread, never shared.
Holds:     what is true of a token for ever (it was signed, it says this). Expiry, revocation,
           audience, scope and region are judged by the caller on every hit.

An open table of sets of eight. A set is five cache lines: the first word of each digest, then
per entry the other three words beside the reference, so that a hit reads two lines. All 256
bits are compared, so a hit is never another token's. A client can grind tokens, but not aim
them at one set, because the set is chosen under a random seed that never leaves the process.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import os

cdef extern from *:
    """
    #include <stdint.h>
    /* Both halves of a 128-bit product folded: every input bit reaches the high bits. */
    static inline uint64_t fg_fold(uint64_t a, uint64_t b) {
        unsigned __int128 p = (unsigned __int128)a * b;
        return (uint64_t)(p >> 64) ^ (uint64_t)p;
    }
    /* Maps 64 even bits onto [0, n) without a division. */
    static inline uint64_t fg_range(uint64_t bits, uint64_t n) {
        return (uint64_t)(((unsigned __int128)bits * n) >> 64);
    }
    """
    uint64_t fg_fold(uint64_t a, uint64_t b) noexcept nogil
    uint64_t fg_range(uint64_t bits, uint64_t n) noexcept nogil

cdef enum:
    DIGEST_BYTES = 32
    WAYS = 8
    LINE_BYTES = 64

# Reason: 2 ** 24 entries are 640 MiB of table in each worker; past that it is a typing error.
cdef uint64_t MAX_CAPACITY = 1 << 24

# Objects are aligned to 8 bytes at least, so the low bit of a reference is free to say "hit
# since the hand last passed". It shares the line that a hit reads anyway.
cdef uintptr_t REFERENCED = 1

cdef struct Entry:
    uint64_t rest[3]       # digest words 1 to 3
    uintptr_t facts        # owned reference and the REFERENCED bit; 0: empty

cdef struct Set:
    uint64_t first[WAYS]   # digest word 0 of each entry
    Entry entry[WAYS]


@cython.final
cdef class DecisionCache:
    """See decisions.pyi."""

    cdef void* block
    cdef Set* sets
    cdef uint8_t* hands    # per set: the way where the next search for a victim begins
    cdef uint64_t set_count
    cdef uint64_t seed_low
    cdef uint64_t seed_high
    cdef Py_ssize_t max_weight_bytes
    cdef Py_ssize_t entries
    cdef uint64_t hits
    cdef uint64_t misses
    cdef uint64_t evictions

    def __cinit__(self, Py_ssize_t capacity, Py_ssize_t max_weight_bytes=1024, *, bytes seed=None):
        if capacity < 1 or <uint64_t>capacity > MAX_CAPACITY:
            raise ValueError("capacity is outside 1 .. 2 ** 24 entries")
        if max_weight_bytes < 1:
            raise ValueError("max_weight_bytes must be positive")
        if seed is None:
            seed = os.urandom(16)
        if PyBytes_GET_SIZE(seed) != 16:
            raise ValueError("a seed is 16 bytes")
        memcpy(&self.seed_low, PyBytes_AS_STRING(seed), 8)
        memcpy(&self.seed_high, PyBytes_AS_STRING(seed) + 8, 8)
        self.max_weight_bytes = max_weight_bytes
        self.set_count = (<uint64_t>capacity + WAYS - 1) // WAYS
        # calloc: the kernel gives zero pages on first touch, so an unused table costs nothing.
        self.block = calloc(self.block_bytes(), 1)
        if self.block == NULL:
            raise MemoryError
        self.sets = <Set*>(
            (<uintptr_t>self.block + LINE_BYTES - 1) & ~(<uintptr_t>(LINE_BYTES - 1))
        )
        self.hands = <uint8_t*>(self.sets + self.set_count)

    def __dealloc__(self):
        if self.block != NULL:
            self.release_all()
            free(self.block)

    def __len__(self):
        return self.entries

    def __sizeof__(self):
        return <Py_ssize_t>sizeof(DecisionCache) + <Py_ssize_t>self.block_bytes()

    @property
    def capacity(self):
        return self.set_count * WAYS

    def get(self, bytes digest not None):
        cdef uint64_t word[4]
        cdef Set* home = self.find_set(digest, word)
        cdef int way
        if home == NULL:
            raise ValueError("a digest is 32 bytes")
        way = find_way(home, word)
        if way < 0:
            self.misses += 1
            return None
        self.hits += 1
        if not home.entry[way].facts & REFERENCED:   # do not dirty a line for nothing
            home.entry[way].facts |= REFERENCED
        return <object>pointer_of(home.entry[way].facts)

    def put(self, bytes digest not None, object facts not None, Py_ssize_t weight_bytes):
        cdef uint64_t word[4]
        cdef Set* home = self.find_set(digest, word)
        cdef int way
        cdef uintptr_t old
        if home == NULL:
            raise ValueError("a digest is 32 bytes")
        if weight_bytes < 0:
            raise ValueError("a weight is not negative")
        if weight_bytes > self.max_weight_bytes:
            return False
        way = find_way(home, word)
        if way < 0:
            way = self.free_way(home)
        old = home.entry[way].facts
        home.first[way] = word[0]
        home.entry[way].rest[0] = word[1]
        home.entry[way].rest[1] = word[2]
        home.entry[way].rest[2] = word[3]
        # Not yet REFERENCED: a token seen once leaves before one that came back.
        Py_INCREF(facts)
        home.entry[way].facts = <uintptr_t><PyObject*>facts
        self.entries += 1
        # Last, when the table is whole again: giving up a reference may run foreign code
        # that calls this object.
        if old != 0:
            self.entries -= 1
            Py_DECREF(<object>pointer_of(old))
        return True

    def drop(self, bytes digest not None):
        cdef uint64_t word[4]
        cdef Set* home = self.find_set(digest, word)
        cdef int way
        cdef uintptr_t old
        if home == NULL:
            raise ValueError("a digest is 32 bytes")
        way = find_way(home, word)
        if way < 0:
            return False
        old = home.entry[way].facts
        home.entry[way].facts = 0
        self.entries -= 1
        Py_DECREF(<object>pointer_of(old))
        return True

    def clear(self):
        self.release_all()

    def stats(self):
        return self.entries, self.hits, self.misses, self.evictions

    cdef size_t block_bytes(self) noexcept nogil:
        return <size_t>(self.set_count * (sizeof(Set) + 1) + LINE_BYTES)

    cdef Set* find_set(self, bytes digest, uint64_t* word) noexcept:
        # NULL when the digest has the wrong size; else `word` holds its four words.
        if PyBytes_GET_SIZE(digest) != DIGEST_BYTES:
            return NULL
        memcpy(word, PyBytes_AS_STRING(digest), DIGEST_BYTES)
        return &self.sets[
            fg_range(
                fg_fold(word[2] ^ self.seed_low, word[3] ^ self.seed_high), self.set_count
            )
        ]

    cdef int free_way(self, Set* home) noexcept:
        # An empty way, else CLOCK's second chance; the caller takes over the victim. Ends
        # within WAYS + 1 steps of the hand: the first round clears every bit it passes.
        cdef int way
        cdef uint8_t* hand = &self.hands[home - self.sets]
        for way in range(WAYS):
            if home.entry[way].facts == 0:
                return way
        self.evictions += 1
        while home.entry[hand[0]].facts & REFERENCED:
            home.entry[hand[0]].facts &= ~REFERENCED
            hand[0] = <uint8_t>((hand[0] + 1) % WAYS)
        way = hand[0]
        hand[0] = <uint8_t>((hand[0] + 1) % WAYS)
        return way

    cdef int release_all(self) except -1:
        # Each step leaves the table whole, because Py_DECREF may run foreign code.
        cdef uint64_t index
        cdef int way
        cdef uintptr_t old
        for index in range(self.set_count):
            for way in range(WAYS):
                old = self.sets[index].entry[way].facts
                if old != 0:
                    self.sets[index].entry[way].facts = 0
                    self.entries -= 1
                    Py_DECREF(<object>pointer_of(old))
        return 0


cdef inline PyObject* pointer_of(uintptr_t facts) noexcept nogil:
    return <PyObject*>(facts & ~REFERENCED)


cdef inline int find_way(const Set* home, const uint64_t* word) noexcept nogil:
    # The way that holds exactly this digest, or -1. Word 0 alone only pre-selects: an empty
    # way keeps old words, and two digests may share one.
    cdef int way
    cdef const Entry* entry
    for way in range(WAYS):
        if home.first[way] == word[0]:
            entry = &home.entry[way]
            if (
                entry.facts != 0
                and entry.rest[0] == word[1]
                and entry.rest[1] == word[2]
                and entry.rest[2] == word[3]
            ):
                return way
    return -1
