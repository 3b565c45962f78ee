"""Request heads: find the end of one under its limits, and read it strictly.

Owns:      nothing; header-only, included by the http1 modules.
Called by: http1 for every message of a downstream connection, before either lane.
Source:    RFC 9112 sections 2 to 6 and 11.2, RFC 9110 section 5; THREATS T1, T5, T6, T17.

Two steps. `find_end` runs over each byte once, however the head is split, and enforces the
limits while it grows. `read_head` then reads the complete head: what is not certain to be
malformed nor certain to be plain is left to the general lane (`plain` is cleared).
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp

cdef extern from *:
    """
    #include <stdint.h>
    /* Character classes. tchar is RFC 9110 section 5.6.2 without "_": upstreams read it as
       "-", and a name with it would pass filters for the other spelling (THREATS T8). */
    enum {
        FG_TCHAR = 1, FG_UPPER = 2, FG_DIGIT = 4, FG_PATH = 8, FG_QUERY = 16,
        FG_FIELD = 32, FG_HOST = 64
    };
    static const uint8_t *fg_class(void) {
        static uint8_t table[256];
        static int made = 0;
        if (!made) {
            const char *marks = "!#$%&'*+-.^`|~";
            const char *path = "-._~!$&'()*+,;=:@/";
            const char *query = "-._~!$&'()*+,;=:@/?%[]{}|^`\\"<>\\\\";
            int c;
            for (c = 0; c < 256; c++) {
                uint8_t f = 0;
                int alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                int digit = c >= '0' && c <= '9';
                if (alpha || digit) f |= FG_TCHAR | FG_PATH | FG_QUERY | FG_HOST;
                if (c == '-' || c == '.') f |= FG_HOST;
                if (c >= 'A' && c <= 'Z') f |= FG_UPPER;
                if (digit) f |= FG_DIGIT;
                if (c == '\\t' || (c >= 0x20 && c != 0x7f)) f |= FG_FIELD;
                table[c] = f;
            }
            for (; *marks; marks++) table[(uint8_t)*marks] |= FG_TCHAR;
            for (; *path; path++) table[(uint8_t)*path] |= FG_PATH;
            for (; *query; query++) table[(uint8_t)*query] |= FG_QUERY;
            made = 1;
        }
        return table;
    }
    """
    enum:
        FG_TCHAR
        FG_UPPER
        FG_DIGIT
        FG_PATH
        FG_QUERY
        FG_FIELD
        FG_HOST
    const uint8_t* fg_class() noexcept nogil

cdef enum:                      # faults: the order of FAULTS in http1_front.pyx
    FAULT_NONE = 0
    FAULT_BAD_REQUEST = 1
    FAULT_TARGET_TOO_LONG = 2
    FAULT_HEADERS_TOO_LARGE = 3
    FAULT_METHOD = 4
    FAULT_VERSION = 5
    FAULT_CREDENTIALS = 6

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
    KIND_ODD = 10               # expect, upgrade, te: the general lane's

cdef enum:
    # Reason: a request line and 255 fields are more than any configured count needs.
    MAX_FIELDS = 256
    KINDS = 11
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
    bint close
    bint chunked
    int64_t length              # -1: no Content-Length
    Py_ssize_t count
    int seen[KINDS]             # fields of each kind
    int last[KINDS]             # index of the last of each kind
    Field fields[MAX_FIELDS]


cdef inline bint same(const uint8_t* p, Py_ssize_t size, const char* lower,
                      Py_ssize_t lower_size) noexcept nogil:
    # Case-insensitive comparison with a lower-case word of letters, digits and hyphens.
    cdef Py_ssize_t i
    cdef uint8_t c
    if size != lower_size:
        return False
    for i in range(size):
        c = p[i]
        if c >= c'A' and c <= c'Z':
            c |= 0x20
        if c != <uint8_t>lower[i]:
            return False
    return True


cdef inline int find_end(const uint8_t* p, Py_ssize_t size, Search* s,
                         const Limits* limits) noexcept nogil:
    """Return 1 where the head ends at s.at, 0 where more is needed, -Fault."""
    cdef const uint8_t* table = fg_class()
    cdef const uint8_t* found
    cdef Py_ssize_t stop, bound
    cdef int fault
    while s.at < size:
        found = <const uint8_t*>memchr(p + s.at, c'\n', size - s.at)
        bound = limits.header_line if s.first else limits.request_line + 2
        if found == NULL:
            if size - s.line > bound:
                return -too_long(s)
            # What can only become a fault is not waited for.
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


cdef inline int read_line(const uint8_t* p, Py_ssize_t size, Head* head) noexcept nogil:
    """Read a request line without its CRLF; returns a Fault."""
    cdef const uint8_t* table = fg_class()
    cdef Py_ssize_t at = 0, target
    while at < size and (table[p[at]] & FG_UPPER or (at > 0 and p[at] == c'-')):
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
    if (same(p, head.method_size, b"connect", 7) or same(p, head.method_size, b"trace", 5)
            or same(p, head.method_size, b"track", 5)):
        return FAULT_METHOD
    return FAULT_NONE


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
        return KIND_HOST if same(p, 4, b"host", 4) else (
            KIND_DPOP if same(p, 4, b"dpop", 4) else KIND_OTHER)
    if size == 2:
        return KIND_ODD if same(p, 2, b"te", 2) else KIND_OTHER
    if size == 6:
        return KIND_COOKIE if same(p, 6, b"cookie", 6) else (
            KIND_ODD if same(p, 6, b"expect", 6) else KIND_OTHER)
    if size == 7:
        return KIND_ODD if same(p, 7, b"upgrade", 7) else KIND_OTHER
    if size == 10:
        return KIND_CONNECTION if same(p, 10, b"connection", 10) else KIND_OTHER
    if size == 11:
        return KIND_TRACE if same(p, 11, b"traceparent", 11) else KIND_OTHER
    if size == 12:
        return KIND_TYPE if same(p, 12, b"content-type", 12) else KIND_OTHER
    if size == 13:
        return KIND_AUTHORIZATION if same(p, 13, b"authorization", 13) else KIND_OTHER
    if size == 14:
        return KIND_LENGTH if same(p, 14, b"content-length", 14) else KIND_OTHER
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


cdef inline int64_t decimal(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    # Digits only, at most 18 of them: no sign, no blank, no overflow; -1 otherwise.
    cdef int64_t value = 0
    cdef Py_ssize_t i
    if size < 1 or size > 18:
        return -1
    for i in range(size):
        if p[i] < c'0' or p[i] > c'9':
            return -1
        value = value * 10 + (p[i] - c'0')
    return value


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
    cdef const Field* field
    if head.seen[KIND_AUTHORIZATION] > 1 or head.seen[KIND_DPOP] > 1:
        return FAULT_CREDENTIALS
    if head.seen[KIND_HOST] > 1 or head.seen[KIND_LENGTH] > 1 or head.seen[KIND_CODING] > 1:
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
    if head.minor == 0 or head.seen[KIND_ODD] or head.seen[KIND_CONNECTION] > 1:
        head.plain = False
    if head.seen[KIND_CONNECTION]:
        field = &head.fields[head.last[KIND_CONNECTION]]
        if same(p + field.value, field.value_size, b"close", 5):
            head.close = True
        elif not same(p + field.value, field.value_size, b"keep-alive", 10):
            head.plain = False
    if head.chunked or head.length > 0:
        # A body on these needs the leave of the route (THREATS T18).
        if (same(p, head.method_size, b"get", 3) or same(p, head.method_size, b"head", 4)
                or same(p, head.method_size, b"delete", 6)):
            head.plain = False


cdef inline int read_head(const uint8_t* p, Py_ssize_t size, Head* head) noexcept nogil:
    """Read a complete head, its empty line included; returns a Fault."""
    cdef Py_ssize_t at, stop
    cdef int fault, i
    head.count = head.path_size = 0
    head.chunked = head.close = False
    head.length = -1
    for i in range(KINDS):
        head.seen[i] = 0
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
