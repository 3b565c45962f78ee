# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Counters: numbers that every process of a node adds to and one process reads.

Owns:      the layout of a block of memory that the caller gives (a memfd in the product).
Called by: each worker and the agent through a CounterRow of their own, on every request;
           the agent's metrics page through a CounterTable. Built by wiring alone.

Layout, in 8-byte words: a header line {magic, version, rows, columns}; then a row a slot, each
starting on a cache line: a row header line {layout, used columns, overflow}, then one word a
column. Each row has one writer, so an addition is a plain load and store, atomic per word, and
no process waits for another. A row outlives its process: a successor maps it and goes on.

`layout` names what the columns mean. A writer whose meaning differs from the row's begins it
at zero, and a table skips rows of another meaning: after a reload that adds a route, numbers
start again and none appears under a wrong name. Nothing read from the memory becomes an offset
unchecked.
"""

cimport cython

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.string cimport memset

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t fg_load(const uint64_t *p) {
        return __atomic_load_n(p, __ATOMIC_RELAXED);
    }
    static inline void fg_store(uint64_t *p, uint64_t v) {
        __atomic_store_n(p, v, __ATOMIC_RELAXED);
    }
    static inline uint64_t fg_load_acquire(const uint64_t *p) {
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    }
    static inline void fg_store_release(uint64_t *p, uint64_t v) {
        __atomic_store_n(p, v, __ATOMIC_RELEASE);
    }
    static inline void fg_fence(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
    """
    uint64_t fg_load(const uint64_t* p) noexcept nogil
    void fg_store(uint64_t* p, uint64_t v) noexcept nogil
    uint64_t fg_load_acquire(const uint64_t* p) noexcept nogil
    void fg_store_release(uint64_t* p, uint64_t v) noexcept nogil
    void fg_fence() noexcept nogil

cdef enum:
    LINE_WORDS = 8
    WORD_BYTES = 8
    HEAD_MAGIC = 0
    HEAD_VERSION = 1
    HEAD_ROWS = 2
    HEAD_COLUMNS = 3
    ROW_LAYOUT = 0
    ROW_USED = 1
    ROW_OVERFLOW = 2

cdef uint64_t MAGIC = 0x31746E756F436746     # "FgCount1" in memory
cdef uint64_t VERSION = 1
cdef uint64_t IN_TRANSITION = 0xFFFFFFFFFFFFFFFF    # a row being cleared: nobody's layout
# Reasons: more worker slots than any host has cores; 8 MiB a row.
cdef Py_ssize_t MAX_ROWS = 4096
cdef Py_ssize_t MAX_COLUMNS = 1 << 20


