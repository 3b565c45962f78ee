"""What other compiled modules need to know of counters; see counters.pyx."""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MAX_BOUNDS = 32        # a longer histogram is a mistake, and the search is linear
    MAX_SERVED = 8


cdef class Block:
    cdef Py_buffer view
    cdef bint held
    cdef uint64_t* words
    cdef Py_ssize_t rows
    cdef Py_ssize_t columns

    cdef int hold(self, object buffer, int flags) except -1
    cdef int read_header(self) except -1
    cdef uint64_t* row_at(self, Py_ssize_t row) noexcept nogil


cdef class CounterRow(Block):
    cdef uint64_t* head
    cdef uint64_t* cells
    cdef Py_ssize_t used

    cdef void bump(self, Py_ssize_t column, int64_t n) noexcept nogil
    cdef void overflow_by_one(self) noexcept nogil


cdef class Column:
    cdef CounterRow row
    cdef Py_ssize_t place


cdef class Histogram:
    cdef CounterRow row
    cdef Py_ssize_t first
    cdef int bound_count
    cdef int64_t bounds_ns[MAX_BOUNDS]

    cdef void count(self, int64_t ns) noexcept nogil


cdef class Served:
    cdef CounterRow row
    cdef int column_count
    cdef Py_ssize_t columns[MAX_SERVED]
    cdef Py_ssize_t in_flight
    cdef Histogram duration
    cdef Histogram overhead
    cdef Histogram upstream

    cdef void add(self, int64_t started_ns, int64_t sent_ns, int64_t heard_ns, int64_t begun_ns,
                  int64_t finished_ns) noexcept nogil


cdef class CounterTable(Block):
    cdef uint64_t layout

    cdef bint counts(self, Py_ssize_t row) noexcept nogil
    cdef uint64_t sum_of(self, Py_ssize_t column) noexcept nogil
