# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Plain requests: from a head that was read to its upstream, without a task.

Owns:      the request of one exchange per connection; http1 has its answer.
Called by: http1_front for each message that may be plain.
Source:    RFC 9112, RFC 9110 section 7.6; THREATS T1-T3, T9, T25, F18, F21.

Only the sunny path is here. A request that needs more than a decision and a connection goes to
the general lane as it came: nothing of it has reached an upstream by then, or nothing that may
not be repeated. Longer than others: an exchange is one object, read in one place from its first
byte to its last.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII, PyUnicode_DecodeLatin1
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp

from fastgate._ext.http1_build cimport Out, put_field
from fastgate._ext.http1_bytes cimport now_s, same
from fastgate._ext.http1_chunks cimport STEP_DATA, STEP_END, STEP_FAULT, next_chunk
from fastgate._ext.http1_front cimport DUE_OTHER, STATE_PLAIN, Front
from fastgate._ext.http1_lane cimport PlainLane
from fastgate._ext.http1_scan cimport (
    KIND_AUTHORIZATION,
    KIND_COOKIE,
    KIND_HOST,
    KIND_TRACE,
    KIND_TYPE,
    Field,
    Head,
)
from fastgate._ext.http1_upstream cimport Pool, Relayed, Upstream

# Reason: DESIGN.md section 8 counts this second into the revocation bound.
cdef int64_t MAX_DECISION_AGE_NS = 1_000_000_000
# Reason: THREATS section 4.
cdef double MINIMUM_RATE_BYTES_S = 500.0
# Reason: with the connect timer of 2 s a client waits 6 s at most for a connection.
cdef Py_ssize_t MAX_ADDRESSES = 3


