# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled lane: a plain request from its bytes to its upstream and back, without a task.

Owns:      the answer of one exchange per client connection, and how an exchange ends.
Called by: the event loop; wiring makes the lane. The gate and the rules around it come in as one
           object, the desk (hotpath.desk); this module decides nothing by itself.
Source:    RFC 9112, RFC 9110 sections 7.6 and 15; THREATS T2, T16, T24, U1-U6, F19, F20.
"""

cimport cython

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t

from fastgate._ext.http1_answer cimport (
    ANSWER_OTHER,
    Answer,
    AnswerField,
    listed,
)
from fastgate._ext.http1_build cimport Out, put_field
from fastgate._ext.http1_bytes cimport now_s
from fastgate._ext.http1_front cimport DUE_SILENCE, STATE_HEAD, STATE_PLAIN, Front
from fastgate._ext.http1_lane cimport PlainLane
from fastgate._ext.http1_request cimport Asking
from fastgate._ext.http1_upstream cimport Upstream

# Reason: long enough for a refusal to arrive where the client still sends.
cdef double LINGER_S = 1.0
# Reason: as in hotpath.live: within a second the decision of the beginning counts.
cdef int64_t YOUNG_NS = 1_000_000_000


@cython.final
cdef class Lane(PlainLane):
    """See http1.pyi."""

    def __call__(self):
        return Downstream(self)

    def lasting(self, int64_t walked_ns, int64_t now_ns):
        """Return the connections whose answer is to be judged again; see http1.pyi."""
        cdef Downstream front
        return [front for front in self.fronts if front.is_due(walked_ns, now_ns)]


@cython.final
cdef class Downstream(Asking):
    """A client's connection whose plain requests stay in this lane."""

    # -- judged again while it lasts (hotpath.live) --------------------------------------------

    cdef bint is_due(self, int64_t walked_ns, int64_t now_ns):
        if self.state != STATE_PLAIN or self.up is None or self.plan.own_credentials:
            return False
        if self.begun_ns == 0 and now_ns - self.decided_ns < YOUNG_NS:
            return False               # the upstream is at it: its answer is waited for
        return self.decided_ns <= walked_ns or now_ns - self.decided_ns >= self.plan.every_ns

    def under_way(self):
        return self.started_ns, self.judged, self.snapshot, self.decision

    def renew_exchange(self, int64_t began_ns, int64_t now_ns):
        if self.state == STATE_PLAIN and self.started_ns == began_ns:
            self.decided_ns = now_ns

    def end_exchange(self, int64_t began_ns, reason):
        if self.state == STATE_PLAIN and self.started_ns == began_ns and self.up is not None:
            self.up.drop()
            self.break_off(reason)

    # -- the answer ----------------------------------------------------------------------------

    cdef int answer_head(self, const uint8_t* p, const Answer* a, bint empty) except -1:
        cdef PlainLane lane = self.lane()
        cdef Out out = lane.out
        cdef const AnswerField* f
        cdef int64_t length = -1 if a.status == 204 else a.length
        cdef Py_ssize_t i
        self.message = self.sent = None
        self.status = a.status
        self.heard_ns = self.begun_ns = lane.boot_ns()
        self.closing = self.closing or self.body_open or lane.lane.draining
        self.chunks_down = not empty and length < 0
        lane.succeeded(self.pool.base)
        out.size = 0
        out.put_bytes(lane.status_lines.get(a.status) or b"HTTP/1.1 %d " % a.status)
        out.put(b"\r\n", 2)
        for i in range(a.count):
            f = &a.fields[i]
            if f.kind != ANSWER_OTHER or lane.from_upstream.holds(p + f.name, f.name_size):
                continue
            if a.odd_connection and listed(p, a, p + f.name, f.name_size):
                continue
            put_field(out, p, f.name, f.name_size, f.value, f.value_size)
        out.put(b"Date: ", 6)
        if a.date >= 0 and a.fields[a.date].value_size:
            out.put(p + a.fields[a.date].value, a.fields[a.date].value_size)
        else:
            out.put_bytes(lane.desk.date(lane.wall_s()))
        out.put(b"\r\nX-Request-Id: ", 16)
        out.put(self.request_id, 36)
        out.put(b"\r\n", 2)
        if length >= 0:
            out.put(b"Content-Length: ", 16)
            out.put_number(length)
            out.put(b"\r\n", 2)
        elif self.chunks_down:
            out.put(b"Transfer-Encoding: chunked\r\n", 28)
        if self.closing:
            out.put(b"Connection: close\r\n", 19)
        return out.put(b"\r\n", 2)

    cdef int answer_body(self, const uint8_t* p, Py_ssize_t size) except -1:
        self.bytes_out += size
        if self.chunks_down:
            return self.lane().out.put_chunk(p, size)
        return self.lane().out.put(p, size)

    cdef int answer_data(self, bytes data) except -1:
        self.bytes_out += len(data)
        self.deadline = now_s() + self.plan.idle_s
        self.transport.write(data)
        return 0

    cdef int answer_flush(self) except -1:
        cdef Out out = self.lane().out
        if out.size:
            self.deadline = now_s() + self.plan.idle_s
            self.transport.write(out.take())
        return 0

    cdef int answer_end(self, Upstream up) except -1:
        if self.chunks_down:
            self.lane().out.put(b"0\r\n\r\n", 5)
        self.answer_flush()
        if self.body_open:
            up.drop()                  # it answered before the request ended (U6)
        else:
            self.pool.give_back(up)
        self.report(None)
        return self.go_on()

    cdef int go_on(self) except -1:
        """Be ready for the next message, or end the connection after this one."""
        self.forget_exchange()
        if self.closing:
            return self.end_politely()
        self.state = STATE_HEAD
        self.expect_head(self.settings.keep_alive_s)
        if self.held:
            self.acceptor.loop.call_soon(self.pump_later)
        return 0

    cdef int end_politely(self) except -1:
        # Closing with bytes unread resets the connection, and the answer is lost.
        self.deafen()
        if not self.transport.can_write_eof():
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()
            self.due = DUE_SILENCE
            self.deadline = now_s() + LINGER_S
        return 0

    cdef int report(self, object reason) except -1:
        """Count and log this exchange."""
        cdef PlainLane lane = self.lane()
        cdef int64_t finished_ns
        if self.verify_ns and lane.counting.tally is not None:
            lane.counting.tally.verified(self.decision, self.verify_ns)
        if (reason is None and self.begun_ns and self.tally is not None
                and self.decision.conflict is None
                and lane.counting.tally is self.tally and self.plan.tally is self.tally):
            finished_ns = lane.boot_ns()
            self.plan.served_like(self.decision, self.method, self.status).add(
                self.started_ns, self.sent_ns, self.heard_ns, self.begun_ns, finished_ns)
            if self.snapshot.access_log:
                lane.desk.log(
                    self.plan.form_like(
                        lane.desk, self.snapshot, self.decision, self.method, self.status),
                    self.peer, self.status, PyBytes_FromStringAndSize(self.request_id, 36),
                    self.trace, self.bytes_in, self.bytes_out, finished_ns - self.started_ns,
                    self.heard_ns - self.sent_ns,
                    self.sent_ns - self.started_ns + self.begun_ns - self.heard_ns,
                    self.decision.age_ms,
                )
            return 0
        lane.desk.finished(
            self.snapshot, self.decision, self.judged, self.id_text(), self.trace, self.status,
            reason, self.bytes_in, self.bytes_out,
            (self.started_ns, self.sent_ns, self.heard_ns, self.begun_ns),
            self.tally, self.pool is not None,
        )
        return 0

    # -- refusals and faults -------------------------------------------------------------------

    cdef int answer_refusal(self, object reason) except -1:
        """Answer by ourselves; nothing of the answer has left."""
        status, closes, data = self.lane().desk.refusal(
            reason, self.decision, self.id_text(), self.head_only,
            self.closing or self.body_open or self.lane().lane.draining,
        )
        self.closing = closes
        self.status = status
        self.begun_ns = 0
        if not self.transport.is_closing():
            self.transport.write(data)
        self.report(reason)
        return self.go_on()

    cdef int break_off(self, object reason) except -1:
        """End an exchange that failed, with a refusal or with a cut that looks like one."""
        if self.begun_ns == 0:
            return self.answer_refusal(reason)
        self.report(reason)
        self.forget_exchange()
        # Without chunks the end of the connection may be the end of the body: reset it.
        self.cut(reset=not self.chunks_down)
        return 0

    cdef int upstream_failed(self, Upstream up) except -1:
        self.lane().out.size = 0
        if self.begun_ns == 0 and not up.heard:
            if up.reused and self.safe and self.empty and not self.retried:
                return self.retry()
            if not up.reused:
                self.lane().desk.failed(self.pool.base, self.lane().boot_ns())
        return self.break_off("bad_upstream_response")

    cdef int expire(self) except -1:
        if self.state != STATE_PLAIN:
            return Front.expire(self)
        if self.up is None:
            return 0                   # the dialer has its own timer
        # The client's fault: it takes no more of the answer, or sends no more of its body.
        cdef bint late = self.writing_paused or (
            self.body_open and not self.up.writing_paused and self.begun_ns == 0)
        self.up.drop()
        return self.break_off("request_timeout" if late else "upstream_timeout")

    def pause_writing(self):
        Front.pause_writing(self)
        if self.up is not None:
            self.up.pause(True)

    def resume_writing(self):
        Front.resume_writing(self)
        if self.up is not None:
            self.deadline = now_s() + self.plan.idle_s
            self.up.pause(False)
        elif self.held:
            self.acceptor.loop.call_soon(self.pump_later)

    def connection_lost(self, exc):
        if self.judged is not None and self.pool is not None:
            if self.up is not None:
                self.up.drop()
            self.status = self.status or self.lane().desk.client_gone
            self.report(None)
            self.forget_exchange()
        Front.connection_lost(self, exc)
