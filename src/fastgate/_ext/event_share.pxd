"""An event's share of a publisher's sum: 128 bits, and how they are added.

Owns:      nothing.
Called by: _ext.event_sums.
Source:    REVOCATION.md section 4 (digest).
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from fastgate._ext.blake2b cimport fg_blake2b

cdef extern from *:
    """
    typedef unsigned __int128 fg_sum;
    #define fg_sum_of(hi, lo) (((fg_sum)(hi) << 64) | (lo))
    #define fg_sum_hi(s) ((uint64_t)((s) >> 64))
    #define fg_sum_lo(s) ((uint64_t)(s))
    #define fg_swap64(x) __builtin_bswap64(x)
    """
    ctypedef unsigned long long Sum "fg_sum"
    Sum fg_sum_of(uint64_t hi, uint64_t lo) noexcept nogil
    uint64_t fg_sum_hi(Sum sum) noexcept nogil
    uint64_t fg_sum_lo(Sum sum) noexcept nogil
    uint64_t fg_swap64(uint64_t value) noexcept nogil


cdef inline Sum share_of(const unsigned char* id, size_t size,
                         uint32_t expires) noexcept nogil:
    # BLAKE2b-128 over `<id>\n<expires>`, read as a big-endian number.
    cdef unsigned char message[128]
    cdef uint64_t out[2]
    memcpy(message, id, size)
    size += <size_t> snprintf(<char*> message + size, 16, "\n%u", expires)
    fg_blake2b(message, size, out)
    return fg_sum_of(fg_swap64(out[0]), fg_swap64(out[1]))
