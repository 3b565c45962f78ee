"""BLAKE2b of one short message, 16 octets long and without a key.

Owns:      nothing.
Called by: _ext.event_share and _ext.events: hashlib would make three objects an event.
Source:    RFC 7693 section 3; tests compare it with hashlib.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "written for little-endian machines"
    #endif
    static const uint64_t fg_b2_iv[8] = {
        UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b),
        UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
        UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f),
        UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179)};
    static const uint8_t fg_b2_sigma[10][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
        {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
        {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
        {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
        {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};
    #define FG_B2_ROT(x, n) (((x) >> (n)) | ((x) << (64 - (n))))
    #define FG_B2_MIX(a, b, c, d, x, y) \\
        v[a] += v[b] + (x); v[d] = FG_B2_ROT(v[d] ^ v[a], 32); \\
        v[c] += v[d]; v[b] = FG_B2_ROT(v[b] ^ v[c], 24); \\
        v[a] += v[b] + (y); v[d] = FG_B2_ROT(v[d] ^ v[a], 16); \\
        v[c] += v[d]; v[b] = FG_B2_ROT(v[b] ^ v[c], 63);
    /* size <= 128. out: the octets of the digest, as two little-endian words. */
    static inline void fg_blake2b(const unsigned char* data, size_t size, uint64_t* out) {
        uint64_t v[16], m[16] = {0};
        uint64_t h0 = fg_b2_iv[0] ^ UINT64_C(0x01010010);
        memcpy(m, data, size);
        v[0] = h0;
        for (int i = 1; i < 8; i++) v[i] = fg_b2_iv[i];
        for (int i = 0; i < 8; i++) v[i + 8] = fg_b2_iv[i];
        v[12] ^= (uint64_t)size;
        v[14] = ~v[14];
        for (int round = 0; round < 12; round++) {
            const uint8_t* s = fg_b2_sigma[round % 10];
            FG_B2_MIX(0, 4, 8, 12, m[s[0]], m[s[1]])
            FG_B2_MIX(1, 5, 9, 13, m[s[2]], m[s[3]])
            FG_B2_MIX(2, 6, 10, 14, m[s[4]], m[s[5]])
            FG_B2_MIX(3, 7, 11, 15, m[s[6]], m[s[7]])
            FG_B2_MIX(0, 5, 10, 15, m[s[8]], m[s[9]])
            FG_B2_MIX(1, 6, 11, 12, m[s[10]], m[s[11]])
            FG_B2_MIX(2, 7, 8, 13, m[s[12]], m[s[13]])
            FG_B2_MIX(3, 4, 9, 14, m[s[14]], m[s[15]])
        }
        out[0] = h0 ^ v[0] ^ v[8];
        out[1] = fg_b2_iv[1] ^ v[1] ^ v[9];
    }
    """
    void fg_blake2b(const unsigned char* data, size_t size, uint64_t* out) noexcept nogil
