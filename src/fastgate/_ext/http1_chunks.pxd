"""Chunked bodies: find data and end, and refuse what two readers could read differently.

Owns:      nothing; header-only, included by the http1 modules, for both directions.
Called by: http1 for each segment of a chunked body.
Source:    RFC 9112 section 7.1; THREATS T1, T17, U1.

Sizes are hexadecimal digits alone, with nothing between them and the semicolon or CRLF.
Extensions and trailers are checked, bounded and dropped: nothing of them goes on (RFC 9112
sections 7.1.1 and 7.1.2). Blanks within an extension, which RFC 9112 calls bad and wants read, are
taken: they cannot move its end. A trailer is refused where some reader could take it for a header
that frames, routes or authenticates (RFC 9110 section 6.5.1); another, like Content-Type, is not.
"""

from libc.stdint cimport int64_t, uint8_t

from fastgate._ext.http1_bytes cimport FG_FIELD, FG_TCHAR, fg_class
from fastgate._ext.http1_scan cimport (
    KIND_AGENT,
    KIND_OTHER,
    KIND_RARE,
    KIND_TRACE,
    KIND_TYPE,
    kind_of,
)

cdef enum:
    # Reasons: THREATS section 4; 15 digits are more than any disk and no overflow.
    MAX_SIZE_DIGITS = 15
    MAX_EXTENSION = 256
    MAX_EXTENSIONS = 16384
    MAX_TRAILER_BYTES = 8192
    MAX_TRAILERS = 32
    NAME_BYTES = 18             # one more than the longest name that no trailer may have

cdef enum:                      # states
    CHUNK_SIZE = 0
    CHUNK_EXT_NAME = 1          # before a name
    CHUNK_EXT_NAMED = 2         # in it
    CHUNK_EXT_NAME_GAP = 3      # in blanks behind it
    CHUNK_EXT_VALUE = 4         # before a value
    CHUNK_EXT_TEXT = 5          # in one that is a token
    CHUNK_EXT_QUOTED = 6
    CHUNK_EXT_ESCAPED = 7
    CHUNK_EXT_CLOSED = 8        # right behind a quoted one
    CHUNK_EXT_VALUE_GAP = 9     # in blanks behind a value
    CHUNK_SIZE_LF = 10
    CHUNK_DATA = 11
    CHUNK_DATA_CR = 12
    CHUNK_DATA_LF = 13
    CHUNK_TRAILERS = 14
    CHUNK_TRAILER_NAME = 15
    CHUNK_TRAILER_VALUE = 16
    CHUNK_TRAILER_LF = 17
    CHUNK_END_LF = 18

cdef enum:                      # steps
    STEP_FAULT = -1
    STEP_MORE = 0               # the input is used up
    STEP_DATA = 1               # data at [start, at)
    STEP_END = 2                # the body ended at `at`

ctypedef struct Chunks:
    int state
    int digits
    int64_t left
    int extension
    int extensions
    int trailer_bytes
    int trailers
    int name_size
    uint8_t name[NAME_BYTES]


cdef inline void begin_chunks(Chunks* c) noexcept nogil:
    c.state = CHUNK_SIZE
    c.digits = c.extension = c.extensions = c.trailer_bytes = c.trailers = 0
    c.left = 0


cdef inline int hex_value(uint8_t b) noexcept nogil:
    if b >= c'0' and b <= c'9':
        return b - c'0'
    b |= 0x20
    if b >= c'a' and b <= c'f':
        return b - c'a' + 10
    return -1


cdef inline bint size_byte(Chunks* c, uint8_t b) noexcept nogil:
    cdef int value = hex_value(b)
    if value >= 0:
        c.digits += 1
        c.left = c.left * 16 + value
        return c.digits <= MAX_SIZE_DIGITS
    if c.digits == 0:
        return False
    if b == c';':
        c.extension = 0
        c.state = CHUNK_EXT_NAME
    elif b == c'\r':
        c.state = CHUNK_SIZE_LF
    else:
        return False
    return True


