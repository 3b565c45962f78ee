"""Request heads: find the end of one under its limits, and read it strictly.

Owns:      nothing; header-only, included by the http1 modules.
Called by: http1 for every message of a downstream connection, before either lane.
Source:    RFC 9112 sections 2 to 6 and 11.2, RFC 9110 sections 5 and 9.1; THREATS T1, T5, T6,
           T17 and section 7.

Two steps. `find_end` runs over each byte once, however the head is split, and enforces the
limits while it grows. `read_head` then reads the complete head: what is not certain to be
malformed nor certain to be plain is left to the general lane (`plain` is cleared).
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memset

from fastgate._ext.http1_bytes cimport (
    FG_DIGIT,
    FG_FIELD,
    FG_HOST,
    FG_PATH,
    FG_QUERY,
    FG_TCHAR,
    decimal,
    fg_class,
    same,
)
from fastgate._ext.http1_methods cimport exactly, rare_method, usual_method

cdef enum:                      # faults: the order of FAULTS in http1_front.pyx
    FAULT_NONE = 0
    FAULT_BAD_REQUEST = 1
    FAULT_TARGET_TOO_LONG = 2
    FAULT_HEADERS_TOO_LARGE = 3
    FAULT_METHOD = 4
    FAULT_VERSION = 5
    FAULT_CREDENTIALS = 6
    FAULT_UNSUPPORTED = 7

cdef enum:                      # kinds of header fields
    KIND_OTHER = 0
    KIND_HOST = 1
    KIND_LENGTH = 2
    KIND_CODING = 3
    KIND_CONNECTION = 4
    KIND_AUTHORIZATION = 5
    KIND_COOKIE = 6
    KIND_TYPE = 7
    KIND_DPOP = 8
    KIND_TRACE = 9
    KIND_AGENT = 10
    KIND_RARE = 11              # where two of a kind are ambiguous, and one is rare
    KIND_ODD = 12               # expect, upgrade, te: the general lane's

cdef enum:
    # Reason: a request line and 255 fields are more than any configured count needs.
    MAX_FIELDS = 256
    KINDS = 13
    MAX_METHOD = 32

ctypedef struct Limits:
    Py_ssize_t request_line
    Py_ssize_t header_line
    Py_ssize_t head
    Py_ssize_t count

ctypedef struct Search:
    Py_ssize_t at               # bytes looked at
    Py_ssize_t line             # start of the current line
    Py_ssize_t first            # end of the request line, 0: not seen yet
    Py_ssize_t count            # header lines so far
    Py_ssize_t checked          # start of the first line that was not read early
    int lengths                 # Content-Length fields among those

ctypedef struct Field:
    uint32_t name               # offsets from the start of the head
    uint32_t name_size
    uint32_t value
    uint32_t value_size
    int kind

ctypedef struct Head:
    Py_ssize_t method_size
    Py_ssize_t target
    Py_ssize_t target_size
    Py_ssize_t path_size        # of the target, without query
    int minor
    bint plain                  # the compiled lane may take it
    bint usual                  # one of the seven methods that it knows
    bint close
    bint chunked
    int64_t length              # -1: no Content-Length
    Py_ssize_t count
    int seen[KINDS]             # fields of each kind
    int last[KINDS]             # index of the last of each kind
    Field fields[MAX_FIELDS]


cdef inline int find_end(const uint8_t* p, Py_ssize_t size, Search* s,
                         const Limits* limits) noexcept nogil:
    """Return 1 where the head ends at s.at, 0 where more is needed, -Fault."""
    cdef const uint8_t* table = fg_class()
    cdef const uint8_t* found
    cdef Py_ssize_t stop, bound
    while s.at < size:
        found = <const uint8_t*>memchr(p + s.at, c'\n', size - s.at)
        bound = limits.header_line if s.first else limits.request_line + 2
        if found == NULL:
            if size - s.line > bound:
                return -too_long(s)
            # What can only become a fault is not waited for.
            if s.at == s.line and s.first and p[s.at] != c'\r' and not table[p[s.at]] & FG_TCHAR:
                return -FAULT_BAD_REQUEST
            while s.at < size and table[p[s.at]] & FG_FIELD:
                s.at += 1
            if s.at == size or (p[s.at] == c'\r' and s.at + 1 == size):
                break
            return -FAULT_BAD_REQUEST
        stop = found - p + 1
        if stop - s.line > bound:
            return -too_long(s)
        if stop - s.line < 2 or p[stop - 2] != c'\r':
            return -FAULT_BAD_REQUEST          # a bare LF ends nothing (RFC 9112 2.2)
        s.at = stop
        if s.first == 0:
            if stop == 2:
                return -FAULT_BAD_REQUEST
            s.first = stop
        elif stop - s.line == 2:
            return 1
        else:
            s.count += 1
            if s.count > limits.count or s.count > MAX_FIELDS:
                return -FAULT_HEADERS_TOO_LARGE
            if stop - s.first > limits.head:
                return -FAULT_HEADERS_TOO_LARGE
        s.line = stop
    return 0


cdef inline int too_long(const Search* s) noexcept nogil:
    return FAULT_HEADERS_TOO_LARGE if s.first else FAULT_TARGET_TOO_LONG


cdef inline int read_method(const uint8_t* p, Py_ssize_t size, Head* head) noexcept nogil:
    head.usual = usual_method(p, size)
    if head.usual or rare_method(p, size):
        return FAULT_NONE
    if (exactly(p, size, b"CONNECT", 7) or exactly(p, size, b"TRACE", 5)
            or exactly(p, size, b"TRACK", 5)):
        return FAULT_METHOD
    return FAULT_UNSUPPORTED                   # RFC 9110 section 9.1


cdef inline int read_line(const uint8_t* p, Py_ssize_t size, Head* head) noexcept nogil:
    """Read a request line without its CRLF; returns a Fault."""
    cdef const uint8_t* table = fg_class()
    cdef Py_ssize_t at = 0, target
    while at < size and (table[p[at]] & FG_TCHAR or p[at] == c'_'):
        at += 1
    if at == 0 or at > MAX_METHOD or at == size or p[at] != c' ':
        return FAULT_BAD_REQUEST
    head.method_size = at
    at += 1
    target = at
    while at < size and p[at] > 0x20 and p[at] < 0x7f and p[at] != c'#':
        at += 1
    if at == target or (at < size and p[at] != c' '):
        return FAULT_BAD_REQUEST
    head.target = target
    head.target_size = at - target
    if at == size:
        return FAULT_VERSION                   # what HTTP/0.9 looked like
    at += 1
    if size - at != 8 or memcmp(p + at, b"HTTP/", 5) != 0 or p[at + 6] != c'.':
        return FAULT_BAD_REQUEST
    if not (table[p[at + 5]] & FG_DIGIT and table[p[at + 7]] & FG_DIGIT):
        return FAULT_BAD_REQUEST
    if p[at + 5] != c'1' or p[at + 7] > c'1':
        return FAULT_VERSION
    head.minor = p[at + 7] - c'0'
    return read_method(p, head.method_size, head)


cdef inline bint plain_target(const uint8_t* p, Py_ssize_t size,
                              Py_ssize_t* path_size) noexcept nogil:
    # Origin-form whose canonical path is itself: no percent, no empty or dot segment.
    cdef const uint8_t* table = fg_class()
    cdef Py_ssize_t at
    if p[0] != c'/':
        return False
    at = 1
    while at < size and table[p[at]] & FG_PATH:
        if p[at - 1] == c'/' and (p[at] == c'/' or p[at] == c'.'):
            return False
        at += 1
    path_size[0] = at
    if at == size:
        return True
    if p[at] != c'?':
        return False
    at += 1
    while at < size and table[p[at]] & FG_QUERY:
        at += 1
    return at == size


cdef inline int kind_of(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    if size == 4:
        if same(p, 4, b"etag", 4):
            return KIND_RARE
        return KIND_HOST if same(p, 4, b"host", 4) else (
            KIND_DPOP if same(p, 4, b"dpop", 4) else KIND_OTHER)
    if size == 2:
        return KIND_ODD if same(p, 2, b"te", 2) else KIND_OTHER
    if size == 10:
        return KIND_CONNECTION if same(p, 10, b"connection", 10) else (
            KIND_AGENT if same(p, 10, b"user-agent", 10) else KIND_OTHER)
    if size == 6:
        if same(p, 6, b"server", 6):
            return KIND_RARE
        return KIND_COOKIE if same(p, 6, b"cookie", 6) else (
            KIND_ODD if same(p, 6, b"expect", 6) else KIND_OTHER)
    if size == 7:
        return KIND_ODD if same(p, 7, b"upgrade", 7) else KIND_OTHER
    if size == 11:
        return KIND_TRACE if same(p, 11, b"traceparent", 11) else KIND_OTHER
    if size == 12:
        if same(p, 12, b"max-forwards", 12):
            return KIND_RARE
        return KIND_TYPE if same(p, 12, b"content-type", 12) else KIND_OTHER
    if size == 13:
        if same(p, 13, b"content-range", 13):
            return KIND_RARE
        return KIND_AUTHORIZATION if same(p, 13, b"authorization", 13) else KIND_OTHER
    if size == 14:
        return KIND_LENGTH if same(p, 14, b"content-length", 14) else KIND_OTHER
    if size == 16:
        return KIND_RARE if same(p, 16, b"content-location", 16) else KIND_OTHER
    if size == 17:
        return KIND_CODING if same(p, 17, b"transfer-encoding", 17) else KIND_OTHER
    return KIND_OTHER


cdef inline int read_field(const uint8_t* p, Py_ssize_t at, Py_ssize_t stop,
                           Head* head) noexcept nogil:
    """Read the header line p[at:stop], CRLF excluded; returns a Fault."""
    cdef const uint8_t* table = fg_class()
    cdef Field* field = &head.fields[head.count]
    cdef Py_ssize_t end = at
    while end < stop and table[p[end]] & FG_TCHAR:
        end += 1
    # Neither folding nor a blank before the colon (RFC 9112 sections 5.1 and 5.2).
    if end == at or end == stop or p[end] != c':':
        return FAULT_BAD_REQUEST
    field.name = <uint32_t>at
    field.name_size = <uint32_t>(end - at)
    end += 1
    while end < stop and (p[end] == c' ' or p[end] == c'\t'):
        end += 1
    while stop > end and (p[stop - 1] == c' ' or p[stop - 1] == c'\t'):
        stop -= 1
    field.value = <uint32_t>end
    field.value_size = <uint32_t>(stop - end)
    while end < stop:
        if not table[p[end]] & FG_FIELD:
            return FAULT_BAD_REQUEST
        end += 1
    field.kind = kind_of(p + field.name, field.name_size)
    head.seen[field.kind] += 1
    head.last[field.kind] = <int>head.count
    head.count += 1
    return FAULT_NONE


cdef inline bint plain_host(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    # A name or an IPv4 address and perhaps a port; other legal forms are left to the relay.
    cdef const uint8_t* table = fg_class()
    cdef Py_ssize_t at = 0
    cdef int64_t port
    while at < size and table[p[at]] & FG_HOST:
        at += 1
    if at == 0:
        return False
    if at == size:
        return True
    if p[at] != c':' or size - at > 6:
        return False
    port = decimal(p + at + 1, size - at - 1)
    return 0 <= port <= 65535


cdef inline int read_framing(const uint8_t* p, Head* head) noexcept nogil:
    """Settle body, Host and what both lanes must agree on; returns a Fault."""
    cdef const Field* field = &head.fields[0]
    if head.seen[KIND_AUTHORIZATION] > 1 or head.seen[KIND_DPOP] > 1:
        return FAULT_CREDENTIALS
    if (head.seen[KIND_HOST] > 1 or head.seen[KIND_LENGTH] > 1 or head.seen[KIND_CODING] > 1
            or head.seen[KIND_TYPE] > 1):
        return FAULT_BAD_REQUEST
    if head.seen[KIND_HOST]:
        field = &head.fields[head.last[KIND_HOST]]
        if not plain_host(p + field.value, field.value_size):
            head.plain = False
    if head.minor == 1 and (head.seen[KIND_HOST] == 0 or field.value_size == 0):
        return FAULT_BAD_REQUEST
    if head.seen[KIND_CODING]:
        # With Content-Length or in HTTP/1.0 two readers disagree (RFC 9112 section 6.1).
        field = &head.fields[head.last[KIND_CODING]]
        if head.seen[KIND_LENGTH] or head.minor == 0:
            return FAULT_BAD_REQUEST
        if not same(p + field.value, field.value_size, b"chunked", 7):
            return FAULT_BAD_REQUEST
        head.chunked = True
    elif head.seen[KIND_LENGTH]:
        field = &head.fields[head.last[KIND_LENGTH]]
        head.length = decimal(p + field.value, field.value_size)
        if head.length < 0:
            return FAULT_BAD_REQUEST
    return FAULT_NONE


cdef inline void settle_lane(const uint8_t* p, Head* head) noexcept nogil:
    cdef const Field* field
    cdef int kind
    # Of these, two are ambiguous to some reader, or would have to be joined.
    for kind in range(KIND_CONNECTION, KIND_ODD):
        if head.seen[kind] > 1:
            head.plain = False
    if head.minor == 0 or head.seen[KIND_ODD] or not head.usual:
        head.plain = False
    if head.seen[KIND_CONNECTION]:
        field = &head.fields[head.last[KIND_CONNECTION]]
        if same(p + field.value, field.value_size, b"close", 5):
            head.close = True
        elif not same(p + field.value, field.value_size, b"keep-alive", 10):
            head.plain = False
    if head.chunked or head.length > 0:
        # A body on these needs the leave of the route (THREATS T18).
        if (exactly(p, head.method_size, b"GET", 3) or exactly(p, head.method_size, b"HEAD", 4)
                or exactly(p, head.method_size, b"DELETE", 6)):
            head.plain = False


cdef inline int read_head(const uint8_t* p, Py_ssize_t size, Head* head) noexcept nogil:
    """Read a complete head, its empty line included; returns a Fault."""
    cdef Py_ssize_t at, stop
    cdef int fault
    head.count = head.path_size = 0
    head.chunked = head.close = False
    head.length = -1
    memset(head.seen, 0, sizeof(head.seen))
    at = <const uint8_t*>memchr(p, c'\n', size) - p + 1
    fault = read_line(p, at - 2, head)
    if fault:
        return fault
    head.plain = plain_target(p + head.target, head.target_size, &head.path_size)
    while at < size - 2:
        if head.count == MAX_FIELDS:
            return FAULT_HEADERS_TOO_LARGE
        stop = <const uint8_t*>memchr(p + at, c'\n', size - at) - p + 1
        fault = read_field(p, at, stop - 2, head)
        if fault:
            return fault
        at = stop
    fault = read_framing(p, head)
    if fault == FAULT_NONE:
        settle_lane(p, head)
    return fault


cdef inline int read_early(const uint8_t* p, Search* s, Head* head) noexcept nogil:
    """Read the complete lines of a head that has not ended; returns a Fault.

    What can only become a fault is not waited for. `head` is scratch.
    """
    cdef Py_ssize_t stop
    cdef int fault
    cdef const Field* field = &head.fields[0]
    if s.checked == 0 and s.first:
        fault = read_line(p, s.first - 2, head)
        if fault:
            return fault
        s.checked = s.first
    while s.checked < s.line:
        stop = <const uint8_t*>memchr(p + s.checked, c'\n', s.line - s.checked) - p + 1
        head.count = 0
        fault = read_field(p, s.checked, stop - 2, head)
        if fault:
            return fault
        if field.kind == KIND_LENGTH:
            s.lengths += 1
            if s.lengths > 1 or decimal(p + field.value, field.value_size) < 0:
                return FAULT_BAD_REQUEST
        s.checked = stop
    return FAULT_NONE
