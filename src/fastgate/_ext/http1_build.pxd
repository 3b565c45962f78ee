"""Building heads: what the compiled lane shares between both directions; see the pyx."""

from libc.stdint cimport int64_t, uint8_t

cdef enum:
    NAME_SLOTS = 256
    LONGEST_NAME = 31
    PREFIXES = 8

ctypedef struct Name:
    uint8_t size
    uint8_t text[LONGEST_NAME]


cdef class Names:
    cdef Name slots[NAME_SLOTS]
    cdef Name prefixes[PREFIXES]
    cdef int prefix_count

    cdef bint holds(self, const uint8_t* name, Py_ssize_t size) noexcept nogil
    cdef bint has_prefix(self, const uint8_t* name, Py_ssize_t size) noexcept nogil


cdef class Out:
    cdef char* data
    cdef Py_ssize_t size
    cdef Py_ssize_t room

    cdef int reserve(self, Py_ssize_t more) except -1
    cdef int put(self, const void* data, Py_ssize_t size) except -1
    cdef int put_bytes(self, bytes data) except -1
    cdef int put_number(self, int64_t value) except -1
    cdef int put_chunk(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef bytes take(self)


cdef class RequestIds:
    cdef uint8_t noise[4096]
    cdef Py_ssize_t left

    cdef int put(self, int64_t ms, char* text) except -1


cdef int put_field(Out out, const uint8_t* p, Py_ssize_t name, Py_ssize_t name_size,
                   Py_ssize_t value, Py_ssize_t value_size) except -1
