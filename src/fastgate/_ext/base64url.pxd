# Canonical base64url to octets, by table; the one decoder for routing and verification.
#
# Called by: token.pyx. Portable C: no instruction set beyond the compiler's default.
# Source: RFC 4648 section 5; RFC 7515 section 2 (no padding, no other byte).

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastgate._ext.token_codes cimport (
    TOKEN_BAD_ALPHABET, TOKEN_BAD_LENGTH, TOKEN_OK, TOKEN_SPARE_BITS)

cdef extern from *:
    """
    /* Row r holds each character's six bits, moved to their place in 24 bits. */
    static uint32_t fg_sextets[4][256];
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static inline uint64_t fg_big_endian(uint64_t x) { return __builtin_bswap64(x); }
    #else
    static inline uint64_t fg_big_endian(uint64_t x) { return x; }
    #endif
    """
    uint32_t fg_sextets[4][256]
    uint64_t fg_big_endian(uint64_t x) noexcept nogil

cdef enum:
    # An 8-byte store may reach this far past the decoded octets.
    DECODE_SLACK_BYTES = 8
    FOREIGN = 0x80000000         # outside the 24 bits: this byte is not in the alphabet


cdef inline void fill_tables() noexcept nogil:
    # Constants, computed once at import; every other byte stays FOREIGN.
    cdef const char* alphabet = (
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    cdef uint32_t i
    cdef int row
    for row in range(4):
        for i in range(256):
            fg_sextets[row][i] = <uint32_t> FOREIGN
        for i in range(64):
            fg_sextets[row][<uint8_t> alphabet[i]] = i << (18 - 6 * row)


cdef inline Py_ssize_t decoded_size(Py_ssize_t size) noexcept nogil:
    return size // 4 * 3 + (size % 4) * 3 // 4


cdef inline int decode(const uint8_t* text, Py_ssize_t size, uint8_t* out) noexcept nogil:
    # Reads text[:size] alone; writes at most decoded_size(size) + DECODE_SLACK_BYTES.
    cdef Py_ssize_t at = 0
    cdef uint32_t high, low, bad = 0
    cdef uint64_t octets
    cdef Py_ssize_t rest = size & 3
    if rest == 1:                # six bits make no octet
        return TOKEN_BAD_LENGTH
    while size - at >= 8:
        high = (fg_sextets[0][text[at]] | fg_sextets[1][text[at + 1]]
                | fg_sextets[2][text[at + 2]] | fg_sextets[3][text[at + 3]])
        low = (fg_sextets[0][text[at + 4]] | fg_sextets[1][text[at + 5]]
               | fg_sextets[2][text[at + 6]] | fg_sextets[3][text[at + 7]])
        bad |= high | low
        octets = fg_big_endian((<uint64_t> high << 40) | (<uint64_t> low << 16))
        memcpy(out, &octets, 8)
        at += 8
        out += 6
    if size - at >= 4:
        high = (fg_sextets[0][text[at]] | fg_sextets[1][text[at + 1]]
                | fg_sextets[2][text[at + 2]] | fg_sextets[3][text[at + 3]])
        bad |= high
        octets = fg_big_endian(<uint64_t> high << 40)
        memcpy(out, &octets, 8)
        at += 4
        out += 3
    high = 0
    if rest:
        high = fg_sextets[0][text[at]] | fg_sextets[1][text[at + 1]]
        if rest == 3:
            high |= fg_sextets[2][text[at + 2]]
        bad |= high
        octets = fg_big_endian(<uint64_t> high << 40)
        memcpy(out, &octets, 8)
    if bad & <uint32_t> FOREIGN:
        return TOKEN_BAD_ALPHABET
    # RFC 4648 section 3.5: bits past the last octet are zero, or one token has many spellings.
    if (rest == 2 and high & 0xFFFF) or (rest == 3 and high & 0xFF):
        return TOKEN_SPARE_BITS
    return TOKEN_OK
