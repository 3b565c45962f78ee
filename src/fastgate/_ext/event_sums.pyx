"""Event sums: an order-free sum over a publisher's live events, in expiry buckets.

Owns:      what one publisher said: numbers seen, numbers missing, the sum by expiry.
Called by: control.origin, one object a publisher and origin, through domain.digest.
Source:    REVOCATION.md section 4 (digest). It detects loss; only signatures detect lies.

Sums are modulo 2^128. A bucket takes 20 octets and stands for all events of one second.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove

from fastgate._ext.event_frame cimport EventFrame
from fastgate._ext.event_share cimport Sum, fg_sum_hi, fg_sum_lo, fg_sum_of, share_of

import struct

cdef enum:
    # An origin's wall clock may be set back by an hour and the sum be asked again.
    KEEP_AFTER_EXPIRY_S = 7200
    SWEEP_S = 64                     # the walk over all buckets stays rare
    MOST_RECENT = 65536              # events between two markers; the mark may name any of them
    MOST_HOLES = 4096                # each is one lost or expired stretch; then a re-read decides
    MOST_ID = 64
    _HEAD_SIZE = 40                  # of what `dump` gives, and `load` unpacks
    _PAIR_SIZE = 16
    _RECENT_SIZE = 28
    _BUCKET_SIZE = 20

cdef uint64_t MIX = <uint64_t> 0x9E3779B97F4A7C15

cdef struct Bucket:
    uint64_t hi
    uint64_t lo

cdef struct Recent:
    uint64_t seq
    uint64_t hi
    uint64_t lo
    uint32_t expires

cdef struct Hole:                    # half-open
    uint64_t start
    uint64_t end


def term(str id_ not None, uint32_t expires) -> int:
    """Return an event's share of the sum."""
    cdef bytes raw = id_.encode("ascii")
    cdef Sum share
    if not 1 <= len(raw) <= MOST_ID:
        raise ValueError("an id has 1 to 64 octets")
    share = share_of(<const unsigned char*> <const char*> raw, <size_t> len(raw), expires)
    return <object> fg_sum_hi(share) << 64 | <object> fg_sum_lo(share)


