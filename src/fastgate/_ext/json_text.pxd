# The lexical half of JSON: strings, numbers, words; strict, in place, without copies.
#
# Called by: token.pyx.
# Invariant: the text is writable and END_PADDING zero bytes follow it. A zero byte ends
# every loop below (it is legal nowhere in JSON), so `at` never passes `end`, and a read of
# eight bytes at `at` stays inside the padding.
# Source: RFC 8259; RFC 7493 section 2.1 (no lone surrogates); RFC 3629 section 4 (UTF-8).

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastgate._ext.token_codes cimport (
    TOKEN_BAD_ESCAPE, TOKEN_BAD_NUMBER, TOKEN_BAD_UTF8, TOKEN_CONTROL_CHARACTER,
    TOKEN_JSON_SYNTAX, TOKEN_JSON_TRUNCATED, TOKEN_LONE_SURROGATE, TOKEN_OK)

cdef extern from *:
    """
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define fg_little_endian(x) (x)
    #else
    #define fg_little_endian(x) __builtin_bswap64(x)
    #endif
    #define fg_first_byte(x) ((Py_ssize_t)(__builtin_ctzll(x) >> 3))
    #define FG_ONES UINT64_C(0x0101010101010101)
    #define FG_MAX_EXACT INT64_C(9007199254740991)
    """
    uint64_t ONES "FG_ONES"
    int64_t MAX_EXACT "FG_MAX_EXACT"    # 2**53 - 1, RFC 7493 section 2.2
    uint64_t fg_little_endian(uint64_t x) noexcept nogil
    Py_ssize_t fg_first_byte(uint64_t x) noexcept nogil    # x is not zero

cdef enum:
    END_PADDING = 16

cdef struct Span:                # text[start:start + size]; start 0 means absent: a
    uint32_t start               # document opens with its brace, so no value is there
    uint32_t size

cdef struct Reader:
    uint8_t* text
    Py_ssize_t end
    Py_ssize_t at

cdef struct Number:
    Span span
    int64_t value                # of an integer in [0, 2**53 - 1], else -1
    bint canonical               # an integer with one spelling: no fraction, exponent, -0


cdef inline uint64_t load(const uint8_t* at) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, at, 8)
    return fg_little_endian(word)


cdef inline bint is_ascii(const uint8_t* text, Py_ssize_t size) noexcept nogil:
    # Reads up to seven octets past the text, which the padding covers.
    cdef uint64_t word
    while size >= 8:
        if load(text) & ONES * 0x80:
            return False
        text += 8
        size -= 8
    word = load(text) & ONES * 0x80
    return word & ((<uint64_t> 1 << (8 * size)) - 1) == 0


cdef inline int unexpected(const Reader* r) noexcept nogil:
    return TOKEN_JSON_TRUNCATED if r.at >= r.end else TOKEN_JSON_SYNTAX


cdef inline uint8_t skip_space(Reader* r) noexcept nogil:
    # Moves to the next byte that counts and returns it; 0 at the end.
    cdef uint8_t byte = r.text[r.at]
    while byte <= c' ' and (byte == c' ' or byte == c'\n' or byte == c'\r' or byte == c'\t'):
        r.at += 1
        byte = r.text[r.at]
    return byte


cdef inline Py_ssize_t utf8_size(const uint8_t* at) noexcept nogil:
    # Octets of the well-formed character at `at`, its first byte >= 0x80; 0 when it is none.
    cdef uint8_t first = at[0], second = at[1]
    if second & 0xC0 != 0x80:
        return 0
    if first < 0xE0:
        return 2 if first >= 0xC2 else 0       # C0 and C1 would be overlong
    if at[2] & 0xC0 != 0x80:
        return 0
    if first < 0xF0:
        if (first == 0xE0 and second < 0xA0) or (first == 0xED and second >= 0xA0):
            return 0                           # overlong; a surrogate
        return 3
    if at[3] & 0xC0 != 0x80:
        return 0
    if (first == 0xF0 and second < 0x90) or first > 0xF4 or (first == 0xF4 and second >= 0x90):
        return 0                               # overlong; past U+10FFFF
    return 4


cdef inline int read_hex(const Reader* r, Py_ssize_t at, uint32_t* value) noexcept nogil:
    # The four digits of \uXXXX at `at`.
    cdef Py_ssize_t i
    cdef uint8_t byte
    value[0] = 0
    for i in range(at, at + 4):
        byte = r.text[i]
        if c'0' <= byte <= c'9':
            byte -= c'0'
        elif c'a' <= byte | 0x20 <= c'f':
            byte = (byte | 0x20) - c'a' + 10
        else:
            return TOKEN_JSON_TRUNCATED if i >= r.end else TOKEN_BAD_ESCAPE
        value[0] = value[0] << 4 | byte
    return TOKEN_OK


cdef inline uint8_t* put_utf8(uint8_t* out, uint32_t point) noexcept nogil:
    if point < 0x80:
        out[0] = <uint8_t> point
        return out + 1
    if point < 0x800:
        out[0] = <uint8_t> (0xC0 | point >> 6)
    else:
        if point < 0x10000:
            out[0] = <uint8_t> (0xE0 | point >> 12)
        else:
            out[0] = <uint8_t> (0xF0 | point >> 18)
            out += 1
            out[0] = <uint8_t> (0x80 | (point >> 12 & 0x3F))
        out += 1
        out[0] = <uint8_t> (0x80 | (point >> 6 & 0x3F))
    out[1] = <uint8_t> (0x80 | (point & 0x3F))
    return out + 2


