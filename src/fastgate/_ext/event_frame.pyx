"""Event frame: a batch of revocations as it travels, read strictly and at once.

Owns:      the layout of docs/revocation-frame.md, and its bounds. One object a batch, no other.
Called by: domain.event, which names the faults; _ext.event_sums and _ext.events read the views.
Source:    REVOCATION.md section 3: a malformed frame is taken not at all.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

cdef extern from *:
    """
    #define fg_be16(p) __builtin_bswap16(*(const fg_u16*)(p))
    #define fg_be32(p) __builtin_bswap32(*(const fg_u32*)(p))
    #define fg_be64(p) __builtin_bswap64(*(const fg_u64*)(p))
    typedef uint16_t __attribute__((aligned(1), may_alias)) fg_u16;
    typedef uint32_t __attribute__((aligned(1), may_alias)) fg_u32;
    typedef uint64_t __attribute__((aligned(1), may_alias)) fg_u64;
    """
    uint16_t fg_be16(const unsigned char* at) noexcept nogil
    uint32_t fg_be32(const unsigned char* at) noexcept nogil
    uint64_t fg_be64(const unsigned char* at) noexcept nogil

cdef enum:
    VERSION_HERE = 1
    FLAG_ACK = 1
    MOST_EVENTS = 256
    MOST_HOMES = 64
    MOST_NAME = 64
    MOST_PUBLISHER = 97
    MOST_REASON = 512                # octets of at most 128 characters
    MOST_REASON_CHARS = 128
    FIXED = 30                       # octets of an event before its id: kind to expires
    KINDS = 7

cdef uint64_t MOST_SEQ = <uint64_t> 1 << 53
cdef uint64_t MOST_MS = 100000000000000
cdef uint32_t EVERYTHING = 0xFFFFFFFF

MAGIC = b"\xfa\x5e"
VERSION = VERSION_HERE
MAX_FRAME_BYTES = 262144


class BatchError(ValueError):
    """What is wrong with a frame: a word of domain.frame.FaultKind, and where."""


cdef class Cursor:
    """Reads one payload from its start; whatever it lacks is a fault."""

    cdef const unsigned char* at
    cdef const unsigned char* end

    cdef const unsigned char* take(self, Py_ssize_t size, str what) except NULL:
        cdef const unsigned char* start = self.at
        if self.end - start < size:
            raise BatchError("malformed", what)
        self.at += size
        return start

    cdef const unsigned char* name(self, Py_ssize_t most, uint8_t* size, str what) except NULL:
        cdef const unsigned char* start
        size[0] = self.take(1, what)[0]
        if not 1 <= size[0] <= most:
            raise BatchError("malformed", what)
        start = self.take(size[0], what)
        return start


cdef bint is_word(const unsigned char* at, Py_ssize_t size) noexcept nogil:
    # [A-Za-z0-9_-]
    cdef Py_ssize_t i
    cdef unsigned char c
    for i in range(size):
        c = at[i]
        if not (c >= 97 and c <= 122 or c >= 48 and c <= 57 or c >= 65 and c <= 90
                or c == 45 or c == 95):
            return False
    return True


cdef bint is_name(const unsigned char* at, Py_ssize_t size) noexcept nogil:
    # [A-Za-z0-9][A-Za-z0-9_-]{0,63}
    return is_word(at, size) and at[0] != 45 and at[0] != 95


cdef bint is_publisher(const unsigned char* at, Py_ssize_t size) noexcept nogil:
    # A name, a dot, and 8 to 32 of the same characters.
    cdef Py_ssize_t dot = 0
    while dot < size and at[dot] != 46:
        dot += 1
    return (1 <= dot <= MOST_NAME and 9 <= size - dot <= 33 and is_name(at, dot)
            and is_word(at + dot + 1, size - dot - 1))


cdef str text(const unsigned char* at, Py_ssize_t size):
    return (<const char*> at)[:size].decode("ascii")


cdef int read_head(EventFrame frame, Cursor cursor) except -1:
    cdef const unsigned char* at
    cdef uint8_t size
    if cursor.end - cursor.at > MAX_FRAME_BYTES:
        raise BatchError("oversize", "frame")
    at = cursor.take(2, "frame")
    if at[0] != 0xFA or at[1] != 0x5E:
        raise BatchError("malformed", "frame")
    at = cursor.take(2, "v")
    if at[0] != VERSION_HERE:
        raise BatchError("version", "v")
    if at[1] & ~FLAG_ACK:
        raise BatchError("critical", "flags")
    frame.ack = at[1] & FLAG_ACK
    frame.key_id = cursor.take(4, "key_id")[:4].hex()
    frame.seq = fg_be64(cursor.take(8, "seq"))
    frame.count = fg_be16(cursor.take(2, "events"))
    if not 1 <= frame.seq <= MOST_SEQ:
        raise BatchError("malformed", "seq")
    if not 1 <= frame.count <= MOST_EVENTS:
        raise BatchError("malformed", "events")
    at = cursor.name(MOST_NAME, &size, "origin")
    if not is_name(at, size):
        raise BatchError("malformed", "origin")
    frame.origin = text(at, size)
    at = cursor.name(MOST_PUBLISHER, &size, "publisher")
    if not is_publisher(at, size):
        raise BatchError("malformed", "publisher")
    frame.publisher = text(at, size)
    return 0


cdef int read_event(EventFrame frame, Cursor cursor, EventView* event) except -1:
    cdef Py_ssize_t size = fg_be16(cursor.take(2, "event"))
    cdef const unsigned char* end
    cdef const unsigned char* at
    at = cursor.take(size, "event")
    end = cursor.end
    cursor.at, cursor.end = at, at + size
    read_fixed(cursor, event)
    read_names(cursor, event)
    if cursor.at != cursor.end:
        raise BatchError("malformed", "event")
    cursor.end = end
    if event.flags & (F_HAND | F_LIFT) or event.kind == KIND_KID:
        frame.special = True
    return 0


cdef int read_fixed(Cursor cursor, EventView* event) except -1:
    cdef const unsigned char* at = cursor.take(FIXED, "event")
    event.kind, event.flags = at[0], at[1]
    if event.flags & 0x80:
        raise BatchError("critical", "event")
    if not 1 <= event.kind <= KINDS:
        # Somebody is revoked in a way this version cannot enforce: that is a gap.
        if not event.flags & F_OPTIONAL:
            raise BatchError("critical", "kind")
        event.kind = 0
    event.key = at + 2
    event.at_ms = fg_be64(at + 18)
    event.expires = fg_be32(at + 26)
    if event.at_ms >= MOST_MS:
        raise BatchError("malformed", "at")
    if event.expires == 0:
        raise BatchError("malformed", "expires")
    return 0


cdef int read_names(Cursor cursor, EventView* event) except -1:
    cdef uint8_t size
    event.id = cursor.name(MOST_NAME, &event.id_size, "id")
    if not is_name(event.id, event.id_size):
        raise BatchError("malformed", "id")
    event.cutoff = EVERYTHING
    if event.flags & F_CUTOFF:
        event.cutoff = fg_be32(cursor.take(4, "cutoff"))
    if event.flags & F_ORIGIN:
        event.origin = cursor.name(MOST_NAME, &event.origin_size, "origin")
        if not is_name(event.origin, event.origin_size):
            raise BatchError("malformed", "origin")
    if event.flags & F_LIFT:
        event.lifts = cursor.name(MOST_NAME, &event.lifts_size, "lifts")
        if not is_name(event.lifts, event.lifts_size):
            raise BatchError("malformed", "lifts")
    if event.flags & F_REASON:
        event.reason_size = fg_be16(cursor.take(2, "reason"))
        if not 1 <= event.reason_size <= MOST_REASON:
            raise BatchError("malformed", "reason")
        event.reason = cursor.take(event.reason_size, "reason")
        if too_long(event):
            raise BatchError("malformed", "reason")
    if event.flags & F_HAND:
        event.hands = cursor.take(1, "hand")[0]
        if not 1 <= event.hands <= MOST_HOMES:
            raise BatchError("malformed", "hand")
        event.hand = cursor.at
        for _ in range(event.hands):
            at = cursor.name(MOST_NAME, &size, "hand")
            if not is_name(at, size):
                raise BatchError("malformed", "hand")
    return 0


cdef bint too_long(EventView* event) except -1:
    try:
        reason = (<const char*> event.reason)[:event.reason_size].decode()
    except UnicodeDecodeError:
        raise BatchError("malformed", "reason") from None
    return len(reason) > MOST_REASON_CHARS


@cython.final
cdef class EventFrame:
    """A batch of one publisher: what it says of itself, and its events as views."""

    def __cinit__(self, bytes payload not None):
        cdef Cursor cursor = Cursor()
        cdef Py_ssize_t i
        self.payload = payload
        cursor.at = <const unsigned char*> PyBytes_AS_STRING(payload)
        cursor.end = cursor.at + PyBytes_GET_SIZE(payload)
        read_head(self, cursor)
        self.events = <EventView*> calloc(<size_t> self.count, sizeof(EventView))
        if self.events == NULL:
            raise MemoryError()
        for i in range(self.count):
            read_event(self, cursor, &self.events[i])
        if cursor.at != cursor.end:
            raise BatchError("malformed", "length")

    def __dealloc__(self):
        free(self.events)

    @property
    def last(self) -> int:
        """The number of the last event."""
        return self.seq + self.count - 1

    def ids(self) -> list:
        """Return the ids, in order."""
        cdef Py_ssize_t i
        return [text(self.events[i].id, self.events[i].id_size) for i in range(self.count)]

    def is_special(self, Py_ssize_t index) -> bool:
        """Tell whether an event is handed on, lifts another, or is about a key."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        return (self.events[index].flags & (F_HAND | F_LIFT)
                or self.events[index].kind == KIND_KID)

    def members(self, Py_ssize_t index) -> tuple:
        """Return what one event says."""
        cdef EventView* event
        cdef const unsigned char* at
        cdef list hand = []
        if not 0 <= index < self.count:
            raise IndexError(index)
        event = &self.events[index]
        at = event.hand
        for _ in range(event.hands):
            hand.append(text(at + 1, at[0]))
            at += 1 + at[0]
        return (
            text(event.id, event.id_size),
            text(event.origin, event.origin_size) if event.origin != NULL else self.origin,
            event.at_ms / 1000.0,
            event.kind,
            event.key[:16] if event.kind else b"",
            event.expires,
            event.cutoff,
            bool(event.flags & F_URGENT),
            (<const char*> event.reason)[:event.reason_size].decode() if event.reason else "",
            tuple(hand),
            text(event.lifts, event.lifts_size) if event.lifts != NULL else "",
        )