cdef class Asking(Relayed):
    """A client's connection, as far as its plain requests; see http1.Downstream."""

    cdef PlainLane lane(self):
        return <PlainLane>self.acceptor

    cdef str id_text(self):
        return PyUnicode_DecodeASCII(self.request_id, 36, NULL)

    cdef int answer_refusal(self, object reason) except -1:
        raise TypeError("not a client of the compiled lane")

    cdef int break_off(self, object reason) except -1:
        raise TypeError("not a client of the compiled lane")

    # -- from head to decision -----------------------------------------------------------------

    cdef int begin(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Head* head = &self.acceptor.head
        if head.plain and not self.writing_paused and self.judge(p, head):
            if self.state == STATE_PLAIN:
                self.message = PyBytes_FromStringAndSize(<const char*>p, size)
                if self.up is None:
                    self.dial()
            return 0
        # What this look has cost is not paid again (hotpath.relay).
        self.open_back().judged = self.decision
        self.judged = self.decision = self.snapshot = None
        return self.lend(PyBytes_FromStringAndSize(<const char*>p, size))

    cdef bint judge(self, const uint8_t* p, Head* head) except -1:
        """Decide, and go on with the request or refuse it; False: the general lane's."""
        cdef PlainLane lane = self.lane()
        snapshot = lane.cell.current
        if snapshot is not self.trusted_by:
            self.meet(snapshot)
        if self.trusted or snapshot.debug:
            return False
        wall = lane.wall_s()
        self.started_ns = self.decided_ns = lane.boot_ns()
        self.judged = self.make_head(p, head)
        try:
            decision = lane.decide(self.judged, snapshot, int(wall), self.started_ns)
        except Exception as fault:
            decision = lane.desk.broke(fault)
        self.decision = decision
        self.snapshot = snapshot
        self.verify_ns = 0
        if decision.cache == "miss":
            self.verify_ns = lane.boot_ns() - self.started_ns
        self.reset(p, head, <int64_t>(<double>wall * 1000))
        if decision.verdict is lane.allow:
            self.plan = lane.plan_of(snapshot, decision.route, decision.region)
            if not self.plan.takes or decision.repair_cookie:
                return False
            if self.plan.limited and self.body_open:
                return False
            return self.forward(p, head)
        if decision.verdict is not lane.deny or self.body_open or decision.credential:
            return False
        route = decision.route
        if route is not None and route.debug:
            return False
        self.state = STATE_PLAIN
        self.answer_refusal(decision.reason)
        return True

    cdef int meet(self, snapshot) except -1:
        if self.peer is None:
            name = self.transport.get_extra_info("peername")
            self.peer = name[0] if isinstance(name, tuple) else ""
            self.secure = self.transport.get_extra_info("ssl_object") is not None
        self.trusted = self.lane().desk.trusts(self.peer, snapshot)
        self.trusted_by = snapshot
        return 0

    cdef int reset(self, const uint8_t* p, const Head* head, int64_t ms) except -1:
        cdef const Field* f
        self.lane().ids.put(ms, self.request_id)
        self.closing = head.close
        self.empty = not self.body_open
        self.head_only = same(p, head.method_size, b"head", 4)
        self.safe = self.safe_method(p, head)
        self.sent_ns = self.heard_ns = self.begun_ns = 0
        self.bytes_in = self.bytes_out = 0
        self.status = 0
        self.choked = self.chunks_down = self.retried = False
        self.trace = None
        if head.seen[KIND_TRACE] == 1:
            f = &head.fields[head.last[KIND_TRACE]]
            self.trace = PyBytes_FromStringAndSize(<const char*>p + f.value, f.value_size)
        return 0

    cdef bint safe_method(self, const uint8_t* p, const Head* head):
        # RFC 9110 section 9.2.2, as hotpath.upstreams has it.
        return (
            same(p, head.method_size, b"get", 3) or self.head_only
            or same(p, head.method_size, b"put", 3)
            or same(p, head.method_size, b"delete", 6)
            or same(p, head.method_size, b"options", 7)
        )

    cdef object make_head(self, const uint8_t* p, const Head* head):
        cdef const char* t = <const char*>p
        cdef Py_ssize_t after = head.path_size + 1
        cdef bytes cookie = value_of(p, head, KIND_COOKIE)
        self.method = method_name(p, head.method_size)
        return self.lane().plain_head(
            self.method,
            PyUnicode_DecodeASCII(t + head.target, head.path_size, NULL),
            b"" if after > head.target_size else PyBytes_FromStringAndSize(
                t + head.target + after, head.target_size - after),
            head.seen[KIND_AUTHORIZATION],
            value_of(p, head, KIND_AUTHORIZATION),
            None if cookie is None else PyUnicode_DecodeLatin1(
                PyBytes_AS_STRING(cookie), PyBytes_GET_SIZE(cookie), NULL),
            media_type(p, head),
            self.body_open,
            self.peer,
        )

    # -- towards the upstream ------------------------------------------------------------------

    cdef bint forward(self, const uint8_t* p, const Head* head) except -1:
        """Build the request and send it, or have a connection made; False: not here."""
        cdef PlainLane lane = self.lane()
        cdef Upstream up
        self.tried = ()
        base = lane.choose(self.plan.addresses, (), self.started_ns)
        if base is None:
            return False
        self.pool = lane.pool_of(base)
        up = self.pool.take(now_s())
        self.build(p, head)
        tally = lane.counting.tally
        if tally is not None:
            if tally is not self.plan.tally:
                self.plan.count_by(tally)
            self.plan.in_flight.row.bump(self.plan.in_flight.place, 1)
        self.tally = tally
        self.state = STATE_PLAIN
        self.due = DUE_OTHER
        self.deadline = 0
        if up is not None:
            self.attach(up)
        return True

    cdef int attach(self, Upstream up) except -1:
        # The caller sees to it that a request with a body is sent, and its timer begun.
        self.up = up
        self.body_stuck = False
        up.lend(self, self.head_only)
        if self.writing_paused:
            up.pause(True)
        self.sent_ns = self.lane().boot_ns()
        self.body_since = now_s()
        if self.empty:
            self.send_request(None)
        return 0

    cdef int send_request(self, bytes more) except -1:
        # The head goes with the first bytes of the body, once those are known to be good.
        request, self.request = self.request, None
        if self.empty:
            self.sent = request
        if request is None:
            request = more
        elif more is not None:
            request += more
        if request:
            self.up.transport.write(request)
        if self.up.writing_paused:
            self.deadline = now_s() + self.plan.idle_s
        elif self.body_open:
            self.deadline = now_s() + self.settings.body_idle_s
        else:
            self.deadline = now_s() + self.plan.first_byte_s
        return 0

    cdef int build(self, const uint8_t* p, const Head* head) except -1:
        cdef PlainLane lane = self.lane()
        cdef Out out = lane.out
        cdef const Field* host = &head.fields[head.last[KIND_HOST]]
        cdef const Field* f
        cdef Py_ssize_t i
        out.size = 0
        out.put(p, head.target + head.target_size)
        out.put(b" HTTP/1.1\r\nHost: ", 17)
        out.put(p + host.value, host.value_size)
        out.put(b"\r\n", 2)
        for i in range(head.count):
            f = &head.fields[i]
            if lane.from_client.holds(p + f.name, f.name_size):
                continue
            put_field(out, p, f.name, f.name_size, f.value, f.value_size)
        self.put_identity(out)
        self.put_way(out, p, host)
        if head.chunked:
            out.put(b"Transfer-Encoding: chunked\r\n\r\n", 30)
        elif head.length >= 0:
            out.put(b"Content-Length: ", 16)
            out.put_number(head.length)
            out.put(b"\r\n\r\n", 4)
        else:
            out.put(b"\r\n", 2)
        self.request = out.take()
        return 0

    cdef int put_identity(self, Out out) except -1:
        decision = self.decision
        token = decision.token
        if self.plan.own_credentials:
            token = self.judged.authorization
            if token is not None:
                out.put(b"Authorization: ", 15)
                out.put_bytes(token)
                out.put(b"\r\n", 2)
        elif token:
            out.put(b"Authorization: Bearer ", 22)
            out.put_bytes(token)
            out.put(b"\r\n", 2)
        facts = decision.facts
        if facts is not None and facts.identity_lines:
            out.put_bytes(facts.identity_lines)
            out.put(b"\r\n", 2)
        return 0

    cdef int put_way(self, Out out, const uint8_t* p, const Field* host) except -1:
        # The same for every request of a connection that names the same host.
        cdef bytes name = PyBytes_FromStringAndSize(<const char*>p + host.value, host.value_size)
        if name != self.way_host:
            self.way = self.lane().desk.way(self.peer, name, self.secure)
            self.way_host = name
        out.put_bytes(self.way)
        out.put(self.request_id, 36)
        return out.put(b"\r\n", 2)

    def dial(self):
        """Have a connection made; the one thing in this lane that needs a task."""
        cdef Pool pool = self.pool
        self.stick()
        pool.dialing += 1
        task = self.acceptor.loop.create_task(
            self.lane().desk.dial(pool.base, pool, self.plan.connect_s, self.plan.connections)
        )
        task.add_done_callback(lambda done: self.dialed(pool, done))

    def dialed(self, Pool pool, task):
        """Go on with the connection, or let the general lane find another way."""
        cdef Upstream up = None
        pool.dialing -= 1
        if not task.cancelled() and task.exception() is None:
            up = task.result()
        if self.state != STATE_PLAIN or self.up is not None or self.pool is not pool:
            if up is not None:
                pool.give_back(up)
            return
        if up is None:
            self.dial_next("internal_error" if task.cancelled() else task.exception())
        elif self.lane().boot_ns() - self.decided_ns > MAX_DECISION_AGE_NS:
            # No wait for a connection carries an old verdict past a revocation.
            pool.give_back(up)
            self.hand_over()
        else:
            self.attach(up)
        if self.held:
            self.pump_held()
        else:
            self.settle_reading()
        self.flush_request()

    cdef int dial_next(self, fault) except -1:
        """Try another address of the region, or say what was wrong with the last one."""
        cdef PlainLane lane = self.lane()
        cdef Upstream up
        reason = getattr(fault, "reason", "internal_error")
        now_ns = lane.boot_ns()
        if reason != "overloaded":
            lane.desk.failed(self.pool.base, now_ns)
        self.tried += (self.pool.base,)
        base = None
        if len(self.tried) < MAX_ADDRESSES:
            base = lane.choose(self.plan.addresses, self.tried, now_ns)
        if base is None:
            return self.break_off(reason)
        self.pool = lane.pool_of(base)
        up = self.pool.take(now_s())
        if up is None:
            self.dial()
        else:
            self.attach(up)
        return 0

    cdef int retry(self) except -1:
        """Send a request that was not heard of once more, on a connection of its own."""
        self.retried = True
        self.up = None
        self.request = self.sent
        self.deadline = 0
        self.dial()
        return 0

    cdef int hand_over(self) except -1:
        """Let the general lane serve the message from its beginning."""
        message, self.message = self.message, None
        self.lane().desk.end(self.tally, self.plan.route)
        self.open_back().judged = self.decision
        self.forget_exchange()
        return self.lend(message)

    cdef int forget_exchange(self) except -1:
        self.up = None
        self.pool = None
        self.message = self.request = self.sent = None
        self.judged = self.decision = self.snapshot = self.tally = None
        self.deadline = 0
        self.body_stuck = False
        return 0

    # -- the request's body --------------------------------------------------------------------

    cdef Py_ssize_t take_head(self, const uint8_t* p, Py_ssize_t size) except -1:
        if self.writing_paused:
            return 0                   # a client that takes no answers asks nothing more
        return Front.take_head(self, p, size)

    cdef Py_ssize_t take_body(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Out out = self.lane().out
        cdef Py_ssize_t at = 0, start = 0
        cdef int step = STEP_DATA
        if self.state != STATE_PLAIN:
            return self.feed_body(p, size)
        if self.up is None or self.up.writing_paused:
            return 0
        out.size = 0
        if not self.chunked:
            at = size if size < self.left else <Py_ssize_t>self.left
            self.left -= at
            self.bytes_in += at
            self.body_open = self.left > 0
            self.send_request(PyBytes_FromStringAndSize(<const char*>p, at))
        else:
            while step == STEP_DATA:
                step = next_chunk(&self.chunks, p, size, &at, &start)
                if step == STEP_DATA:
                    out.put_chunk(p + start, at - start)
                    self.bytes_in += at - start
            if step == STEP_FAULT:
                self.stop_body("bad_request")
                return 0
            if step == STEP_END:
                self.body_open = False
                out.put(b"0\r\n\r\n", 5)
            self.send_request(out.take())
        if self.body_open and not self.choked and now_s() - self.body_since > (
                self.settings.body_idle_s + self.bytes_in / MINIMUM_RATE_BYTES_S):
            self.stop_body("request_timeout")
        return at

    cdef Py_ssize_t pump(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef Py_ssize_t used = Relayed.pump(self, p, size)
        self.flush_request()
        return used

    cdef int flush_request(self) except -1:
        # No byte of the body is here yet: the head goes alone.
        if self.state == STATE_PLAIN and self.up is not None and self.request is not None:
            self.send_request(None)
        return 0

    cdef int stop_body(self, str reason) except -1:
        """Refuse because of the body; the upstream sees no end of the request."""
        self.up.drop()
        return self.break_off(reason)

    cdef int stick(self) except -1:
        """Leave the body to the client for now: there is no room for it here."""
        self.body_stuck = self.body_open
        return self.settle_reading()

    cdef int upstream_full(self) except -1:
        return self.stick()

    cdef int upstream_drained(self) except -1:
        self.choked = True
        self.body_stuck = False
        if self.held:
            return self.pump_held()
        return self.settle_reading()


cdef str method_name(const uint8_t* p, Py_ssize_t size):
    # One object for each of the common ones: what counts them compares by identity.
    if size == 3 and memcmp(p, b"GET", 3) == 0:
        return "GET"
    if size == 4 and memcmp(p, b"POST", 4) == 0:
        return "POST"
    if size == 3 and memcmp(p, b"PUT", 3) == 0:
        return "PUT"
    return PyUnicode_DecodeASCII(<const char*>p, size, NULL)


cdef bytes value_of(const uint8_t* p, const Head* head, int kind):
    cdef const Field* f = &head.fields[head.last[kind]]
    if head.seen[kind] == 0:
        return None
    return PyBytes_FromStringAndSize(<const char*>p + f.value, f.value_size)


cdef str media_type(const uint8_t* p, const Head* head):
    # Lower case, without parameters; the first one counts, as in hotpath.headers.
    cdef const Field* f = NULL
    cdef Py_ssize_t i, end = 0
    for i in range(head.count):
        if head.fields[i].kind == KIND_TYPE:
            f = &head.fields[i]
            break
    if f == NULL:
        return ""
    while end < f.value_size and p[f.value + end] != c';':
        end += 1
    while end and (p[f.value + end - 1] == c' ' or p[f.value + end - 1] == c'\t'):
        end -= 1
    return PyUnicode_DecodeLatin1(<const char*>p + f.value, end, NULL).lower()
