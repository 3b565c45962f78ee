"""Events: what was revoked and lifted, by id, beside the index that requests read.

Owns:      the event table, and the order in which an event reaches table and index.
Called by: control.feed: `apply` once a batch, `add` once an own event.
Source:    REVOCATION.md sections 3 (lift) and 5 (native arrays, compiled applying).

The outcome depends on the set of events and lifts alone, not on their order, except that a lift
waits until `settle`: before this node has read every origin it cannot know what else revokes a key.

Longer than others: a table and all that changes it are one object.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastgate._ext.blake2b cimport fg_blake2b
from fastgate._ext.event_frame cimport F_LIFT, F_URGENT, EventFrame, EventView
from fastgate._ext.event_table cimport (
    ID_SIZE, MOST_OF_A_KEY, R_CROWDED, R_EPOCH, R_EVENT, R_HASH_KEY, R_KIND, R_LIFT, R_LIFT_EPOCH,
    R_ORIGIN, R_RAW, R_SPOKEN, R_USED, SEGMENT_SHIFT, SEGMENTS, Record, Segment, fg_place, find,
    first_of, insert, is_of, origin_of, spread_out,
)
from fastgate._ext.revocation_arena cimport PUT_FULL, fg_fold
from fastgate._ext.revocations cimport RevocationWriter

import os

cdef enum:
    FOREIGN = 63                     # an origin that this configuration does not have
    MOST_HASH_KEYS = 15
    RECENT = 65536                   # a power of two
    MOST_WAITING = 65536             # keys with a lift before `settle`
    MOST_KEPT = 65536                # keys with a lift, whose entry may be gone
    KEEP_S = 7200                    # as the sums keep their buckets

SEGMENT_COUNT = SEGMENTS
RECORD_BYTES = sizeof(Record)

cdef struct Published:
    uint64_t name
    uint64_t seq
    uint64_t position


cdef uint32_t pack(const unsigned char* id, size_t size, unsigned char* packed) noexcept nogil:
    # 24 hexadecimal digits are kept whole, so that the event can be said again; returns R_RAW.
    cdef uint64_t out[2]
    cdef int i
    cdef unsigned char c, half
    if size == 2 * ID_SIZE:
        for i in range(2 * ID_SIZE):
            c = id[i]
            if c >= 48 and c <= 57:
                half = c - 48
            elif c >= 97 and c <= 102:
                half = c - 87
            else:
                break
            packed[i // 2] = half if i % 2 == 0 else packed[i // 2] << 4 | half
        else:
            return R_RAW
    fg_blake2b(id, size, out)
    memcpy(packed, out, ID_SIZE)
    return 0


@cython.final
cdef class EventStore:
    """Every live event and lift of all origins; the one user of its writer."""

    cdef object writer
    cdef RevocationWriter native     # None where the writer is of another kind
    cdef Segment* segments
    cdef Published* recent
    cdef uint64_t seed0
    cdef uint64_t seed1
    cdef dict origins
    cdef dict hash_keys
    cdef uint32_t epochs[64]
    cdef int speakers[64]            # whose stream speaks for an origin: its own, or an adopter's
    cdef bytearray waiting           # keys of 16 octets
    cdef list kept                   # by segment: keys with a lift by mixed key, or None
    cdef readonly uint64_t kept_keys
    cdef uint64_t limit
    cdef readonly uint64_t events
    cdef readonly bint settled
    cdef readonly bint lost          # something is not in the table: lifts stay without effect
    cdef readonly uint64_t strange   # lifts that name another expiry than their event's

    def __cinit__(self, writer, *, origins, hash_keys, uint64_t limit, seeds=None):
        self.writer = writer
        self.native = writer if isinstance(writer, RevocationWriter) else None
        self.origins = {name: i for i, name in enumerate(origins)}
        self.hash_keys = {name: i for i, name in enumerate(hash_keys)}
        if len(self.origins) >= FOREIGN or len(self.hash_keys) > MOST_HASH_KEYS:
            raise ValueError("too many origins or hash keys")
        if seeds is None:
            seeds = self.native.seeds() if self.native is not None else (
                int.from_bytes(os.urandom(8)), int.from_bytes(os.urandom(8)))
        self.seed0, self.seed1 = seeds
        for at in range(64):
            self.speakers[at] = at
        self.limit = limit
        self.waiting = bytearray()
        self.kept = [None] * SEGMENTS
        self.segments = <Segment*> calloc(SEGMENTS, sizeof(Segment))
        self.recent = <Published*> calloc(RECENT, sizeof(Published))
        if self.segments == NULL or self.recent == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.segments != NULL:
            for i in range(SEGMENTS):
                free(self.segments[i].slots)
        free(self.segments)
        free(self.recent)

    @property
    def seeds(self) -> tuple[int, int]:
        """What keys are mixed with."""
        return self.seed0, self.seed1

    # -- taking events ---------------------------------------------------------------

    def apply(self, EventFrame frame not None, uint64_t position, int64_t now_s) -> bool:
        """Take a batch of an origin's stream; False where something does not fit."""
        cdef Py_ssize_t i
        cdef int own = self.origins.get(frame.origin, FOREIGN)
        cdef int origin
        cdef int hash_key = self.hash_keys.get(frame.key_id, MOST_HASH_KEYS)
        cdef bint fits = True, spoken
        cdef EventView* event
        for i in range(frame.count):
            event = &frame.events[i]
            origin = own
            if event.origin != NULL:
                origin = self.origins.get(
                    (<const char*> event.origin)[:event.origin_size].decode(), FOREIGN)
            spoken = origin == own or self.speakers[origin] == own
            if spoken:
                self.note(event, origin, frame.seq + <uint64_t> i, position)
            fits &= self.take(event, origin, spoken, hash_key, now_s)
        return fits

    def add(self, str id_ not None, int kind, bytes key not None, uint32_t expires,
            uint32_t cutoff, bint urgent, str lifts not None, str origin not None,
            str key_id not None, bint spoken, int64_t now_s) -> bool:
        """Take one event of this node's own; False where it does not fit."""
        cdef EventView event
        cdef bytes name = id_.encode("ascii")
        cdef bytes lifted = lifts.encode("ascii")
        memset(&event, 0, sizeof(EventView))
        if kind and PyBytes_GET_SIZE(key) != 16:
            raise ValueError("a key has 16 octets")
        if not 1 <= len(name) <= 64 or len(lifted) > 64 or not 0 <= kind <= 7:
            raise ValueError("no event")
        event.id, event.id_size = <const unsigned char*> <const char*> name, len(name)
        event.key, event.kind = <const unsigned char*> PyBytes_AS_STRING(key), kind
        event.expires, event.cutoff = expires, cutoff
        event.flags = F_URGENT if urgent else 0
        if lifted:
            event.flags |= F_LIFT
            event.lifts, event.lifts_size = (
                <const unsigned char*> <const char*> lifted, len(lifted))
        return self.take(&event, self.origins.get(origin, FOREIGN), spoken,
                         self.hash_keys.get(key_id, MOST_HASH_KEYS), now_s)

    cdef bint take(self, EventView* event, int origin, bint spoken, int hash_key,
                   int64_t now_s) except -1:
        cdef uint64_t lo, hi, mixed
        cdef unsigned char id[ID_SIZE]
        cdef uint32_t raw, of_key
        cdef Record* record
        cdef Segment* segment
        cdef bint known
        if event.kind == 0 or <int64_t> event.expires + KEEP_S < now_s:
            return True
        memcpy(&lo, event.key, 8)
        memcpy(&hi, event.key + 8, 8)
        mixed = fg_fold(lo ^ self.seed0, hi ^ self.seed1)
        segment = &self.segments[mixed >> SEGMENT_SHIFT]
        if event.flags & F_LIFT:
            # Only the word of its origin: what another stream hands on waits for that.
            return self.lift(event, segment, mixed, origin, now_s) if spoken else True
        raw = pack(event.id, event.id_size, id)
        record = find(segment, mixed, id, raw, origin, &of_key)
        known = record != NULL and record.info & R_EVENT
        if record == NULL:
            record = self.fresh(segment, mixed, of_key, event.expires, now_s)
        if record != NULL:
            self.write(record, event, id, raw, origin, hash_key)
            if spoken:
                record.info = record.info & ~R_EPOCH | R_SPOKEN | self.epochs[origin]
            if record.info & R_LIFT:
                return True
        if event.flags & F_URGENT and not known:
            # After the entry, as readers look at the index when the counter moves.
            fits = self.enforce(event, lo, hi)
            self.writer.bump_urgent()
            return fits
        return self.enforce(event, lo, hi)

    cdef bint enforce(self, EventView* event, uint64_t lo, uint64_t hi) except -1:
        cdef uint64_t meta = <uint64_t> event.cutoff << 32 | event.expires
        if self.native is not None:
            return self.native.take(lo, hi, meta) != PUT_FULL
        return self.writer.insert(event.key[:16], event.cutoff, event.expires) != PUT_FULL

    cdef Record* fresh(self, Segment* segment, uint64_t mixed, uint32_t of_key, uint32_t expires,
                       int64_t now_s) noexcept:
        # NULL: the event is enforced and not known by id, so that nothing may be lifted any more.
        cdef Record* record
        cdef uint32_t before = segment.used
        if of_key >= MOST_OF_A_KEY:
            self.crowd(segment, mixed, expires)
            return NULL
        record = NULL
        if self.events < self.limit:
            record = insert(segment, mixed, now_s - KEEP_S)
            self.events += segment.used
            self.events -= before
        if record == NULL:
            self.lost = True
        return record

    cdef void crowd(self, Segment* segment, uint64_t mixed, uint32_t expires) noexcept:
        cdef Record* slot = first_of(segment, mixed)
        cdef Record* end = segment.slots + segment.size
        cdef Record* last = slot
        while slot < end and slot.info and slot.mixed == mixed:
            if slot.expires > last.expires:
                last = slot
            slot += 1
        # The record that ends last stands for the crowd, for as long as any of it.
        last.info |= R_CROWDED
        last.expires = max(last.expires, expires)

    cdef void write(self, Record* record, EventView* event, const unsigned char* id, uint32_t raw,
                    int origin, int hash_key) noexcept:
        if record.info & R_EVENT:
            # The same event again; never shortened, whoever says it.
            record.expires = max(record.expires, event.expires)
            record.cutoff = max(record.cutoff, event.cutoff)
            return
        if record.info & R_LIFT and record.expires != event.expires:
            self.strange += 1        # a lift has its event's expiry, or is none
            record.info &= ~<uint32_t> R_LIFT
        memcpy(record.id, id, ID_SIZE)
        record.expires, record.cutoff = event.expires, event.cutoff
        record.info |= (R_USED | R_EVENT | raw | <uint32_t> event.kind << R_KIND
                        | <uint32_t> origin << R_ORIGIN | <uint32_t> hash_key << R_HASH_KEY)

    cdef void note(self, EventView* event, int origin, uint64_t seq, uint64_t position) noexcept:
        cdef unsigned char id[16]
        cdef uint64_t name
        cdef Published* slot
        memset(id, 0, 16)
        pack(event.id, event.id_size, id)
        id[15] = <unsigned char> origin
        name = self.name(id)
        slot = &self.recent[name & (RECENT - 1)]
        slot.name, slot.seq, slot.position = name, seq, position

    cdef uint64_t name(self, const unsigned char* id) noexcept:
        cdef uint64_t half[2]
        memcpy(half, id, 16)
        return fg_fold(half[0] ^ self.seed1, half[1] ^ self.seed0)

    def published(self, str id_ not None, str origin not None):
        """Return number and position at which an origin has said an event lately, or None."""
        cdef unsigned char id[16]
        cdef bytes raw = id_.encode("ascii")
        cdef uint64_t name
        cdef Published* slot
        memset(id, 0, 16)
        if not 1 <= len(raw) <= 64:
            return None
        pack(<const unsigned char*> <const char*> raw, <size_t> len(raw), id)
        id[15] = self.origins.get(origin, FOREIGN)
        name = self.name(id)
        slot = &self.recent[name & (RECENT - 1)]
        return (slot.seq, slot.position) if slot.seq and slot.name == name else None

    # -- lifts -----------------------------------------------------------------------

    cdef bint lift(self, EventView* event, Segment* segment, uint64_t mixed, int origin,
                   int64_t now_s) except -1:
        cdef unsigned char id[ID_SIZE]
        cdef uint32_t of_key
        cdef uint32_t raw = pack(event.lifts, event.lifts_size, id)
        cdef Record* record = find(segment, mixed, id, raw, origin, &of_key)
        if record == NULL:
            record = self.fresh(segment, mixed, of_key, event.expires, now_s)
            if record == NULL:
                return True          # what it lifts stays in force
            memcpy(record.id, id, ID_SIZE)
            record.expires = event.expires
            record.info |= raw | <uint32_t> origin << R_ORIGIN
        elif record.expires != event.expires:
            self.strange += 1
            return True
        record.info = record.info & ~<uint32_t> R_LIFT_EPOCH | R_LIFT | (
            self.epochs[origin] * (R_LIFT_EPOCH // R_EPOCH))
        self.keep(mixed, event.key[:16])
        if record.info & R_EVENT:
            self.undo(event.key[:16], mixed, now_s)
        return True

    cdef int undo(self, bytes key, uint64_t mixed, int64_t now_s) except -1:
        # Sets the entry of this key to what the remaining events come to.
        cdef Segment* segment = &self.segments[mixed >> SEGMENT_SHIFT]
        cdef Record* slot = first_of(segment, mixed)
        cdef Record* end = segment.slots + segment.size
        cdef uint32_t expires = 0, cutoff = 0
        if not self.settled:
            if len(self.waiting) < 16 * MOST_WAITING:
                self.waiting += key
            return 0
        if self.lost:
            return 0
        while slot != NULL and slot < end and slot.info and slot.mixed == mixed:
            if slot.info & R_CROWDED:
                return 0
            if slot.info & R_EVENT and not slot.info & R_LIFT and slot.expires > now_s:
                expires = max(expires, slot.expires)
                cutoff = max(cutoff, slot.cutoff)
            slot += 1
        self.writer.settle(key, cutoff, expires)
        return 0

    def settle(self, int64_t now_s) -> None:
        """Let lifts take effect: every origin has been read."""
        cdef bytes key
        cdef bytearray waiting = self.waiting
        self.settled = True
        self.waiting = bytearray()
        for at in range(0, len(waiting), 16):
            key = bytes(waiting[at:at + 16])
            self.undo(key, self.mix(key), now_s)

    cdef int keep(self, uint64_t mixed, bytes key) except -1:
        # Without it a lift that its stream lost could not be said again: the index has no entry.
        cdef Py_ssize_t at = <Py_ssize_t> (mixed >> SEGMENT_SHIFT)
        cdef dict keys = self.kept[at]
        if keys is None:
            keys = self.kept[at] = {}
        if mixed not in keys and self.kept_keys < MOST_KEPT:
            keys[mixed] = key
            self.kept_keys += 1
        return 0

    cdef bint has_lift(self, uint64_t mixed) noexcept:
        cdef Segment* segment = &self.segments[mixed >> SEGMENT_SHIFT]
        cdef Record* slot = first_of(segment, mixed)
        cdef Record* end = segment.slots + segment.size
        while slot != NULL and slot < end and slot.info and slot.mixed == mixed:
            if slot.info & R_LIFT:
                return True
            slot += 1
        return False

    cdef uint64_t mix(self, bytes key) noexcept:
        cdef uint64_t half[2]
        memcpy(half, PyBytes_AS_STRING(key), 16)
        return fg_fold(half[0] ^ self.seed0, half[1] ^ self.seed1)

    # -- looking ---------------------------------------------------------------------

    def about(self, bytes key not None) -> list:
        """Return the records of a key."""
        cdef list found = []
        cdef uint64_t mixed
        cdef Segment* segment
        cdef Record* slot
        if PyBytes_GET_SIZE(key) != 16:
            raise ValueError("a key has 16 octets")
        mixed = self.mix(key)
        segment = &self.segments[mixed >> SEGMENT_SHIFT]
        slot = first_of(segment, mixed)
        while (slot != NULL and slot < segment.slots + segment.size and slot.info
               and slot.mixed == mixed):
            found.append(shown(slot))
            slot += 1
        return found

    def find(self, str id_ not None, Py_ssize_t segment) -> list:
        """Return the records of an id in one segment."""
        cdef unsigned char id[ID_SIZE]
        cdef bytes name = id_.encode("ascii")
        cdef uint32_t raw
        cdef list found = []
        cdef Record* slot
        cdef Record* end
        if not 0 <= segment < SEGMENTS or not 1 <= len(name) <= 64:
            raise ValueError("segment or id")
        raw = pack(<const unsigned char*> <const char*> name, <size_t> len(name), id)
        slot = self.segments[segment].slots
        end = slot + self.segments[segment].size
        while slot < end:
            if slot.info and is_of(slot, id, raw, origin_of(slot)):
                found.append(shown(slot))
            slot += 1
        return found

    def page(self, Py_ssize_t segment, uint64_t start, Py_ssize_t most, int origin, int kind,
             bint live, int64_t now_s) -> tuple:
        """Return records of one segment in the order of mixed keys, and where to go on."""
        cdef list found = []
        cdef uint64_t last = 0
        cdef Segment* at
        cdef Record* slot
        cdef Record* end
        if not 0 <= segment < SEGMENTS or most < 1:
            raise ValueError("segment or most")
        at = &self.segments[segment]
        slot = at.slots
        end = slot + at.size
        if slot != NULL and start >> SEGMENT_SHIFT == <uint64_t> segment:
            slot = first_of(at, start)
        while slot != NULL and slot < end:
            if slot.info and slot.mixed >= start:
                # All of a key or none of it, so that a place between two keys is enough.
                if len(found) >= most and slot.mixed != last:
                    return found, slot.mixed
                if is_asked_for(slot, origin, kind, live, now_s):
                    found.append(shown(slot))
                    last = slot.mixed
            slot += 1
        return found, None

    def key_of(self, uint64_t mixed):
        """Return the key that is mixed to this, where the index or a lift has it."""
        cdef dict keys = self.kept[mixed >> SEGMENT_SHIFT]
        if keys is not None and mixed in keys:
            return keys[mixed]
        return self.writer.recover(mixed, self.seed0, self.seed1)

    # -- upkeep ----------------------------------------------------------------------

    def sweep(self, Py_ssize_t segment, int64_t now_s) -> int:
        """Drop what has long expired from one segment; return how many that were."""
        cdef Segment* at
        cdef Py_ssize_t i
        cdef uint32_t over = 0, before
        if not 0 <= segment < SEGMENTS:
            raise ValueError("segment")
        at = &self.segments[segment]
        for i in range(at.size):
            over += at.slots[i].info != 0 and at.slots[i].expires <= now_s - KEEP_S
        if over == 0:
            return 0
        before = at.used
        spread_out(at, max(<uint32_t> 16, (at.used - over) * 20 // 17 + 1), now_s - KEEP_S)
        self.events -= before - at.used
        self.forget_lifts(segment)
        return before - at.used

    cdef int forget_lifts(self, Py_ssize_t segment) except -1:
        cdef dict keys = self.kept[segment]
        if keys is not None:
            for mixed in [each for each in keys if not self.has_lift(each)]:
                del keys[mixed]
                self.kept_keys -= 1
        return 0

    def adopt(self, str origin not None, str by not None) -> None:
        """Let the stream of another origin speak for one that is gone."""
        self.speakers[self.origins[origin]] = self.origins[by]

    def begin_reading(self, str origin not None) -> None:
        """Note that the stream of an origin is read from its start."""
        self.epochs[self.origins[origin]] ^= R_EPOCH

    def unread(self, str origin not None, Py_ssize_t segment, int64_t now_s) -> list:
        """Return an origin's live events and lifts not said since `begin_reading`."""
        cdef int of = self.origins[origin]
        cdef list found = []
        cdef Record* slot
        cdef Record* end
        cdef uint32_t wanted = R_EVENT | R_SPOKEN | R_RAW
        if not 0 <= segment < SEGMENTS:
            raise ValueError("segment")
        slot = self.segments[segment].slots
        end = slot + self.segments[segment].size
        while slot < end:
            if (slot.info & wanted == wanted and not slot.info & R_CROWDED
                    and origin_of(slot) == of and slot.expires > now_s
                    and self.is_unread(slot, of)):
                found.append(shown(slot))
            slot += 1
        return found

    cdef bint is_unread(self, const Record* record, int origin) noexcept:
        cdef uint32_t now = self.epochs[origin]
        if record.info & R_LIFT:     # then only the lift matters to anybody
            return record.info & R_LIFT_EPOCH != now * (R_LIFT_EPOCH // R_EPOCH)
        return record.info & R_EPOCH != now

    def stats(self) -> dict:
        """Return counts for status."""
        cdef Py_ssize_t i
        cdef uint64_t size = 0
        for i in range(SEGMENTS):
            size += self.segments[i].size * sizeof(Record)
        return {
            "events": self.events, "bytes": size, "settled": self.settled, "lost": self.lost,
            "waiting_lifts": len(self.waiting) // 16, "strange_lifts": self.strange,
        }

    # -- kept on the disk ------------------------------------------------------------

    def dump(self, Py_ssize_t segment) -> bytes:
        """Return the records of one segment, for a saved snapshot."""
        cdef Segment* at
        cdef bytes packed
        cdef Record* to
        cdef Py_ssize_t i
        if not 0 <= segment < SEGMENTS:
            raise ValueError("segment")
        at = &self.segments[segment]
        packed = PyBytes_FromStringAndSize(NULL, at.used * sizeof(Record))
        to = <Record*> PyBytes_AS_STRING(packed)
        for i in range(at.size):
            if at.slots[i].info:
                to[0] = at.slots[i]
                # Read or not is a matter of this run.
                to.info ^= self.epochs[origin_of(to)] * (1 + R_LIFT_EPOCH // R_EPOCH)
                to += 1
        return packed

    def dump_keys(self) -> bytes:
        """Return the keys that lifts have, for a saved snapshot."""
        return b"".join(key for keys in self.kept if keys is not None for key in keys.values())

    def load_keys(self, bytes packed not None) -> None:
        """Take the keys that `dump_keys` gave, behind the records."""
        cdef bytes key
        if len(packed) % 16:
            raise ValueError("keys have 16 octets")
        for at in range(0, len(packed), 16):
            key = packed[at:at + 16]
            self.keep(self.mix(key), key)

    def load(self, Py_ssize_t segment, bytes packed not None, bytes origins not None,
             bytes hash_keys not None) -> None:
        """Take the records that `dump` gave into a segment that is empty.

        Raises ValueError for what no dump gives: nothing was taken then. Records that stand in
        another order would never be found again, and those without content never written.
        """
        cdef Segment* at
        cdef const Record* slot = <const Record*> PyBytes_AS_STRING(packed)
        cdef Record record
        cdef uint64_t place = 0
        cdef Py_ssize_t count = PyBytes_GET_SIZE(packed) // <Py_ssize_t> sizeof(Record)
        cdef Py_ssize_t i
        cdef uint32_t room = <uint32_t> count * 20 // 17 + 16
        if (not 0 <= segment < SEGMENTS or PyBytes_GET_SIZE(packed) % sizeof(Record)
                or len(origins) != 64 or len(hash_keys) != 16):
            raise ValueError("segment")
        at = &self.segments[segment]
        if at.used:
            raise ValueError("the segment is in use")
        for i in range(count):
            if (not slot[i].info & R_USED or slot[i].mixed >> SEGMENT_SHIFT != <uint64_t> segment
                    or i and slot[i].mixed < slot[i - 1].mixed):
                raise ValueError("not the records of that segment")
        free(at.slots)
        at.slots = <Record*> calloc(room + count, sizeof(Record))
        if at.slots == NULL:
            at.room = at.size = 0
            raise MemoryError()
        at.room, at.size = room, <uint32_t> (room + count)
        for i in range(count):
            record = slot[i]
            origin = (<const unsigned char*> origins)[origin_of(&record)]
            hash_key = (<const unsigned char*> hash_keys)[record.info >> R_HASH_KEY & 15]
            record.info &= ~(<uint32_t> 63 << R_ORIGIN | <uint32_t> 15 << R_HASH_KEY)
            record.info |= <uint32_t> origin << R_ORIGIN | <uint32_t> hash_key << R_HASH_KEY
            place = max(place, fg_place(record.mixed, room))
            at.slots[place] = record
            at.used += 1
            place += 1
        self.events += at.used
        spread_out(at, room, 0)      # gives back what a run behind the end did not need


cdef inline bint is_asked_for(const Record* record, int origin, int kind, bint live,
                              int64_t now_s) noexcept nogil:
    if not record.info & R_EVENT or record.info & R_CROWDED:
        return False
    if origin >= 0 and origin_of(record) != origin:
        return False
    if kind > 0 and <int> (record.info >> R_KIND & 7) != kind:
        return False
    return not live or (record.expires > now_s and not record.info & R_LIFT)


cdef tuple shown(const Record* record):
    # id (None where only its hash is here), origin, kind, expires, cutoff, is there, lifted, mixed.
    return (
        record.id[:ID_SIZE].hex() if record.info & R_RAW else None,
        origin_of(record),
        <int> (record.info >> R_KIND & 7),
        record.expires,
        record.cutoff,
        bool(record.info & R_EVENT),
        bool(record.info & R_LIFT),
        record.mixed,
        <int> (record.info >> R_HASH_KEY & 15),
    )
