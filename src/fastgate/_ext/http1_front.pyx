# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Front: frames every message of a client's connection, for the life of the connection.

Owns:      the transport, the bytes not yet taken, and the timers of waiting for a head.
Called by: the event loop; adapters.aiohttp_server stands behind it as the general lane, which
           gets exactly the bytes of the messages it is lent, one message at a time.
Source:    RFC 9112 sections 2 to 7 and 9; THREATS T1, T16, T17, T25 and section 4.

What is malformed is refused with the stable name of a reason; no further byte of that connection
is looked at. Behind the front, a connection of the general lane takes this object for its
transport, so that only the front ever reads from the socket.

Longer than others: one object has every state of a connection.
"""

cimport cython

import socket
import struct

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memset

from fastgate._ext.http1_bytes cimport append, now_s
from fastgate._ext.http1_chunks cimport (
    STEP_DATA,
    STEP_END,
    STEP_FAULT,
    STEP_MORE,
    begin_chunks,
    next_chunk,
)
from fastgate._ext.http1_scan cimport find_end, read_early, read_head

# Reason: THREATS section 4, pause at 64 KiB. It bounds pipelining, too: what waits behind a
# message is bytes, not a queue of messages, since none is framed before its turn.
cdef Py_ssize_t HELD_BYTES = 65536
# Reasons: late by a quarter of a second is on time for timers of seconds; tests use short ones.
cdef double LONGEST_SWEEP_S = 0.25
cdef double SHORTEST_SWEEP_S = 0.01

# By Fault.
cdef tuple FAULTS = (
    "internal_error",
    "bad_request",
    "target_too_long",
    "headers_too_large",
    "method_not_allowed",
    "http_version",
    "invalid_request",
    "not_supported",
)

_OVERLOADED_BODY = (
    b'{"type":"urn:fastgate:problem:overloaded","title":"The gateway is at its limit.",'
    b'"status":503,"code":"overloaded"}'
)
# Written without a relay or a request: there is no room for any of them.
cdef bytes OVERLOADED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%b"
) % (len(_OVERLOADED_BODY), _OVERLOADED_BODY)


@cython.final
cdef class Settings:
    """Limits and timers of one snapshot, as C numbers."""

    def __cinit__(self, snapshot):
        limits, timers = snapshot.limits, snapshot.timers
        self.snapshot = snapshot
        self.limits.request_line = limits.request_line_bytes
        self.limits.header_line = limits.header_line_bytes
        self.limits.head = limits.head_bytes
        self.limits.count = limits.header_count
        self.connections = limits.connections
        self.first_byte_s = timers.first_byte_s
        self.head_s = timers.head_s
        self.body_idle_s = timers.body_idle_s
        self.keep_alive_s = timers.keep_alive_s


cdef class Acceptor:
    """See http1_front.pyi."""

    def __init__(self, loop, lane, cell):
        self.loop = loop
        self.lane = lane
        self.cell = cell
        self.fronts = set()
        self.buffer = bytearray(READ_BYTES)
        self.settings = Settings(cell.current)

    def __call__(self):
        return Front(self)

    cdef Settings current(self):
        snapshot = self.cell.current
        if self.settings.snapshot is not snapshot:
            self.settings = Settings(snapshot)
        return self.settings

    cdef int watch(self, Front front) except -1:
        self.fronts.add(front)
        if self.timer is None:
            self.arm()
        return 0

    cdef int arm(self) except -1:
        cdef Settings s = self.settings
        cdef double shortest
        if self.timer is None:
            shortest = min(s.first_byte_s, s.head_s, s.keep_alive_s, s.body_idle_s) / 4
            shortest = max(SHORTEST_SWEEP_S, min(LONGEST_SWEEP_S, shortest))
            self.timer = self.loop.call_later(shortest, self.sweep)
        return 0

    def sweep(self):
        """End what waited too long; one timer serves every connection."""
        cdef double now = now_s()
        cdef Front front
        self.timer = None
        if self.fronts:
            self.arm()                 # first: whatever happens, the next sweep comes
        for front in list(self.fronts):
            if 0 < front.deadline <= now:
                front.deadline = 0
                front.expire()

    def close(self):
        """Stop the timer, when the worker ends."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def forget(self, front):
        """Let a connection go; the timer goes with the last one."""
        self.fronts.discard(front)
        if not self.fronts:
            self.close()


