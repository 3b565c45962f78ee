# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Upstream connections of the compiled lane, and the pool of those that rest.

Owns:      the reading of answers on one connection, and whether it may be used again.
Called by: the event loop; http1 lends a connection to one client at a time.
Source:    RFC 9112 sections 4 to 9; THREATS U1, U3, U6, T24.

A connection that broke, over-ran, was cut short or said something unasked for is dropped; what
is behind a framed answer belongs to nobody.
"""

cimport cython

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from fastgate._ext.http1_answer cimport Answer, find_answer_end, read_answer
from fastgate._ext.http1_bytes cimport append, now_s
from fastgate._ext.http1_chunks cimport (
    STEP_DATA,
    STEP_END,
    STEP_FAULT,
    begin_chunks,
    next_chunk,
)
from fastgate._ext.http1_front cimport WAITING_BYTES

# Reason: as in adapters.aiohttp_client: below the 5 s after which servers close.
cdef double IDLE_S = 4.0
# Reason: one for Continue, one for Early Hints, and some; endless ones are an attack.
cdef int MAX_INFORMATIONAL = 8


cdef class Relayed(Front):
    """What an upstream connection tells its client; none is made but as http1.Downstream."""

    cdef int answer_head(self, const uint8_t* p, const Answer* a, bint empty) except -1:
        raise TypeError("not a client of the compiled lane")

    cdef int answer_body(self, const uint8_t* p, Py_ssize_t size) except -1:
        raise TypeError("not a client of the compiled lane")

    cdef int answer_data(self, bytes data) except -1:
        raise TypeError("not a client of the compiled lane")

    cdef int answer_flush(self) except -1:
        raise TypeError("not a client of the compiled lane")

    cdef int answer_end(self, Upstream up) except -1:
        raise TypeError("not a client of the compiled lane")

    cdef int upstream_failed(self, Upstream up) except -1:
        raise TypeError("not a client of the compiled lane")

    cdef int upstream_full(self) except -1:
        raise TypeError("not a client of the compiled lane")

    cdef int upstream_drained(self) except -1:
        raise TypeError("not a client of the compiled lane")


@cython.final
cdef class Pool:
    """Connections to one upstream address."""

    def __cinit__(self, str base not None, connections not None, bytearray buffer not None):
        self.base = base
        self.connections = connections
        self.buffer = buffer
        self.idle = []

    def __call__(self):
        """Make the protocol of a new connection."""
        return Upstream(self)

    cdef Upstream take(self, double now):
        """Return a connection that rests, the one used last; None where there is none."""
        cdef Upstream up
        while self.idle:
            up = self.idle.pop()
            if up.rested_s + IDLE_S > now and not up.transport.is_closing():
                return up
            up.drop()
        return None

    cdef int give_back(self, Upstream up) except -1:
        """Keep a connection whose exchange ended cleanly; drop any other."""
        if not up.keep or up.state != UP_RESTING or up.transport.is_closing():
            return up.drop()
        up.rested_s = now_s()
        up.pause(False)
        self.idle.append(up)
        return 0

    cdef int expire(self, double now) except -1:
        cdef Upstream up
        while self.idle:
            up = self.idle[0]
            if up.rested_s + IDLE_S > now:
                break
            del self.idle[0]
            up.drop()
        return 0

    def close(self):
        """Drop what rests."""
        cdef Upstream up
        while self.idle:
            up = self.idle.pop()
            up.drop()


@cython.final
cdef class Upstream:
    """One connection to an upstream: resting, or lent for one exchange."""

    def __cinit__(self, Pool pool not None):
        self.pool = pool
        self.held = bytearray()
        self.keep = True

    # -- called by the event loop --------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        # A body that the upstream does not take waits with the client, not here.
        transport.set_write_buffer_limits(high=WAITING_BYTES)
        self.pool.open += 1
        self.pool.connections[self.pool.base] += 1

    def connection_lost(self, exc):
        cdef Relayed owner = self.owner
        cdef bint ended = self.state == UP_CLOSE and exc is None
        self.pool.open -= 1
        self.pool.connections[self.pool.base] -= 1
        if self.state == UP_RESTING and self in self.pool.idle:
            self.pool.idle.remove(self)
        self.keep = False
        if owner is None:
            self.state = UP_GONE
        elif ended:
            self.finish()
        else:
            self.fail()

    def eof_received(self):
        return None

    def pause_writing(self):
        self.writing_paused = True
        if self.owner is not None:
            self.owner.upstream_full()

    def resume_writing(self):
        self.writing_paused = False
        if self.owner is not None:
            self.owner.upstream_drained()

    def get_buffer(self, _):
        return self.pool.buffer

    def buffer_updated(self, Py_ssize_t size):
        self.received(<const uint8_t*>PyByteArray_AS_STRING(self.pool.buffer), size)

    def data_received(self, data):
        """Take bytes from a loop that has a buffer of its own, such as asyncio's."""
        self.received(<const uint8_t*>PyBytes_AS_STRING(data), len(data))

    cdef int received(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Py_ssize_t used
        cdef bytearray held = self.held
        if self.owner is None or self.state == UP_RESTING or self.state == UP_GONE:
            # An answer nobody asked for would be taken for the next one (T24).
            return self.drop()
        self.heard = True
        if self.state == UP_HEAD:
            if held:
                append(held, p, size)
                used = self.take_heads(<const uint8_t*>PyByteArray_AS_STRING(held), len(held))
                del held[:used]
            else:
                used = self.take_heads(p, size)
                if used < size:
                    append(held, p + used, size - used)
            return 0
        if self.state == UP_LENGTH and size < self.left:
            # The middle of a body needs no look.
            self.left -= size
            return self.owner.answer_data(PyBytes_FromStringAndSize(<const char*>p, size))
        return self.take_body(p, size)

    # -- one exchange --------------------------------------------------------------------------

    cdef int lend(self, Relayed owner, bint head_only) except -1:
        """Expect the answer to one request of this client."""
        self.owner = owner
        self.state = UP_HEAD
        self.head_only = head_only
        self.heard = False
        self.informational = 0
        self.seen = 0
        if self.held:
            self.held = bytearray()
        return 0

    cdef Py_ssize_t take_heads(self, const uint8_t* p, Py_ssize_t size) except -1:
        """Take heads, and what follows the final one; returns how many bytes."""
        cdef Answer* a = &self.pool.answer
        cdef Py_ssize_t at = 0, end
        cdef int found
        while True:
            found = find_answer_end(p + at, size - at, &self.seen)
            if found == 0:
                return at
            end = at + self.seen
            self.seen = 0
            if found < 0 or not read_answer(p + at, end - at, a):
                self.fail()
                return size
            if a.status >= 200:
                break
            self.informational += 1
            if self.informational > MAX_INFORMATIONAL:
                self.fail()
                return size
            at = end
        self.begin_body(p + at, a)
        self.take_body(p + end, size - end)
        return size

    cdef int begin_body(self, const uint8_t* p, const Answer* a) except -1:
        cdef bint empty = self.head_only or a.status == 204 or a.status == 304
        self.keep = a.keep
        self.left = 0
        if empty or a.length >= 0:
            self.state = UP_LENGTH
            self.left = 0 if empty else a.length
        elif a.chunked:
            self.state = UP_CHUNKED
            begin_chunks(&self.chunks)
        else:
            self.state = UP_CLOSE
            self.keep = False
        return self.owner.answer_head(p, a, empty)

    cdef int take_body(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Relayed owner = self.owner
        cdef Py_ssize_t taken
        if self.state == UP_CHUNKED:
            return self.take_chunks(p, size)
        if self.state == UP_CLOSE:
            if size:
                owner.answer_body(p, size)
            return owner.answer_flush()
        taken = size if size < self.left else <Py_ssize_t>self.left
        self.left -= taken
        if taken < size:
            self.keep = False
        if taken:
            owner.answer_body(p, taken)
        if self.left == 0:
            return self.finish()
        return owner.answer_flush()

    cdef int take_chunks(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Relayed owner = self.owner
        cdef Py_ssize_t at = 0, start = 0
        cdef int step
        while True:
            step = next_chunk(&self.chunks, p, size, &at, &start)
            if step != STEP_DATA:
                break
            owner.answer_body(p + start, at - start)
        if step == STEP_FAULT:
            return self.fail()
        if step != STEP_END:
            return owner.answer_flush()
        if at < size:
            self.keep = False
        return self.finish()

    cdef int finish(self) except -1:
        cdef Relayed owner = self.owner
        self.owner = None
        self.state = UP_RESTING
        self.reused = True
        return owner.answer_end(self)

    cdef int fail(self) except -1:
        cdef Relayed owner = self.owner
        self.drop()
        return owner.upstream_failed(self)

    cdef int drop(self) except -1:
        """Let go of whatever this connection was for, and cut it."""
        self.owner = None
        self.state = UP_GONE
        self.keep = False
        self.held = bytearray()
        self.transport.abort()
        return 0

    cdef int pause(self, bint paused) except -1:
        """Read no more, or go on: the client's side is full, or no longer."""
        if paused == self.reading_paused or self.transport.is_closing():
            return 0
        self.reading_paused = paused
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
        return 0
