# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Building heads: name tables, a buffer to write into, and names of requests.

Owns:      the buffer of the head that is being built; one at a time, one per lane.
Called by: the compiled lane, for both directions.
Source:    RFC 9110 section 5, RFC 9562 section 5.7 (UUID version 7); the names come from
           hotpath.headers, so that both lanes share one set of rules.
"""

cimport cython

import os

from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastgate._ext.http1_answer cimport plain_letter

cdef Py_ssize_t LEAST_ROOM = 4096
# Reason: what one large answer needed is given back, not kept.
cdef Py_ssize_t KEPT_ROOM = 131072


cdef inline uint32_t slot_of(const uint8_t* name, Py_ssize_t size) noexcept nogil:
    # FNV-1a over the letters as an upstream may read them.
    cdef uint32_t h = 2166136261u
    cdef Py_ssize_t i
    for i in range(size):
        h = (h ^ plain_letter(name[i])) * 16777619u
    return (h ^ (h >> 15)) % NAME_SLOTS


cdef int fill(Name* slot, bytes text) except -1:
    if not 0 < len(text) <= LONGEST_NAME or text != text.lower():
        raise ValueError("a header name in lower case of at most 31 bytes")
    slot.size = <uint8_t>len(text)
    memcpy(slot.text, PyBytes_AS_STRING(text), len(text))
    return 0


cdef inline bint begins(const Name* lower, const uint8_t* name) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lower.size):
        if plain_letter(name[i]) != lower.text[i]:
            return False
    return True


@cython.final
cdef class Names:
    """A set of header names and prefixes, compared without case and with "_" as "-"."""

    def __cinit__(self, names, prefixes):
        cdef uint32_t at
        if len(names) > NAME_SLOTS // 2 or len(prefixes) > PREFIXES:
            raise ValueError("too many names")
        memset(self.slots, 0, sizeof(self.slots))
        for text in names:
            at = slot_of(<const uint8_t*>PyBytes_AS_STRING(text), len(text))
            while self.slots[at].size:
                at = (at + 1) % NAME_SLOTS
            fill(&self.slots[at], text)
        for text in prefixes:
            fill(&self.prefixes[self.prefix_count], text)
            self.prefix_count += 1

    def __contains__(self, bytes name not None):
        return self.holds(<const uint8_t*>PyBytes_AS_STRING(name), len(name))

    cdef bint holds(self, const uint8_t* name, Py_ssize_t size) noexcept nogil:
        cdef uint32_t at
        if size <= LONGEST_NAME:
            at = slot_of(name, size)
            while self.slots[at].size:
                if self.slots[at].size == size and begins(&self.slots[at], name):
                    return True
                at = (at + 1) % NAME_SLOTS
        return self.has_prefix(name, size)

    cdef bint has_prefix(self, const uint8_t* name, Py_ssize_t size) noexcept nogil:
        cdef int i
        for i in range(self.prefix_count):
            if self.prefixes[i].size <= size and begins(&self.prefixes[i], name):
                return True
        return False


@cython.final
cdef class Out:
    """A growing buffer."""

    def __dealloc__(self):
        free(self.data)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = max(self.room, LEAST_ROOM)
        cdef void* data
        if self.size + more <= self.room:
            return 0
        while room < self.size + more:
            room *= 2
        data = realloc(self.data, room)
        if data == NULL:
            raise MemoryError
        self.data = <char*>data
        self.room = room
        return 0

    cdef int put(self, const void* data, Py_ssize_t size) except -1:
        self.reserve(size)
        memcpy(self.data + self.size, data, size)
        self.size += size
        return 0

    cdef int put_bytes(self, bytes data) except -1:
        return self.put(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int put_number(self, int64_t value) except -1:
        cdef char digits[20]
        cdef int at = 20
        while True:
            at -= 1
            digits[at] = <char>(c'0' + value % 10)
            value //= 10
            if value == 0:
                break
        return self.put(digits + at, 20 - at)

    cdef int put_chunk(self, const uint8_t* data, Py_ssize_t size) except -1:
        # Never called for nothing: an empty chunk would end the body.
        cdef const char* hexes = b"0123456789abcdef"
        cdef char digits[20]
        cdef Py_ssize_t left = size
        cdef int at = 20
        while left:
            at -= 1
            digits[at] = hexes[left & 15]
            left >>= 4
        self.put(digits + at, 20 - at)
        self.put(b"\r\n", 2)
        self.put(data, size)
        return self.put(b"\r\n", 2)

    cdef bytes take(self):
        """Return what was put, and begin anew."""
        made = PyBytes_FromStringAndSize(self.data, self.size)
        self.size = 0
        if self.room > KEPT_ROOM:
            free(self.data)
            self.data = NULL
            self.room = 0
        return made


@cython.final
cdef class RequestIds:
    """Makes UUIDs of version 7, as hotpath.peers does."""

    cdef int put(self, int64_t ms, char* text) except -1:
        """Write the 36 characters of a new id."""
        cdef const char* hexes = b"0123456789abcdef"
        cdef uint8_t raw[16]
        cdef bytes fresh
        cdef int i, at = 0
        if self.left < 10:
            fresh = os.urandom(sizeof(self.noise))
            memcpy(self.noise, PyBytes_AS_STRING(fresh), sizeof(self.noise))
            self.left = sizeof(self.noise)
        self.left -= 10
        for i in range(6):
            raw[i] = <uint8_t>(ms >> (40 - 8 * i))
        memcpy(raw + 6, self.noise + self.left, 10)
        # Never given twice, not even where a core file is read.
        memset(self.noise + self.left, 0, 10)
        raw[6] = 0x70 | (raw[6] & 0x0F)
        raw[8] = 0x80 | (raw[8] & 0x3F)
        for i in range(16):
            if i == 4 or i == 6 or i == 8 or i == 10:
                text[at] = c'-'
                at += 1
            text[at] = hexes[raw[i] >> 4]
            text[at + 1] = hexes[raw[i] & 15]
            at += 2
        return 0


cdef int put_field(Out out, const uint8_t* p, Py_ssize_t name, Py_ssize_t name_size,
                   Py_ssize_t value, Py_ssize_t value_size) except -1:
    out.put(p + name, name_size)
    out.put(b": ", 2)
    out.put(p + value, value_size)
    return out.put(b"\r\n", 2)