cdef inline bint extension_byte(Chunks* c, uint8_t b) noexcept nogil:
    cdef bint token = fg_class()[b] & FG_TCHAR != 0 or b == c'_'
    cdef bint blank = b == c' ' or b == c'\t'
    cdef int state = c.state
    c.extension += 1
    c.extensions += 1
    if c.extension > MAX_EXTENSION or c.extensions > MAX_EXTENSIONS:
        return False
    if state == CHUNK_EXT_QUOTED:
        if b == c'"':
            c.state = CHUNK_EXT_CLOSED
        elif b == c'\\':
            c.state = CHUNK_EXT_ESCAPED
        return fg_class()[b] & FG_FIELD != 0
    if state == CHUNK_EXT_ESCAPED:
        c.state = CHUNK_EXT_QUOTED
        return fg_class()[b] & FG_FIELD != 0
    if state == CHUNK_EXT_NAME or state == CHUNK_EXT_VALUE:
        # At least one character of a token, or the quote of a value.
        if token:
            c.state = CHUNK_EXT_TEXT if state == CHUNK_EXT_VALUE else CHUNK_EXT_NAMED
        elif b == c'"' and state == CHUNK_EXT_VALUE:
            c.state = CHUNK_EXT_QUOTED
        else:
            return blank
        return True
    if b == c';':
        c.state = CHUNK_EXT_NAME
    elif b == c'=' and (state == CHUNK_EXT_NAMED or state == CHUNK_EXT_NAME_GAP):
        c.state = CHUNK_EXT_VALUE
    elif state == CHUNK_EXT_NAME_GAP or state == CHUNK_EXT_VALUE_GAP:
        return blank                   # and no end: nothing may follow a blank unseen
    elif b == c'\r':
        c.state = CHUNK_SIZE_LF
    elif blank:
        c.state = CHUNK_EXT_NAME_GAP if state == CHUNK_EXT_NAMED else CHUNK_EXT_VALUE_GAP
    else:
        return token and state != CHUNK_EXT_CLOSED
    return True


cdef inline bint is_trailer(const Chunks* c) noexcept nogil:
    cdef int kind = kind_of(c.name, c.name_size)
    return (kind == KIND_OTHER or kind == KIND_TRACE or kind == KIND_RARE or kind == KIND_TYPE
            or kind == KIND_AGENT)


cdef inline bint trailer_byte(Chunks* c, uint8_t b) noexcept nogil:
    c.trailer_bytes += 1
    if c.trailer_bytes > MAX_TRAILER_BYTES:
        return False
    if c.state == CHUNK_TRAILERS:
        if b == c'\r':
            c.state = CHUNK_END_LF
            return True
        c.trailers += 1
        c.name_size = 0
        c.state = CHUNK_TRAILER_NAME
    if c.state == CHUNK_TRAILER_NAME:
        if b == c':':
            c.state = CHUNK_TRAILER_VALUE
            return c.name_size > 0 and is_trailer(c)
        if c.name_size < NAME_BYTES:
            c.name[c.name_size] = b
            c.name_size += 1
        return c.trailers <= MAX_TRAILERS and fg_class()[b] & FG_TCHAR != 0
    if c.state == CHUNK_TRAILER_VALUE:
        if b == c'\r':
            c.state = CHUNK_TRAILER_LF
            return True
        return fg_class()[b] & FG_FIELD != 0
    c.state = CHUNK_TRAILERS
    return b == c'\n'


cdef inline bint frame_byte(Chunks* c, uint8_t b) noexcept nogil:
    """Take a byte that is no data; False for a fault. CHUNK_END_LF is the caller's."""
    if c.state == CHUNK_SIZE:
        return size_byte(c, b)
    if c.state < CHUNK_SIZE_LF:
        return extension_byte(c, b)
    if c.state == CHUNK_SIZE_LF:
        c.state = CHUNK_DATA if c.left else CHUNK_TRAILERS
        c.digits = 0
        return b == c'\n'
    if c.state == CHUNK_DATA_CR:
        c.state = CHUNK_DATA_LF
        return b == c'\r'
    if c.state == CHUNK_DATA_LF:
        c.state = CHUNK_SIZE
        return b == c'\n'
    return trailer_byte(c, b)


cdef inline int next_chunk(Chunks* c, const uint8_t* p, Py_ssize_t size, Py_ssize_t* at,
                           Py_ssize_t* start) noexcept nogil:
    """Go on from p[at]; returns a ChunkStep. Looks at p[at:size] and nothing else."""
    while at[0] < size:
        if c.state == CHUNK_DATA:
            start[0] = at[0]
            if c.left > size - at[0]:
                c.left -= size - at[0]
                at[0] = size
            else:
                at[0] += c.left
                c.left = 0
                c.state = CHUNK_DATA_CR
            return STEP_DATA
        if c.state == CHUNK_END_LF:
            if p[at[0]] != c'\n':
                return STEP_FAULT
            at[0] += 1
            return STEP_END
        if not frame_byte(c, p[at[0]]):
            return STEP_FAULT
        at[0] += 1
    return STEP_MORE