@cython.final
cdef class PublisherState:
    """What one publisher has said in one stream, as far as it was read."""

    cdef readonly uint64_t last
    cdef Hole* gaps
    cdef Py_ssize_t gap_count
    cdef uint32_t* seconds           # of the buckets; 0: free
    cdef Bucket* buckets
    cdef uint64_t room               # a power of two
    cdef uint64_t used
    cdef Sum total
    cdef Sum expired                 # the buckets with an expiry at or before `wall`
    cdef int64_t wall
    cdef int64_t swept
    cdef Recent* recent              # a ring
    cdef Py_ssize_t ring
    cdef Py_ssize_t first
    cdef Py_ssize_t recents
    cdef uint64_t dropped

    def __dealloc__(self):
        free(self.gaps)
        free(self.seconds)
        free(self.buckets)
        free(self.recent)

    # -- numbers ---------------------------------------------------------------------

    @property
    def holes(self) -> list:
        """Half-open ranges below `last` that were not seen."""
        return [(self.gaps[i].start, self.gaps[i].end) for i in range(self.gap_count)]

    cdef int hole(self, Py_ssize_t at, uint64_t start, uint64_t end) except -1:
        # Inserts one before index `at`.
        cdef size_t size = <size_t> (self.gap_count + 1) * sizeof(Hole)
        cdef Hole* grown = <Hole*> realloc(self.gaps, size)
        if grown == NULL:
            raise MemoryError()
        self.gaps = grown
        memmove(grown + at + 1, grown + at, <size_t> (self.gap_count - at) * sizeof(Hole))
        grown[at].start, grown[at].end = start, end
        self.gap_count += 1
        return 0

    cdef int fill(self, uint64_t seq) except -1:
        # 1 where that number was missing, and is not any more.
        cdef Py_ssize_t i
        cdef Hole found
        for i in range(self.gap_count):
            found = self.gaps[i]
            if not found.start <= seq < found.end:
                continue
            if seq + 1 < found.end:
                self.gaps[i].start = seq + 1
                if seq > found.start:
                    self.hole(i, found.start, seq)
            elif seq > found.start:
                self.gaps[i].end = seq
            else:
                self.gap_count -= 1
                memmove(self.gaps + i, self.gaps + i + 1,
                        <size_t> (self.gap_count - i) * sizeof(Hole))
            return 1
        return 0

    def missing(self, uint64_t seq) -> bool:
        """Tell whether a number was not seen."""
        cdef Py_ssize_t i
        for i in range(self.gap_count):
            if self.gaps[i].start <= seq < self.gaps[i].end:
                return True
        return seq > self.last

    # -- events ----------------------------------------------------------------------

    def add(self, uint64_t seq, str id_ not None, uint32_t expires) -> bool:
        """Count an event once; False where that number was seen before."""
        cdef bytes raw = id_.encode("ascii")
        if not 1 <= len(raw) <= MOST_ID:
            raise ValueError("an id has 1 to 64 octets")
        return self.count(seq, <const unsigned char*> <const char*> raw,
                          <size_t> len(raw), expires)

    def add_frame(self, EventFrame frame not None) -> int:
        """Count the events of a batch; return how many were new."""
        cdef Py_ssize_t i
        cdef int fresh = 0
        for i in range(frame.count):
            fresh += self.count(frame.seq + <uint64_t> i, frame.events[i].id,
                                frame.events[i].id_size, frame.events[i].expires)
        return fresh

    cdef int count(self, uint64_t seq, const unsigned char* id, size_t size,
                   uint32_t expires) except -1:
        cdef Sum share
        if seq <= self.last:
            if not self.fill(seq):
                return 0
        else:
            if seq > self.last + 1 and self.gap_count < MOST_HOLES:
                self.hole(self.gap_count, self.last + 1, seq)
            self.last = seq
        share = share_of(id, size, expires)
        self.put(expires, share)
        self.total += share
        if expires <= self.wall:
            self.expired += share
        self.remember(seq, share, expires)
        return 1

    cdef uint64_t place(self, uint32_t expires) noexcept nogil:
        cdef uint64_t at = (expires * MIX) >> 32 & (self.room - 1)
        while self.seconds[at] != 0 and self.seconds[at] != expires:
            at = (at + 1) & (self.room - 1)
        return at

    cdef int put(self, uint32_t expires, Sum share) except -1:
        cdef uint64_t at
        cdef Sum known
        if self.used * 4 >= self.room * 3:
            self.resize(max(<uint64_t> 64, self.room * 2), 0)
        at = self.place(expires)
        if self.seconds[at] == 0:
            self.seconds[at] = expires
            self.used += 1
        known = fg_sum_of(self.buckets[at].hi, self.buckets[at].lo) + share
        self.buckets[at].hi, self.buckets[at].lo = fg_sum_hi(known), fg_sum_lo(known)
        return 0

    cdef int resize(self, uint64_t room, int64_t before) except -1:
        # Moves the buckets that end after `before`; the others leave the sums.
        cdef uint32_t* seconds = self.seconds
        cdef Bucket* buckets = self.buckets
        cdef uint64_t count = self.room
        cdef uint64_t i, at
        cdef uint32_t* clean = <uint32_t*> calloc(room, sizeof(uint32_t))
        cdef Bucket* empty = <Bucket*> malloc(room * sizeof(Bucket))
        cdef Sum gone
        if clean == NULL or empty == NULL:
            free(clean)
            free(empty)
            raise MemoryError()
        for i in range(room):
            empty[i].hi = empty[i].lo = 0
        self.seconds, self.buckets, self.room, self.used = clean, empty, room, 0
        for i in range(count):
            if seconds[i] == 0:
                continue
            if seconds[i] <= before:
                gone = fg_sum_of(buckets[i].hi, buckets[i].lo)
                self.total -= gone
                self.expired -= gone
                continue
            at = self.place(seconds[i])
            self.seconds[at], self.buckets[at] = seconds[i], buckets[i]
            self.used += 1
        free(seconds)
        free(buckets)
        return 0

    cdef int remember(self, uint64_t seq, Sum share, uint32_t expires) except -1:
        cdef Recent* slot
        if self.recents == self.ring and self.ring < MOST_RECENT:
            self.widen()
        if self.recents == self.ring:
            self.dropped = max(self.dropped, self.recent[self.first].seq)
            self.first = (self.first + 1) & (self.ring - 1)
            self.recents -= 1
        slot = &self.recent[(self.first + self.recents) & (self.ring - 1)]
        slot.seq, slot.expires = seq, expires
        slot.hi, slot.lo = fg_sum_hi(share), fg_sum_lo(share)
        self.recents += 1
        return 0

    cdef int widen(self) except -1:
        cdef Py_ssize_t ring = max(16, 2 * self.ring)
        cdef Recent* grown = <Recent*> malloc(<size_t> ring * sizeof(Recent))
        cdef Py_ssize_t i
        if grown == NULL:
            raise MemoryError()
        for i in range(self.recents):
            grown[i] = self.recent[(self.first + i) & (self.ring - 1)]
        free(self.recent)
        self.recent, self.ring, self.first = grown, ring, 0
        return 0

    # -- the sum ---------------------------------------------------------------------

    def digest(self, uint64_t mark, int64_t wall):
        """Return the sum over events up to `mark` that are alive at `wall`, or None."""
        cdef Sum answer
        cdef Recent* slot
        cdef Py_ssize_t i
        if mark < self.dropped:
            return None
        self.move(wall)
        answer = self.total - self.expired
        for i in range(self.recents):
            slot = &self.recent[(self.first + i) & (self.ring - 1)]
            if slot.seq > mark and slot.expires > wall:
                answer -= fg_sum_of(slot.hi, slot.lo)
        return <object> fg_sum_hi(answer) << 64 | <object> fg_sum_lo(answer)

    def confirm(self, uint64_t mark) -> None:
        """Take the publisher as complete up to `mark`: what is absent has expired."""
        cdef Py_ssize_t i, kept = 0
        for i in range(self.gap_count):
            if self.gaps[i].end > mark + 1:
                self.gaps[kept].start = max(self.gaps[i].start, mark + 1)
                self.gaps[kept].end = self.gaps[i].end
                kept += 1
        self.gap_count = kept
        self.last = max(self.last, mark)
        while self.recents and self.recent[self.first].seq <= mark:
            self.first = (self.first + 1) & (self.ring - 1)
            self.recents -= 1

    @property
    def alive(self) -> bool:
        """True while an event is kept that the sum may still count."""
        return self.used > 0

    cdef int move(self, int64_t wall) except -1:
        # One second a marker, as a rule; a stepped clock walks the buckets once.
        cdef int64_t low = min(wall, self.wall)
        cdef int64_t high = max(wall, self.wall)
        cdef int64_t second
        cdef uint64_t at
        cdef Sum between = 0
        if self.room and high - low < <int64_t> self.room:
            for second in range(max(<int64_t> 1, low + 1), min(high, <int64_t> 0xFFFFFFFF) + 1):
                at = self.place(<uint32_t> second)
                if self.seconds[at]:
                    between += fg_sum_of(self.buckets[at].hi, self.buckets[at].lo)
        else:
            for at in range(self.room):
                if self.seconds[at] and low < self.seconds[at] <= high:
                    between += fg_sum_of(self.buckets[at].hi, self.buckets[at].lo)
        if wall > self.wall:
            self.expired += between
        else:
            self.expired -= between
        self.wall = wall
        if self.room and wall - KEEP_AFTER_EXPIRY_S - self.swept >= SWEEP_S:
            self.swept = wall - KEEP_AFTER_EXPIRY_S
            self.resize(self.fitting(), self.swept)
        return 0

    cdef uint64_t fitting(self) noexcept nogil:
        cdef uint64_t room = self.room
        while room > 64 and self.used * 3 < room:
            room //= 2
        return room

    # -- kept on the disk ------------------------------------------------------------

    def dump(self) -> bytes:
        """Return all of it, for a saved snapshot."""
        cdef Py_ssize_t i, size = (_HEAD_SIZE + self.gap_count * _PAIR_SIZE
                                   + self.recents * _RECENT_SIZE
                                   + <Py_ssize_t> self.used * _BUCKET_SIZE)
        cdef bytes raw = PyBytes_FromStringAndSize(NULL, size)
        cdef unsigned char* at = <unsigned char*> PyBytes_AS_STRING(raw)
        cdef uint64_t[5] head
        cdef uint64_t[3] numbers
        cdef Recent* slot
        head[0], head[1], head[4] = self.last, self.dropped, self.used
        head[2], head[3] = <uint64_t> self.gap_count, <uint64_t> self.recents
        memcpy(at, head, _HEAD_SIZE)
        at += _HEAD_SIZE
        if self.gap_count:
            memcpy(at, self.gaps, <size_t> self.gap_count * _PAIR_SIZE)
            at += self.gap_count * _PAIR_SIZE
        for i in range(self.recents):
            slot = &self.recent[(self.first + i) & (self.ring - 1)]
            numbers[0], numbers[1], numbers[2] = slot.seq, slot.hi, slot.lo
            memcpy(at, numbers, 24)
            memcpy(at + 24, &slot.expires, 4)
            at += _RECENT_SIZE
        for i in range(<Py_ssize_t> self.room):
            if self.seconds[i]:
                memcpy(at, &self.seconds[i], 4)
                memcpy(at + 4, &self.buckets[i], 16)
                at += _BUCKET_SIZE
        return raw

    @staticmethod
    def load(bytes raw not None):
        """Return what `dump` gave. Raises ValueError for anything else."""
        cdef PublisherState state = PublisherState()
        cdef Sum share
        cdef bint good = True
        before = 0
        try:
            last, dropped, gaps, recents, used = _HEAD.unpack_from(raw)
            at = _HEAD.size
            for _ in range(gaps):
                start, end = _PAIR.unpack_from(raw, at)
                good = good and before < start < end <= last
                before = end
                state.hole(state.gap_count, start, end)
                at += _PAIR.size
            for _ in range(recents):
                seq, hi, lo, expires = _RECENT.unpack_from(raw, at)
                good = good and seq <= last
                state.remember(seq, fg_sum_of(hi, lo), expires)
                at += _RECENT.size
            for _ in range(used):
                expires, hi, lo = _BUCKET.unpack_from(raw, at)
                good = good and expires
                share = fg_sum_of(hi, lo)
                state.put(expires, share)
                state.total += share
                at += _BUCKET.size
        except struct.error:
            raise ValueError("not the sums of a publisher") from None
        # One bucket twice, more recent events than are kept, no number of a frame: no dump's.
        good = (good and state.used == used and state.recents == recents
                and dropped <= last <= 1 << 53)
        if not good or at != len(raw):
            raise ValueError("not the sums of a publisher")
        state.last, state.dropped = last, dropped
        return state


_HEAD = struct.Struct("<QQQQQ")
_PAIR = struct.Struct("<QQ")
_RECENT = struct.Struct("<QQQI")
_BUCKET = struct.Struct("<IQQ")