cdef inline Py_ssize_t row_words(Py_ssize_t columns) noexcept nogil:
    return LINE_WORDS + ((columns + LINE_WORDS - 1) // LINE_WORDS) * LINE_WORDS


cdef int check_shape(Py_ssize_t rows, Py_ssize_t columns) except -1:
    if rows < 1 or rows > MAX_ROWS or columns < 1 or columns > MAX_COLUMNS:
        raise ValueError("rows or columns are outside their range")
    return 0


def size(Py_ssize_t rows, Py_ssize_t columns):
    check_shape(rows, columns)
    return (LINE_WORDS + rows * row_words(columns)) * WORD_BYTES


cdef class Block:
    """A buffer with its header read and checked; base of the two views below."""

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef int hold(self, object buffer, int flags) except -1:
        PyObject_GetBuffer(buffer, &self.view, PyBUF_SIMPLE | flags)
        self.held = True
        if self.view.len < LINE_WORDS * WORD_BYTES:
            raise ValueError("the buffer is too small")
        if <uintptr_t>self.view.buf % WORD_BYTES != 0:
            raise ValueError("the buffer is not aligned to 8 bytes")
        self.words = <uint64_t*>self.view.buf
        return 0

    cdef int read_header(self) except -1:
        cdef uint64_t rows = fg_load(self.words + HEAD_ROWS)
        cdef uint64_t columns = fg_load(self.words + HEAD_COLUMNS)
        if fg_load_acquire(self.words + HEAD_MAGIC) != MAGIC:
            raise ValueError("the buffer holds no counter table")
        if fg_load(self.words + HEAD_VERSION) != VERSION:
            raise ValueError("the counter table has another version")
        if rows > <uint64_t>MAX_ROWS or columns > <uint64_t>MAX_COLUMNS:
            raise ValueError("the counter table is damaged")
        if self.view.len < size(<Py_ssize_t>rows, <Py_ssize_t>columns):
            raise ValueError("the buffer is too small")
        self.rows = <Py_ssize_t>rows
        self.columns = <Py_ssize_t>columns
        return 0

    cdef uint64_t* row_at(self, Py_ssize_t row) noexcept nogil:
        return self.words + LINE_WORDS + row * row_words(self.columns)


@cython.final
cdef class CounterRow(Block):
    """See counters.pyi."""

    def __cinit__(self, object buffer, Py_ssize_t row, Py_ssize_t columns, uint64_t layout=0):
        cdef uint64_t before
        self.hold(buffer, PyBUF_WRITABLE)
        self.read_header()
        if row < 0 or row >= self.rows or columns < 1 or columns > self.columns:
            raise ValueError("row or columns are outside the table")
        if layout == IN_TRANSITION:
            raise ValueError("this layout is reserved")
        self.used = columns
        self.head = self.row_at(row)
        self.cells = self.head + LINE_WORDS
        if fg_load(self.head + ROW_LAYOUT) != layout:
            before = fg_load(self.head + ROW_USED)
            if before > <uint64_t>self.columns:
                before = <uint64_t>self.columns
            fg_store(self.head + ROW_LAYOUT, IN_TRANSITION)
            fg_fence()
            memset(self.cells, 0, <size_t>before * WORD_BYTES)
            fg_store(self.head + ROW_USED, <uint64_t>columns)
            fg_store_release(self.head + ROW_LAYOUT, layout)
        elif fg_load(self.head + ROW_USED) < <uint64_t>columns:
            fg_store(self.head + ROW_USED, <uint64_t>columns)

    def add(self, Py_ssize_t column, int64_t n=1):
        self.bump(column, n)

    def get(self, Py_ssize_t column):
        if column < 0 or column >= self.used:
            return 0
        return fg_load(self.cells + column)

    def set(self, Py_ssize_t column, uint64_t value):
        if column < 0 or column >= self.used:
            self.overflow_by_one()
        else:
            fg_store(self.cells + column, value)

    def overflow(self):
        return fg_load(self.head + ROW_OVERFLOW)

    def column(self, Py_ssize_t column):
        return Column(self, column)

    def histogram(self, Py_ssize_t first_column, tuple bounds_ns not None):
        return Histogram(self, first_column, bounds_ns)

    def served(self, tuple columns, Py_ssize_t in_flight, Histogram duration, Histogram overhead,
               Histogram upstream):
        return Served(self, columns, in_flight, duration, overhead, upstream)

    cdef void bump(self, Py_ssize_t column, int64_t n) noexcept nogil:
        # One writer a row: load and store suffice, no locked instruction.
        if column < 0 or column >= self.used:
            self.overflow_by_one()
        else:
            fg_store(self.cells + column, fg_load(self.cells + column) + <uint64_t>n)

    cdef void overflow_by_one(self) noexcept nogil:
        fg_store(self.head + ROW_OVERFLOW, fg_load(self.head + ROW_OVERFLOW) + 1)


@cython.final
cdef class Column:
    """See counters.pyi."""

    def __cinit__(self, CounterRow row not None, Py_ssize_t column):
        self.row = row
        self.place = column

    def add(self, int64_t n=1):
        self.row.bump(self.place, n)


@cython.final
cdef class Histogram:
    """See counters.pyi."""

    def __cinit__(self, CounterRow row not None, Py_ssize_t first_column, tuple bounds_ns not None):
        cdef int index
        if not 0 < len(bounds_ns) <= MAX_BOUNDS:
            raise ValueError("a histogram has 1 to 32 bounds")
        self.row = row
        self.first = first_column
        self.bound_count = <int>len(bounds_ns)
        if first_column < 0 or first_column > row.used - (self.bound_count + 2):
            raise ValueError("the histogram does not fit into the row")
        for index in range(self.bound_count):
            self.bounds_ns[index] = bounds_ns[index]
            if self.bounds_ns[index] <= (0 if index == 0 else self.bounds_ns[index - 1]):
                raise ValueError("bounds are positive and rise")

    def observe(self, int64_t ns):
        self.count(ns)

    cdef void count(self, int64_t ns) noexcept nogil:
        cdef int bucket = 0
        if ns < 0:          # a clock that stepped must not wrap the sum
            ns = 0
        while bucket < self.bound_count and ns > self.bounds_ns[bucket]:
            bucket += 1
        self.row.bump(self.first + bucket, 1)
        self.row.bump(self.first + self.bound_count + 1, ns)


@cython.final
cdef class Served:
    """See counters.pyi."""

    def __cinit__(self, CounterRow row not None, tuple columns not None, Py_ssize_t in_flight,
                  Histogram duration not None, Histogram overhead not None,
                  Histogram upstream not None):
        cdef Py_ssize_t column
        if len(columns) > MAX_SERVED:
            raise ValueError("too many columns")
        for column in columns:
            self.columns[self.column_count] = column
            self.column_count += 1
        self.row = row
        self.in_flight = in_flight
        self.duration = duration
        self.overhead = overhead
        self.upstream = upstream

    def count(self, int64_t started_ns, int64_t sent_ns, int64_t heard_ns, int64_t begun_ns,
              int64_t finished_ns):
        self.add(started_ns, sent_ns, heard_ns, begun_ns, finished_ns)

    cdef void add(self, int64_t started_ns, int64_t sent_ns, int64_t heard_ns, int64_t begun_ns,
                  int64_t finished_ns) noexcept nogil:
        cdef int index
        for index in range(self.column_count):
            self.row.bump(self.columns[index], 1)
        self.row.bump(self.in_flight, -1)
        self.duration.count(finished_ns - started_ns)
        self.overhead.count(sent_ns - started_ns + begun_ns - heard_ns)
        self.upstream.count(heard_ns - sent_ns)


@cython.final
cdef class CounterTable(Block):
    """See counters.pyi."""

    def __cinit__(self, object buffer, Py_ssize_t rows, Py_ssize_t columns, uint64_t layout=0):
        check_shape(rows, columns)
        self.layout = layout
        self.hold(buffer, 0)
        if self.view.len < size(rows, columns):
            raise ValueError("the buffer is too small")
        if not self.view.readonly and fg_load_acquire(self.words + HEAD_MAGIC) == 0:
            fg_store(self.words + HEAD_VERSION, VERSION)
            fg_store(self.words + HEAD_ROWS, <uint64_t>rows)
            fg_store(self.words + HEAD_COLUMNS, <uint64_t>columns)
            fg_store_release(self.words + HEAD_MAGIC, MAGIC)
        self.read_header()
        if rows != self.rows or columns != self.columns:
            raise ValueError("the counter table has another shape")

    def total(self, Py_ssize_t column):
        if column < 0 or column >= self.columns:
            return 0
        return self.sum_of(column)

    def value(self, Py_ssize_t row, Py_ssize_t column):
        if row < 0 or row >= self.rows or column < 0 or column >= self.columns:
            return 0
        if not self.counts(row):
            return 0
        return fg_load(self.row_at(row) + LINE_WORDS + column)

    def totals(self, Py_ssize_t first=0, Py_ssize_t last=-1):
        cdef Py_ssize_t column
        cdef list found = []
        if last < 0 or last > self.columns:
            last = self.columns
        for column in range(max(first, 0), last):
            found.append(self.sum_of(column))
        return found

    def nonzero(self, Py_ssize_t first, Py_ssize_t last):
        cdef Py_ssize_t column
        cdef uint64_t total
        cdef list found = []
        for column in range(max(first, 0), min(last, self.columns)):
            total = self.sum_of(column)
            if total != 0:
                found.append((column, total))
        return found

    def overflow(self):
        cdef Py_ssize_t row
        cdef uint64_t total = 0
        for row in range(self.rows):
            total += fg_load(self.row_at(row) + ROW_OVERFLOW)
        return total

    cdef bint counts(self, Py_ssize_t row) noexcept nogil:
        return fg_load_acquire(self.row_at(row) + ROW_LAYOUT) == self.layout

    cdef uint64_t sum_of(self, Py_ssize_t column) noexcept nogil:
        cdef Py_ssize_t row
        cdef uint64_t total = 0
        for row in range(self.rows):
            if self.counts(row):
                total += fg_load(self.row_at(row) + LINE_WORDS + column)
        return total
