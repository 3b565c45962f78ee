"""Methods: the closed list of what is forwarded.

Owns:      nothing; header-only, included by the http1 modules.
Called by: http1_scan for each request line; hotpath.headers has the same list for the other lane.
Source:    RFC 9110 section 9; THREATS T5 and section 7.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp


cdef inline bint exactly(const uint8_t* p, Py_ssize_t size, const char* word,
                         Py_ssize_t word_size) noexcept nogil:
    # Methods are case-sensitive (RFC 9110 section 9.1).
    return size == word_size and memcmp(p, word, size) == 0


cdef inline bint usual_method(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    if size == 3:
        return memcmp(p, b"GET", 3) == 0 or memcmp(p, b"PUT", 3) == 0
    if size == 4:
        return memcmp(p, b"POST", 4) == 0 or memcmp(p, b"HEAD", 4) == 0
    return (exactly(p, size, b"PATCH", 5) or exactly(p, size, b"DELETE", 6)
            or exactly(p, size, b"OPTIONS", 7))


cdef inline bint rare_method(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """Tell whether it is one of the others that are forwarded; as hotpath.headers has them.

    Of IANA's registry, those that act on the target that a route was chosen for. COPY, MOVE,
    LINK and the like name a second one, which no check has seen.
    """
    return (exactly(p, size, b"QUERY", 5) or exactly(p, size, b"SEARCH", 6)
            or exactly(p, size, b"REPORT", 6) or exactly(p, size, b"PROPFIND", 8)
            or exactly(p, size, b"PROPPATCH", 9) or exactly(p, size, b"MKCOL", 5)
            or exactly(p, size, b"MKCALENDAR", 10) or exactly(p, size, b"LOCK", 4)
            or exactly(p, size, b"UNLOCK", 6) or exactly(p, size, b"ACL", 3))
