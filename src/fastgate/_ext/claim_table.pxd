# Which member names mean something, and what their values must look like.
#
# Owned by: ClaimNames (token.pyx), which fills one table per issuer profile at start.
# Read by: claim_scan.pxd, once per member. Never changed after it was filled.

from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from fastgate._ext.json_text cimport Span, load

cdef enum:
    MAX_ENTRIES = 128            # twice what the names below and 48 configured ones need
    SLOTS = 256                  # power of two, at most half full: short probes
    MAX_RANKED = 8               # names tried for the region, and for the grant
    HEADER_NODE = 1              # an object whose members are looked up; 0: none of them
    CLAIMS_NODE = 2

cdef enum:
    SHAPE_ANY = 0                # any JSON value; looked up for its name or its members
    SHAPE_TEXT                   # a string
    SHAPE_NAME                   # a string of 1 to 256 octets without control characters
    SHAPE_IDENTIFIER             # a string, or an integer in its only spelling
    SHAPE_INTEGER                # an integer in [0, 2**53 - 1]
    SHAPE_TEXTS                  # a string, or an array of non-empty strings
    SHAPE_OBJECT                 # an object
    SHAPE_FLAG                   # true or false; anything else counts as absent
    SHAPE_PRESENCE               # any value: that the member is there is the fact
    SHAPE_FORBIDDEN              # the name alone refuses the token

cdef enum:                       # where the value goes in Found.spans
    SLOT_NONE = -1
    SLOT_ALG = 0
    SLOT_KID
    SLOT_TYP
    SLOT_CTY
    SLOT_ISS
    SLOT_SUB
    SLOT_JTI
    SLOT_SID
    SLOT_SESSION_ID
    SLOT_CLIENT_ID
    SLOT_AZP
    SLOT_SCOPE
    SLOT_SCP
    SLOT_AUD
    SLOT_STATUS_URI
    SLOT_STATUS_LIST
    SLOT_REGION                  # and the MAX_RANKED - 1 behind it
    SLOT_GRANT = 24              # likewise
    SLOT_COUNT = 32

cdef enum:                       # where the value goes in Found.integers
    INTEGER_EXP
    INTEGER_NBF
    INTEGER_IAT
    INTEGER_STATUS_IDX
    INTEGER_COUNT

cdef struct Found:               # what one document said; spans index its text
    Span spans[32]
    int64_t integers[4]          # -1: absent
    uint64_t required            # one bit for each required name that was there
    uint32_t lists               # bit `slot`: a packed array, see claim_scan.pxd
    int8_t active                # -1: absent
    bint has_cnf

cdef struct Entry:
    uint64_t word                # the first eight octets of the name
    uint64_t required            # its bit in Found.required; 0: not required
    const uint8_t* name
    uint32_t size
    int8_t slot
    int8_t region                # slot of this rank, or SLOT_NONE
    int8_t grant                 # likewise
    uint8_t node                 # the object this name is a member of
    uint8_t child                # the object it opens, 0: nothing in it is looked up
    uint8_t shape
    uint8_t fault                # the code when the value has another shape

cdef struct Table:
    uint64_t multiplier          # odd and random: nobody outside can make names collide
    Entry entries[128]
    uint8_t slots[256]           # entry number plus one; 0: free
    int count


cdef inline void reset(Found* found) noexcept nogil:
    cdef int i
    memset(found, 0, sizeof(Found))
    for i in range(INTEGER_COUNT):
        found.integers[i] = -1
    found.active = -1


cdef inline uint32_t hash_name(uint64_t multiplier, const uint8_t* name, uint32_t size,
                               uint64_t* first) noexcept nogil:
    # Also gives the first eight octets, zero-filled. Reads up to eight octets past the name.
    cdef uint64_t word = load(name), hashed
    if size < 8:
        word &= (<uint64_t> 1 << (8 * size)) - 1
    first[0] = word
    hashed = (word ^ size) * multiplier
    while size > 8:
        name += 8
        size -= 8
        word = load(name)
        if size < 8:
            word &= (<uint64_t> 1 << (8 * size)) - 1
        hashed = (hashed ^ (hashed >> 32) ^ word) * multiplier
    return <uint32_t> (hashed >> 32)


cdef inline uint32_t home(uint32_t hashed, int node) noexcept nogil:
    return (hashed >> 24) ^ <uint32_t> (node * 37 & 0xFF)


cdef inline Entry* find(Table* table, int node, const uint8_t* name, uint32_t size,
                        uint32_t hashed, uint64_t word) noexcept nogil:
    cdef uint32_t at = home(hashed, node)
    cdef Entry* entry
    while table.slots[at]:
        entry = &table.entries[table.slots[at] - 1]
        if (entry.word == word and entry.size == size and entry.node == node
                and (size <= 8 or memcmp(entry.name, name, size) == 0)):
            return entry
        at = (at + 1) & (SLOTS - 1)
    return NULL


cdef inline Entry* add(Table* table, int node, const uint8_t* name, uint32_t size) noexcept:
    # The entry of this name, made when new; NULL when the table is full. The name must
    # outlive the table and have eight octets behind it.
    cdef uint64_t word
    cdef uint32_t hashed = hash_name(table.multiplier, name, size, &word)
    cdef Entry* entry = find(table, node, name, size, hashed, word)
    cdef uint32_t at = home(hashed, node)
    if entry != NULL:
        return entry
    if table.count == MAX_ENTRIES:
        return NULL
    while table.slots[at]:
        at = (at + 1) & (SLOTS - 1)
    entry = &table.entries[table.count]
    memset(entry, 0, sizeof(Entry))
    entry.word = word
    entry.name = name
    entry.size = size
    entry.node = <uint8_t> node
    entry.slot = entry.region = entry.grant = SLOT_NONE
    table.count += 1
    table.slots[at] = <uint8_t> table.count
    return entry
