"""Plain requests; see http1_request.pyx."""

from libc.stdint cimport int64_t, uint8_t

from fastgate._ext.http1_build cimport Out
from fastgate._ext.http1_lane cimport PlainLane, Plan
from fastgate._ext.http1_scan cimport Field, Head
from fastgate._ext.http1_upstream cimport Pool, Relayed, Upstream


cdef class Asking(Relayed):
    cdef Upstream up
    cdef Pool pool
    cdef Plan plan
    cdef object judged          # the RequestHead
    cdef str method
    cdef object decision
    cdef object snapshot
    cdef object tally           # what the exchange was begun under
    cdef bytes message          # the head as it came, until an answer begins
    cdef tuple tried            # addresses that could not be reached
    cdef bytes request          # the head for the upstream, until it is sent
    cdef bytes sent             # all of a request without a body, until an answer begins
    cdef str peer
    cdef bint trusted
    cdef bint secure            # the client speaks TLS
    cdef object trusted_by
    cdef bytes way_host
    cdef bytes way
    cdef bytes trace
    cdef char request_id[36]
    cdef bint closing           # the client wants, or must get, no further answer
    cdef bint head_only
    cdef bint empty             # the request has no body
    cdef bint safe              # it may be sent again
    cdef bint retried
    cdef bint chunks_down       # our answer is chunked
    cdef bint choked            # the upstream was full during this body
    cdef int status
    cdef int64_t decided_ns
    cdef int64_t started_ns
    cdef int64_t verify_ns      # 0: the token was seen before, or there is none
    cdef int64_t sent_ns
    cdef int64_t heard_ns
    cdef int64_t begun_ns
    cdef int64_t bytes_in
    cdef int64_t bytes_out
    cdef double body_since

    cdef PlainLane lane(self)
    cdef str id_text(self)
    cdef bint judge(self, const uint8_t* p, Head* head) except -1
    cdef int meet(self, snapshot) except -1
    cdef int reset(self, const uint8_t* p, const Head* head, int64_t ms) except -1
    cdef bint safe_method(self, const uint8_t* p, const Head* head)
    cdef object make_head(self, const uint8_t* p, const Head* head)
    cdef bint forward(self, const uint8_t* p, const Head* head) except -1
    cdef int attach(self, Upstream up) except -1
    cdef int send_request(self, bytes more) except -1
    cdef int build(self, const uint8_t* p, const Head* head) except -1
    cdef int put_identity(self, Out out) except -1
    cdef int put_way(self, Out out, const uint8_t* p, const Field* host) except -1
    cdef int dial_next(self, fault) except -1
    cdef int stick(self) except -1
    cdef int retry(self) except -1
    cdef int hand_over(self) except -1
    cdef int forget_exchange(self) except -1
    cdef int flush_request(self) except -1
    cdef int stop_body(self, str reason) except -1
    cdef int answer_refusal(self, object reason) except -1
    cdef int break_off(self, object reason) except -1
