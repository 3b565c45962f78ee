"""Front: what other compiled modules need to know of it; see http1_front.pyx."""

from libc.stdint cimport int64_t, uint8_t

from fastgate._ext.http1_chunks cimport Chunks
from fastgate._ext.http1_scan cimport Head, Limits, Search

cdef enum:                      # states of a connection
    STATE_HEAD = 1              # between messages, or in a head
    STATE_LENT = 2              # a message is with the general lane
    STATE_PLAIN = 3             # a message is with the compiled lane
    STATE_TUNNEL = 4            # every byte belongs to a tunnel
    STATE_DEAF = 5              # no further byte means anything

# Reasons: what one read brings and what may wait to be written are the most that an exchange
# holds whose other side takes nothing; together they stay below the 128 KiB of THREATS section 4
# (uvloop alone would read 256 KB at once). And one buffer for all connections stays in the cache.
cdef enum:
    READ_BYTES = 65536
    WAITING_BYTES = 32768

cdef enum:                      # what the deadline stands for
    DUE_NOTHING = 0
    DUE_SILENCE = 1             # nobody is heard: close without a word
    DUE_HEAD = 2                # a head takes too long: 408
    DUE_OTHER = 3               # whatever the compiled lane waits for


cdef class Settings:
    cdef Limits limits
    cdef Py_ssize_t connections
    cdef double first_byte_s
    cdef double head_s
    cdef double body_idle_s
    cdef double keep_alive_s
    cdef readonly object snapshot


cdef class Acceptor:
    cdef object loop
    cdef object lane
    cdef object cell
    cdef Settings settings
    cdef set fronts
    cdef object timer
    cdef bytearray buffer       # what every connection is read into: one at a time
    cdef Head head              # of the message that is being read: one at a time

    cdef Settings current(self)
    cdef int watch(self, Front front) except -1
    cdef int arm(self) except -1


cdef class Front:
    cdef Acceptor acceptor
    cdef Settings settings
    cdef readonly object transport
    cdef object back
    cdef bytearray held         # bytes received and not yet taken
    cdef Search search
    cdef Chunks chunks
    cdef int64_t left
    cdef double deadline
    cdef int due
    cdef int state
    cdef bint chunked
    cdef bint body_open         # bytes of the current message are still to come
    cdef bint skipped
    cdef bint back_paused
    cdef bint body_stuck        # it finds no room in the compiled lane
    cdef bint reading_paused
    cdef bint writing_paused

    cdef int received(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int pump_held(self) except -1
    cdef Py_ssize_t pump(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef Py_ssize_t take_head(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int begin(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef Py_ssize_t take_body(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int lend(self, bytes head) except -1
    cdef Py_ssize_t feed_body(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef Py_ssize_t feed_chunks(self, const uint8_t* p, Py_ssize_t size) except -1
    cdef int refuse(self, str reason) except -1
    cdef int settle_reading(self) except -1
    cdef int expect_head(self, double delay_s) except -1
    cdef int expire(self) except -1
    cdef object open_back(self)
    cdef bint may_lapse(self)
