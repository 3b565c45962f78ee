"""The event table: which events and lifts there are, by key, in 32 octets each.

Owns:      the layout of a record, and where in a segment it stands.
Called by: _ext.events. Nothing here raises or touches an object.

Rules that hold here:
- A record belongs to one event of one origin. A lift of it stands in the same record, so that
  nothing depends on which of the two came first.
- A segment holds the records whose mixed key begins with its number, sorted by mixed key; a record
  stands at or behind its own place. So a segment grows by one pass, and records of one key touch.
- The mixed key comes from two random seeds. Whoever chooses keys or ids cannot choose places.
- A key has at most MOST_OF_A_KEY records. One more makes it crowded: its events stay enforced
  until they end, and lifts of them have no effect.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove

cdef extern from *:
    """
    static inline uint64_t fg_place(uint64_t mixed, uint64_t room) {
        return (uint64_t)(((unsigned __int128)(mixed << 10) * room) >> 64);
    }
    """
    uint64_t fg_place(uint64_t mixed, uint64_t room) noexcept nogil

cdef enum:
    SEGMENTS = 1024                  # one of them is grown or swept at a time: 10 ms at 200 million
    SEGMENT_SHIFT = 54
    ID_SIZE = 12
    MOST_OF_A_KEY = 1024
    SMALL = 64                       # below it a segment grows in larger steps

cdef enum:                           # Record.info
    R_USED = 1
    R_EVENT = 2                      # the event has come
    R_LIFT = 4                       # its origin has lifted it
    R_RAW = 8                        # the id is 24 hexadecimal digits, and here whole
    R_SPOKEN = 16                    # its origin has published it
    R_EPOCH = 32                     # read since the last full reading of that origin began
    R_CROWDED = 64                   # no event: this key has more than fit
    R_KIND = 7                       # first bit: 3 bits of kind, 6 of origin, 4 of hash key
    R_ORIGIN = 10
    R_HASH_KEY = 16
    R_LIFT_EPOCH = 1 << 20           # as R_EPOCH, for the lift

cdef struct Record:
    uint64_t mixed
    unsigned char id[12]
    uint32_t expires
    uint32_t cutoff
    uint32_t info

cdef struct Segment:
    Record* slots
    uint32_t room                    # slots that keys are spread over
    uint32_t size                    # and those behind them, for runs that spill
    uint32_t used


cdef inline int origin_of(const Record* record) noexcept nogil:
    return <int> (record.info >> R_ORIGIN & 63)


cdef inline bint is_of(const Record* record, const unsigned char* id, uint32_t raw,
                       int origin) noexcept nogil:
    return (origin_of(record) == origin and record.info & R_RAW == raw
            and not record.info & R_CROWDED and memcmp(record.id, id, ID_SIZE) == 0)


cdef inline Record* first_of(const Segment* segment, uint64_t mixed) noexcept nogil:
    # The first record of that key, or where it would be inserted; NULL past the end.
    cdef Record* slot = segment.slots
    cdef Record* end = segment.slots + segment.size
    if segment.slots == NULL:
        return NULL
    slot += fg_place(mixed, segment.room)
    while slot < end and slot.info and slot.mixed < mixed:
        slot += 1
    return slot if slot < end else NULL


cdef inline Record* find(const Segment* segment, uint64_t mixed, const unsigned char* id,
                         uint32_t raw, int origin, uint32_t* of_key) noexcept nogil:
    # The record, or NULL; `of_key` is how many records that key has.
    cdef Record* slot = first_of(segment, mixed)
    cdef Record* end = segment.slots + segment.size
    of_key[0] = 0
    while slot != NULL and slot < end and slot.info and slot.mixed == mixed:
        if is_of(slot, id, raw, origin):
            return slot
        of_key[0] += 1
        slot += 1
    return NULL


cdef inline bint spread_out(Segment* segment, uint32_t room, int64_t before) noexcept nogil:
    # Moves the records that end after `before` to a segment of that room; False without memory.
    cdef Segment wide
    cdef Record* slot = segment.slots
    cdef Record* end = segment.slots + segment.size
    cdef uint64_t at = 0
    wide.room, wide.size, wide.used = room, room + room // 32 + 16, 0
    wide.slots = <Record*> calloc(wide.size, sizeof(Record))
    if wide.slots == NULL:
        return False
    while slot < end:
        if slot.info and slot.expires > before:
            at = max(at, fg_place(slot.mixed, room))
            if at == wide.size:      # a long run at the very end: more room, from the start
                free(wide.slots)
                return spread_out(segment, room + room // 16 + 16, before)
            wide.slots[at] = slot[0]
            wide.used += 1
            at += 1
        slot += 1
    free(segment.slots)
    segment[0] = wide
    return True


cdef inline uint32_t grown(const Segment* segment) noexcept nogil:
    return segment.room + (segment.room // 16 if segment.room > SMALL else segment.room // 4 + 16)


cdef inline Record* insert(Segment* segment, uint64_t mixed, int64_t before) noexcept nogil:
    # A fresh record of that key, before the others of it; NULL without memory.
    cdef Record* slot
    cdef Record* gap
    cdef Record* end
    if segment.used * 10 >= segment.room * 9 and not spread_out(segment, grown(segment), before):
        return NULL
    while True:
        slot = gap = first_of(segment, mixed)
        end = segment.slots + segment.size
        while gap != NULL and gap < end and gap.info:
            gap += 1
        if gap != NULL and gap < end:
            break
        if not spread_out(segment, grown(segment), before):
            return NULL
    memmove(slot + 1, slot, <size_t> (gap - slot) * sizeof(Record))
    slot.mixed = mixed
    slot.expires = slot.cutoff = 0
    slot.info = R_USED
    segment.used += 1
    return slot
