"""Upstream connections of the compiled lane; see http1_upstream.pyx."""

from libc.stdint cimport int64_t, uint8_t

from fastgate._ext.http1_answer cimport Answer
from fastgate._ext.http1_chunks cimport Chunks
from fastgate._ext.http1_front cimport Front

cdef enum:                      # states of an upstream connection
    UP_RESTING = 0              # in the pool: any byte is unasked for
    UP_HEAD = 1
    UP_LENGTH = 2
    UP_CHUNKED = 3
    UP_CLOSE = 4                # the body ends with the connection
    UP_GONE = 5


cdef class Relayed(Front):
    """A client's connection as its upstream sees it."""

    cdef int answer_head(self, const uint8_t* p, const Answer* a, bint empty) except -1
    cdef int answer_body(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int answer_data(self, bytes data) except -1
    cdef int answer_flush(self) except -1
    cdef int answer_end(self, Upstream up) except -1
    cdef int upstream_failed(self, Upstream up) except -1
    cdef int upstream_full(self) except -1
    cdef int upstream_drained(self) except -1


cdef class Pool:
    cdef readonly str base
    cdef object connections     # of both lanes, by base URL
    cdef bytearray buffer       # what every connection is read into: one at a time
    cdef list idle
    cdef Py_ssize_t open
    cdef Py_ssize_t dialing
    cdef Answer answer          # that is being read: one at a time

    cdef Upstream take(self, double now)
    cdef int give_back(self, Upstream up) except -1
    cdef int expire(self, double now) except -1


cdef class Upstream:
    cdef Pool pool
    cdef object transport
    cdef Relayed owner
    cdef bytearray held
    cdef Py_ssize_t seen
    cdef int64_t left
    cdef Chunks chunks
    cdef double rested_s
    cdef int state
    cdef int informational
    cdef bint reused
    cdef bint heard
    cdef bint keep
    cdef bint head_only
    cdef bint reading_paused
    cdef bint writing_paused

    cdef int received(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int lend(self, Relayed owner, bint head_only) except -1
    cdef Py_ssize_t take_heads(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int begin_body(self, const uint8_t* p, const Answer* a) except -1
    cdef int take_body(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int take_chunks(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int finish(self) except -1
    cdef int fail(self) except -1
    cdef int drop(self) except -1
    cdef int pause(self, bint paused) except -1