cdef class Front:
    """See http1_front.pyi."""

    def __cinit__(self, Acceptor acceptor not None):
        self.acceptor = acceptor
        self.settings = acceptor.current()
        self.held = bytearray()
        self.state = STATE_HEAD

    # -- called by the event loop --------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        if not self.acceptor.lane.admit(self, self.settings.connections):
            self.state = STATE_DEAF
            transport.write(OVERLOADED)
            transport.close()
            return
        transport.set_write_buffer_limits(high=WAITING_BYTES)
        self.expect_head(self.settings.first_byte_s)
        self.acceptor.watch(self)

    def connection_lost(self, exc):
        self.state = STATE_DEAF
        self.deadline = 0
        self.held = bytearray()
        self.acceptor.forget(self)
        self.acceptor.lane.lost(self)
        back = self.back
        self.back = None
        if back is not None:
            back.connection_lost(exc)

    def eof_received(self):
        """Close: nobody is left to take an answer, as far as anyone can tell."""
        return None

    def get_buffer(self, _):
        return self.acceptor.buffer

    def buffer_updated(self, Py_ssize_t size):
        self.received(<const uint8_t*>PyByteArray_AS_STRING(self.acceptor.buffer), size)

    def data_received(self, data):
        """Take bytes from a loop that has a buffer of its own, such as asyncio's."""
        self.received(<const uint8_t*>PyBytes_AS_STRING(data), len(data))

    cdef int received(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Py_ssize_t used
        if self.state == STATE_DEAF:
            return 0
        if self.state == STATE_TUNNEL:
            self.back.data_received(PyBytes_FromStringAndSize(<const char*>p, size))
            return 0
        if self.held:
            append(self.held, p, size)
            return self.pump_held()
        used = self.pump(p, size)
        if used < size and self.state != STATE_DEAF:
            append(self.held, p + used, size - used)
        return self.settle_reading()

    def pause_writing(self):
        self.writing_paused = True
        if self.back is not None:
            self.back.pause_writing()

    def resume_writing(self):
        self.writing_paused = False
        if self.back is not None:
            self.back.resume_writing()

    # -- framing -------------------------------------------------------------------------------

    def pump_later(self):
        """Go on with bytes that were held back."""
        if self.held and self.state != STATE_DEAF:
            self.pump_held()

    cdef int pump_held(self) except -1:
        # Nothing that pump calls changes these bytes; what it calls may let go of them.
        cdef bytearray held = self.held
        cdef Py_ssize_t used = self.pump(<const uint8_t*>PyByteArray_AS_STRING(held), len(held))
        if self.state == STATE_DEAF:
            self.held = bytearray()
        elif used:
            del held[:used]
        return self.settle_reading()

    cdef Py_ssize_t pump(self, const uint8_t* p, Py_ssize_t size) except -1:
        """Take what can be taken now of p[:size]; returns how many bytes."""
        cdef Py_ssize_t at = 0, used
        while at < size:
            if self.state == STATE_HEAD:
                used = self.take_head(p + at, size - at)
            elif self.body_open:
                used = self.take_body(p + at, size - at)
            else:
                break
            if used == 0:
                break
            at += used
        return at

    cdef Py_ssize_t take_head(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Head* head = &self.acceptor.head
        cdef Py_ssize_t end
        cdef int fault
        cdef int found
        if not self.skipped and self.search.at == 0 and size > 1:
            self.skipped = True
            if p[0] == c'\r' and p[1] == c'\n':
                return 2               # one empty line is forgiven (RFC 9112 section 2.2)
        found = find_end(p, size, &self.search, &self.settings.limits)
        fault = -found if found < 0 else 0
        if found == 0:
            fault = read_early(p, &self.search, head)
            if fault == 0 and self.due != DUE_HEAD:
                self.due = DUE_HEAD
                self.deadline = now_s() + self.settings.head_s
        if fault == 0 and found:
            fault = read_head(p, self.search.at, head)
        if fault:
            self.refuse(FAULTS[fault])
            return 0
        if found == 0:
            return 0
        end = self.search.at
        memset(&self.search, 0, sizeof(self.search))
        self.skipped = False
        self.due = DUE_NOTHING
        self.deadline = 0
        self.chunked = head.chunked
        self.left = head.length
        self.body_open = head.chunked or head.length > 0
        if head.chunked:
            begin_chunks(&self.chunks)
        self.begin(p, end)
        return end

    cdef int begin(self, const uint8_t* p, Py_ssize_t size) except -1:
        """Give a message, whose head was read, to the lane that serves it."""
        return self.lend(PyBytes_FromStringAndSize(<const char*>p, size))

    cdef Py_ssize_t take_body(self, const uint8_t* p, Py_ssize_t size) except -1:
        return self.feed_body(p, size)

    # -- the general lane ----------------------------------------------------------------------

    cdef object open_back(self):
        if self.back is None:
            self.back = self.acceptor.lane.open_back(self, self.settings.snapshot)
            if self.writing_paused:
                self.back.pause_writing()
        return self.back

    cdef int lend(self, bytes head) except -1:
        self.state = STATE_LENT
        self.open_back().data_received(head)
        return 0

    cdef Py_ssize_t feed_body(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Py_ssize_t at = 0
        if self.back_paused:
            return 0
        if self.chunked:
            return self.feed_chunks(p, size)
        at = size if size < self.left else self.left
        self.left -= at
        self.body_open = self.left > 0
        self.back.data_received(PyBytes_FromStringAndSize(<const char*>p, at))
        return at

    cdef Py_ssize_t feed_chunks(self, const uint8_t* p, Py_ssize_t size) except -1:
        # In chunks of our own: no extension and no trailer is read twice (T1, T25).
        cdef Py_ssize_t at = 0, start = 0
        cdef int step = STEP_DATA
        data = bytearray()
        while step == STEP_DATA:
            step = next_chunk(&self.chunks, p, size, &at, &start)
            if step == STEP_DATA:
                data += PyBytes_FromStringAndSize(<const char*>p + start, at - start)
        self.body_open = step == STEP_MORE
        framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if step == STEP_END:
            framed += b"0\r\n\r\n"
        if framed:
            self.back.data_received(framed)
        if step == STEP_FAULT:
            self.state = STATE_DEAF
            self.back.spoil()
            return 0
        return at

    cdef int refuse(self, str reason) except -1:
        # After whatever is being answered: one message at a time is with the back.
        self.state = STATE_DEAF
        self.deadline = 0
        self.open_back().refuse(reason)
        return 0

    def exchange_ended(self):
        """Learn that the lent message was answered and the connection goes on."""
        if self.state != STATE_LENT:
            return
        if self.body_open:
            self.cut()
            return
        self.state = STATE_HEAD
        self.expect_head(self.settings.keep_alive_s)
        if self.held:
            self.acceptor.loop.call_soon(self.pump_later)

    def tunnel(self):
        """Pass every byte from now on to the general lane as it comes."""
        self.state = STATE_TUNNEL
        if self.held:
            held, self.held = bytes(self.held), bytearray()
            self.back.data_received(held)
        self.settle_reading()

    def deafen(self):
        """Look at no further byte; read on, so that an answer is not lost by a reset."""
        self.state = STATE_DEAF
        self.deadline = 0
        self.held = bytearray()
        self.back_paused = False
        self.settle_reading()

    # -- timers --------------------------------------------------------------------------------

    cdef int expect_head(self, double delay_s) except -1:
        self.due = DUE_SILENCE
        self.deadline = now_s() + delay_s
        return 0

    cdef int expire(self) except -1:
        if self.due == DUE_HEAD:
            self.refuse("request_timeout")
        elif self.due == DUE_SILENCE and self.transport is not None:
            self.state = STATE_DEAF
            self.transport.close()
        return 0

    cdef int settle_reading(self) except -1:
        cdef bint busy = self.state in (STATE_LENT, STATE_PLAIN) or self.writing_paused
        cdef bint full = busy and len(self.held) > HELD_BYTES
        cdef bint pause = self.back_paused or self.body_stuck or full
        if pause == self.reading_paused or self.transport is None:
            return 0
        self.reading_paused = pause
        if self.transport.is_closing():
            return 0
        if pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
        return 0

    # -- called by the lane --------------------------------------------------------------------

    cdef bint may_lapse(self):
        return self.state == STATE_HEAD and self.search.at == 0 and not self.held

    def close_if_idle(self):
        """Close where no request is being received or served."""
        if self.may_lapse():
            self.state = STATE_DEAF
            self.transport.close()

    def cut(self, *, reset=True):
        """Drop the connection; `reset` so that it looks like no end of a message."""
        self.state = STATE_DEAF
        self.deadline = 0
        if self.transport is None:
            return
        if reset:
            connected = self.transport.get_extra_info("socket")
            if connected is not None:
                connected.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self.transport.abort()

    # -- what the general lane takes for its transport -----------------------------------------

    def write(self, data):
        self.transport.write(data)

    def close(self):
        self.state = STATE_DEAF
        self.deadline = 0
        self.transport.close()

    def abort(self):
        self.cut(reset=False)

    def is_closing(self):
        return self.transport.is_closing()

    def get_extra_info(self, name, default=None):
        return self.transport.get_extra_info(name, default)

    def can_write_eof(self):
        return self.transport.can_write_eof()

    def write_eof(self):
        self.transport.write_eof()

    def pause_reading(self):
        self.back_paused = True
        self.settle_reading()

    def resume_reading(self):
        if self.back_paused:
            self.back_paused = False
            if self.held:
                # Not from within the reader that made room: it would be fed while it reads.
                self.acceptor.loop.call_soon(self.pump_later)
            self.settle_reading()
