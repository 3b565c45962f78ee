"""Bytes of HTTP: character classes, and the few comparisons that everything here is made of.

Owns:      nothing; header-only, included by the http1 modules.
Called by: the other parts of http1.
Source:    RFC 9110 section 5, RFC 3986 section 3; THREATS section 1 fact 8: no byte of the wire
           goes through Python's int, strip or re, which all take more than the grammar.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    """
    #include <stdint.h>
    /* Character classes. tchar is RFC 9110 section 5.6.2 without "_": upstreams read it as
       "-", and a name with it would pass filters for the other spelling (THREATS T8). */
    enum {
        FG_TCHAR = 1, FG_DIGIT = 2, FG_PATH = 4, FG_QUERY = 8, FG_FIELD = 16, FG_HOST = 32
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
        FG_DIGIT
        FG_PATH
        FG_QUERY
        FG_FIELD
        FG_HOST
    const uint8_t* fg_class() noexcept nogil


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


cdef inline int append(bytearray held, const uint8_t* p, Py_ssize_t size) except -1:
    """Put bytes behind those that are held."""
    cdef Py_ssize_t before = len(held)
    PyByteArray_Resize(held, before + size)
    memcpy(PyByteArray_AS_STRING(held) + before, p, size)
    return 0


cdef inline double now_s() noexcept nogil:
    """Return the seconds of the monotonic clock."""
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec + t.tv_nsec * 1e-9
