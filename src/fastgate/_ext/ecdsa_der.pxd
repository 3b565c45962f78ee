# Raw R||S signatures of JOSE to DER, with the range check that must not be left out.
#
# Called by: token.pyx.
# Source: RFC 7518 section 3.4 (raw form); SEC 1 section 4.1.4 (1 <= r, s <= n - 1);
# X.690 section 8.3 (shortest integers).

from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    /* Orders of the groups: FIPS 186-5 / SP 800-186 sections 3.2.1.3 and 3.2.1.4. */
    static const unsigned char fg_p256_order[32] = {
        0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xFF, 0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2,
        0xFC, 0x63, 0x25, 0x51};
    static const unsigned char fg_p384_order[48] = {
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xC7, 0x63, 0x4D, 0x81,
        0xF4, 0x37, 0x2D, 0xDF, 0x58, 0x1A, 0x0D, 0xB2, 0x48, 0xB0, 0xA7, 0x7A, 0xEC, 0xEC,
        0x19, 0x6A, 0xCC, 0xC5, 0x29, 0x73};
    """
    const uint8_t* fg_p256_order
    const uint8_t* fg_p384_order

cdef enum:
    MAX_DER_BYTES = 104          # 2 + 2 * (2 + 1 + 48); every length fits one octet


cdef inline bint in_range(const uint8_t* integer, int size) noexcept nogil:
    # 1 <= integer < n, big-endian. All-zero signatures verified in CVE-2022-21449.
    cdef const uint8_t* order = fg_p256_order if size == 32 else fg_p384_order
    cdef int i
    cdef uint8_t any_bit = 0
    for i in range(size):
        any_bit |= integer[i]
    return any_bit != 0 and memcmp(integer, order, size) < 0


cdef inline uint8_t* put_integer(uint8_t* out, const uint8_t* integer, int size) noexcept nogil:
    # `integer` is not zero.
    cdef int sign
    while integer[0] == 0:
        integer += 1
        size -= 1
    sign = integer[0] >> 7                     # a leading zero keeps it positive
    out[0] = 0x02
    out[1] = <uint8_t> (size + sign)
    out[2] = 0
    memcpy(out + 2 + sign, integer, size)
    return out + 2 + sign + size


cdef inline int put_signature(uint8_t* out, const uint8_t* raw, int size) noexcept nogil:
    # Octets written to out[:MAX_DER_BYTES], 0 when r or s is out of range. `raw` has
    # 2 * size octets; size is 32 or 48.
    cdef uint8_t* end
    if not in_range(raw, size) or not in_range(raw + size, size):
        return 0
    end = put_integer(put_integer(out + 2, raw, size), raw + size, size)
    out[0] = 0x30
    out[1] = <uint8_t> (end - out - 2)
    return <int> (end - out)