cdef inline int read_escape(Reader* r, uint8_t** out) noexcept nogil:
    # r.at is at the backslash; the character is never longer than its escape.
    cdef uint8_t byte = r.text[r.at + 1]
    cdef uint32_t point, low
    cdef int code
    if byte == c'u':
        code = read_hex(r, r.at + 2, &point)
        if code != TOKEN_OK:
            return code
        r.at += 6
        if 0xD800 <= point < 0xE000:
            if point >= 0xDC00 or r.text[r.at] != c'\\' or r.text[r.at + 1] != c'u':
                return TOKEN_LONE_SURROGATE
            code = read_hex(r, r.at + 2, &low)
            if code != TOKEN_OK:
                return code
            if not 0xDC00 <= low < 0xE000:
                return TOKEN_LONE_SURROGATE
            r.at += 6
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
        out[0] = put_utf8(out[0], point)
        return TOKEN_OK
    if byte == c'n':
        byte = 0x0A
    elif byte == c't':
        byte = 0x09
    elif byte == c'r':
        byte = 0x0D
    elif byte == c'b':
        byte = 0x08
    elif byte == c'f':
        byte = 0x0C
    elif byte != c'"' and byte != c'\\' and byte != c'/':
        return TOKEN_JSON_TRUNCATED if r.at + 1 >= r.end else TOKEN_BAD_ESCAPE
    out[0][0] = byte
    out[0] += 1
    r.at += 2
    return TOKEN_OK


cdef inline int read_odd_string(Reader* r, Span* span) noexcept nogil:
    # The rest of a string from its first byte that is not plain ASCII; unescapes in place.
    cdef uint8_t* out = r.text + r.at
    cdef uint8_t byte
    cdef Py_ssize_t size
    cdef int code
    while True:
        byte = r.text[r.at]
        if byte == c'"':
            break
        if byte == c'\\':
            code = read_escape(r, &out)
            if code != TOKEN_OK:
                return code
        elif byte < 0x20:
            return TOKEN_JSON_TRUNCATED if r.at >= r.end else TOKEN_CONTROL_CHARACTER
        else:
            size = 1 if byte < 0x80 else utf8_size(r.text + r.at)
            if size == 0:
                return TOKEN_BAD_UTF8
            while size > 0:
                out[0] = r.text[r.at]
                out += 1
                r.at += 1
                size -= 1
    span.size = <uint32_t> (out - r.text) - span.start
    r.at += 1
    return TOKEN_OK


cdef inline int read_string(Reader* r, Span* span) noexcept nogil:
    # r.at is behind the opening quote; afterwards behind the closing one. The span holds
    # the characters as UTF-8, unescaped.
    cdef uint64_t word, quote, slash, hits
    span.start = <uint32_t> r.at
    while True:
        # Eight bytes a step: a quote, a backslash, a control or a non-ASCII byte stops it.
        # Borrows run upwards only, so the lowest hit is exact.
        word = load(r.text + r.at)
        quote = word ^ ONES * c'"'
        slash = word ^ ONES * c'\\'
        hits = ((((quote - ONES) & ~quote) | ((slash - ONES) & ~slash)
                 | ((word - ONES * 0x20) & ~word) | word) & ONES * 0x80)
        if hits:
            break
        r.at += 8
    r.at += fg_first_byte(hits)
    if r.text[r.at] != c'"':
        return read_odd_string(r, span)
    span.size = <uint32_t> r.at - span.start
    r.at += 1
    return TOKEN_OK


cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return c'0' <= byte <= c'9'


cdef inline int read_digits(Reader* r) noexcept nogil:
    # One digit or more.
    if not is_digit(r.text[r.at]):
        return TOKEN_JSON_TRUNCATED if r.at >= r.end else TOKEN_BAD_NUMBER
    while is_digit(r.text[r.at]):
        r.at += 1
    return TOKEN_OK


cdef inline int read_number(Reader* r, Number* number) noexcept nogil:
    # r.at is at a minus or a digit; RFC 8259 section 6.
    cdef Py_ssize_t start = r.at, digits
    cdef int64_t value = 0
    cdef bint negative = r.text[r.at] == c'-', exact = True
    cdef int code
    number.span.start = <uint32_t> start
    if negative:
        r.at += 1
    digits = r.at
    if not is_digit(r.text[r.at]):
        return TOKEN_JSON_TRUNCATED if r.at >= r.end else TOKEN_BAD_NUMBER
    while is_digit(r.text[r.at]):
        if value <= MAX_EXACT:                 # saturates: the text may have any length
            value = value * 10 + (r.text[r.at] - c'0')
        r.at += 1
    if r.text[digits] == c'0' and r.at > digits + 1:
        return TOKEN_BAD_NUMBER                # a leading zero
    if r.text[r.at] == c'.':
        exact = False
        r.at += 1
        code = read_digits(r)
        if code != TOKEN_OK:
            return code
    if r.text[r.at] | 0x20 == c'e':
        exact = False
        r.at += 1
        if r.text[r.at] == c'+' or r.text[r.at] == c'-':
            r.at += 1
        code = read_digits(r)
        if code != TOKEN_OK:
            return code
    number.span.size = <uint32_t> (r.at - start)
    number.canonical = exact and not (negative and r.text[digits] == c'0')
    number.value = value if exact and not negative and value <= MAX_EXACT else -1
    return TOKEN_OK


cdef inline int read_word(Reader* r, const char* word) noexcept nogil:
    # true, false or null.
    while word[0]:
        if r.text[r.at] != <uint8_t> word[0]:
            return unexpected(r)
        r.at += 1
        word += 1
    return TOKEN_OK
