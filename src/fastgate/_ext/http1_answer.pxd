"""Answer heads of upstreams: read strictly, or not at all.

Owns:      nothing; header-only, included by the http1 modules.
Called by: http1_upstream for each head that an upstream sends.
Source:    RFC 9112 sections 4 to 6, RFC 9110 sections 6.4.1 and 15; THREATS U1, U2, U4.

The rules are those of domain.answer, which stands in front of the general lane's parser; a
differential test compares the two.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memset

from fastgate._ext.http1_bytes cimport FG_FIELD, FG_TCHAR, decimal, fg_class, same

cdef enum:
    # Reason: as in adapters.aiohttp_client: room for large cookies and policies.
    MAX_ANSWER_BYTES = 65536
    MAX_ANSWER_FIELDS = 256

cdef enum:
    ANSWER_OTHER = 0
    ANSWER_LENGTH = 1
    ANSWER_CODING = 2
    ANSWER_CONNECTION = 3
    ANSWER_DATE = 4

ctypedef struct AnswerField:
    uint32_t name
    uint32_t name_size
    uint32_t value
    uint32_t value_size
    int kind

ctypedef struct Answer:
    int status
    int minor
    bint keep                   # the connection may be used again
    bint odd_connection         # Connection names more than keep-alive and close
    bint chunked
    int64_t length              # -1: not said
    int64_t date                # index of the first Date field, -1: none
    Py_ssize_t count
    AnswerField fields[MAX_ANSWER_FIELDS]


cdef inline int find_answer_end(const uint8_t* p, Py_ssize_t size, Py_ssize_t* seen) noexcept nogil:
    """Return 1 where a head ends at seen[0], 0 where more is needed, -1 for a fault.

    seen: Where to go on; the start of a line. Each line is looked for once.
    """
    cdef const uint8_t* found
    cdef Py_ssize_t line = seen[0], stop
    while line < size:
        found = <const uint8_t*>memchr(p + line, c'\n', size - line)
        if found == NULL:
            break
        stop = found - p + 1
        if stop - line < 2 or p[stop - 2] != c'\r' or stop > MAX_ANSWER_BYTES:
            return -1
        seen[0] = stop
        if stop - line == 2:
            return 1
        line = stop
    return -1 if size > MAX_ANSWER_BYTES else 0


cdef inline bint read_status(const uint8_t* p, Py_ssize_t size, Answer* a) noexcept nogil:
    # HTTP/1.x SP 3DIGIT [ SP reason-phrase ]; the phrase is never passed on.
    cdef Py_ssize_t i
    if size < 12 or memcmp(p, b"HTTP/1.", 7) != 0 or p[8] != c' ':
        return False
    if p[7] != c'0' and p[7] != c'1':
        return False
    a.minor = p[7] - c'0'
    if p[9] < c'1' or p[9] > c'9':
        return False
    a.status = <int>decimal(p + 9, 3)
    if a.status < 0 or (size > 12 and p[12] != c' '):
        return False
    for i in range(12, size):
        if not fg_class()[p[i]] & FG_FIELD:
            return False
    return True


cdef inline int answer_kind(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    if size == 14 and same(p, 14, b"content-length", 14):
        return ANSWER_LENGTH
    if size == 17 and same(p, 17, b"transfer-encoding", 17):
        return ANSWER_CODING
    if size == 10 and same(p, 10, b"connection", 10):
        return ANSWER_CONNECTION
    if size == 4 and same(p, 4, b"date", 4):
        return ANSWER_DATE
    return ANSWER_OTHER


cdef inline bint read_answer_field(const uint8_t* p, Py_ssize_t at, Py_ssize_t stop,
                                   Answer* a) noexcept nogil:
    cdef const uint8_t* table = fg_class()
    cdef AnswerField* f = &a.fields[a.count]
    cdef Py_ssize_t end = at
    while end < stop and (table[p[end]] & FG_TCHAR or p[end] == c'_'):
        end += 1
    if end == at or end == stop or p[end] != c':':
        return False
    f.name = <uint32_t>at
    f.name_size = <uint32_t>(end - at)
    end += 1
    while end < stop and (p[end] == c' ' or p[end] == c'\t'):
        end += 1
    while stop > end and (p[stop - 1] == c' ' or p[stop - 1] == c'\t'):
        stop -= 1
    f.value = <uint32_t>end
    f.value_size = <uint32_t>(stop - end)
    while end < stop:
        if not table[p[end]] & FG_FIELD:
            return False
        end += 1
    f.kind = answer_kind(p + f.name, f.name_size)
    return True


cdef inline bint settle_field(const uint8_t* p, Answer* a) noexcept nogil:
    """Take in what the field that was just read says; False for a fault."""
    cdef const AnswerField* f = &a.fields[a.count]
    if f.kind == ANSWER_LENGTH:
        # Twice, or with a coding: two readers would see two bodies (RFC 9112 section 6.3).
        if a.length >= 0 or a.chunked:
            return False
        a.length = decimal(p + f.value, f.value_size)
        return a.length >= 0
    if f.kind == ANSWER_CODING:
        if a.length >= 0 or a.chunked or a.minor == 0:
            return False
        a.chunked = True
        return same(p + f.value, f.value_size, b"chunked", 7)
    if f.kind == ANSWER_CONNECTION:
        if not same(p + f.value, f.value_size, b"keep-alive", 10):
            # Close, or something that would have to be read: not used again either way.
            a.keep = False
            a.odd_connection = not same(p + f.value, f.value_size, b"close", 5) or (
                a.odd_connection)
    elif f.kind == ANSWER_DATE and a.date < 0:
        a.date = a.count
    return True


cdef inline bint read_answer(const uint8_t* p, Py_ssize_t size, Answer* a) noexcept nogil:
    """Read a complete head, its empty line included; False for a fault."""
    cdef Py_ssize_t at, stop
    a.count = 0
    a.length = a.date = -1
    a.chunked = a.odd_connection = False
    at = <const uint8_t*>memchr(p, c'\n', size) - p + 1
    if not read_status(p, at - 2, a):
        return False
    a.keep = a.minor == 1
    while at < size - 2:
        if a.count == MAX_ANSWER_FIELDS:
            return False
        stop = <const uint8_t*>memchr(p + at, c'\n', size - at) - p + 1
        if not read_answer_field(p, at, stop - 2, a) or not settle_field(p, a):
            return False
        a.count += 1
        at = stop
    if a.status == 101:
        return False                   # nobody asked for a switch in this lane
    if a.status < 200 or a.status == 204:
        return not a.chunked and a.length <= 0
    return True


cdef inline bint listed(const uint8_t* p, const Answer* a, const uint8_t* name,
                        Py_ssize_t size) noexcept nogil:
    """Tell whether a Connection field names this one (RFC 9110 section 7.6.1)."""
    cdef const AnswerField* f
    cdef Py_ssize_t i, at, end, stop, last
    for i in range(a.count):
        f = &a.fields[i]
        if f.kind != ANSWER_CONNECTION:
            continue
        at = f.value
        stop = f.value + f.value_size
        while at <= stop:
            end = at
            while end < stop and p[end] != c',':
                end += 1
            last = end
            while at < last and (p[at] == c' ' or p[at] == c'\t'):
                at += 1
            while last > at and (p[last - 1] == c' ' or p[last - 1] == c'\t'):
                last -= 1
            if alias(p + at, last - at, name, size):
                return True
            at = end + 1
    return False


cdef inline uint8_t plain_letter(uint8_t c) noexcept nogil:
    # As upstreams may read a name: lower case, "_" as "-" (THREATS T8).
    if c >= c'A' and c <= c'Z':
        return c | 0x20
    return c'-' if c == c'_' else c


cdef inline bint alias(const uint8_t* p, Py_ssize_t p_size, const uint8_t* q,
                       Py_ssize_t q_size) noexcept nogil:
    cdef Py_ssize_t i
    if p_size != q_size:
        return False
    for i in range(p_size):
        if plain_letter(p[i]) != plain_letter(q[i]):
            return False
    return True
