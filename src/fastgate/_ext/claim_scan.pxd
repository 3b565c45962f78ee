# The structural half of JSON: objects, arrays, duplicates, limits, and the claims in them.
#
# Called by: token.pyx, for the header and for the claims of every token that is scanned.
# Order of faults: a reader going left to right reports the first one it can know; a value
# of the wrong type is known at its first byte, a duplicate at the end of its name.
# Source: RFC 8259; RFC 7515 section 4 and RFC 7519 section 4 (no duplicate names).

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memmove, memset

from fastgate._ext.claim_table cimport (
    INTEGER_STATUS_IDX, SHAPE_ANY, SHAPE_FLAG, SHAPE_FORBIDDEN, SHAPE_IDENTIFIER,
    SHAPE_INTEGER, SHAPE_NAME, SHAPE_OBJECT, SHAPE_PRESENCE, SHAPE_TEXTS,
    SLOT_AUD, SLOT_CTY, SLOT_NONE, SLOT_STATUS_LIST, SLOT_STATUS_URI, Entry, Found, Table, find,
    hash_name)
from fastgate._ext.json_text cimport (
    END_PADDING, Number, Reader, Span, is_digit, read_number, read_string, read_word,
    skip_space, unexpected)
from fastgate._ext.token_codes cimport (
    TOKEN_DUPLICATE_MEMBER, TOKEN_JSON_TRUNCATED, TOKEN_KEY_TOO_LONG, TOKEN_NESTED,
    TOKEN_NOT_OBJECT, TOKEN_OK, TOKEN_TOO_DEEP, TOKEN_TOO_MANY_MEMBERS, TOKEN_TRAILING_DATA)

cdef enum:
    # Members of all objects open at one time: 48 KiB of stack. ClaimNames keeps
    # max_depth * max_members within it.
    MAX_OPEN_MEMBERS = 4096
    # Each entry becomes a string that is compared with the route's: work per request.
    MAX_AUDIENCES = 64           # one a service; tokens seen carry under 20
    MAX_SCOPES = 256             # of an `scp` array; administrators' tokens carry about 100
    # kid, alg, typ: they reach key look-up, logs and explanations.
    MAX_NAME_BYTES = 256

cdef struct Scanner:
    Reader reader
    Table* table
    Found* found
    int depth
    int max_depth
    uint32_t max_members         # of one object
    uint32_t max_key_bytes       # of one name, unescaped
    uint32_t open_members
    uint32_t hashes[4096]        # of the members of all objects open now, oldest first
    Span keys[4096]


cdef inline bint is_duplicate(
        Scanner* s, uint32_t base, uint32_t hashed, const Span* key) noexcept nogil:
    # Among the members from `base`. The first loop has no exit, so it is compiled to
    # vectors: 128 members cost about a microsecond. The hash is keyed, so a sender cannot
    # make the second loop run for names that differ.
    cdef uint32_t i
    cdef bint seen = False
    cdef const uint8_t* text = s.reader.text
    for i in range(base, s.open_members):
        seen |= s.hashes[i] == hashed
    if not seen:
        return False
    for i in range(base, s.open_members):
        if (s.hashes[i] == hashed and s.keys[i].size == key.size
                and memcmp(text + s.keys[i].start, text + key.start, key.size) == 0):
            return True
    return False


cdef inline int scan_key(Scanner* s, int node, uint32_t base, uint64_t* filter,
                         Entry** entry) noexcept nogil:
    # r.at is behind the opening quote. `filter` has a bit for each hash seen in this object.
    cdef Span key
    cdef uint64_t word, bit
    cdef uint32_t hashed
    cdef int code = read_string(&s.reader, &key)
    if code != TOKEN_OK:
        return code
    if key.size > s.max_key_bytes:
        return TOKEN_KEY_TOO_LONG
    if s.open_members - base == s.max_members:
        return TOKEN_TOO_MANY_MEMBERS
    hashed = hash_name(
        s.table.multiplier, s.reader.text + key.start, key.size, &word)
    bit = <uint64_t> 1 << (hashed & 63)
    if filter[0] & bit and is_duplicate(s, base, hashed, &key):
        return TOKEN_DUPLICATE_MEMBER
    filter[0] |= bit
    s.hashes[s.open_members] = hashed
    s.keys[s.open_members] = key
    s.open_members += 1
    entry[0] = NULL
    if node:
        entry[0] = find(s.table, node, s.reader.text + key.start, key.size, hashed, word)
        if entry[0] != NULL and entry[0].shape == SHAPE_FORBIDDEN:
            return entry[0].fault
    return TOKEN_OK


cdef inline int scan_object(Scanner* s, int node) noexcept nogil:
    # r.at is behind the brace.
    cdef uint32_t base = s.open_members
    cdef uint64_t filter = 0
    cdef Entry* entry
    cdef uint8_t byte
    cdef int code
    s.depth += 1
    if s.depth > s.max_depth:
        return TOKEN_TOO_DEEP
    byte = skip_space(&s.reader)
    while byte != c'}' or filter:              # a comma announces one member more
        if byte != c'"':
            return unexpected(&s.reader)
        s.reader.at += 1
        code = scan_key(s, node, base, &filter, &entry)
        if code != TOKEN_OK:
            return code
        if skip_space(&s.reader) != c':':
            return unexpected(&s.reader)
        s.reader.at += 1
        byte = skip_space(&s.reader)
        code = scan_value(s, 0, byte) if entry == NULL else scan_claim(s, entry, byte)
        if code != TOKEN_OK:
            return code
        byte = skip_space(&s.reader)
        if byte == c'}':
            break
        if byte != c',':
            return unexpected(&s.reader)
        s.reader.at += 1
        byte = skip_space(&s.reader)
    s.reader.at += 1
    s.depth -= 1
    s.open_members = base
    return TOKEN_OK


cdef inline int scan_array(Scanner* s) noexcept nogil:
    # r.at is behind the bracket.
    cdef uint8_t byte
    cdef int code
    s.depth += 1
    if s.depth > s.max_depth:
        return TOKEN_TOO_DEEP
    byte = skip_space(&s.reader)
    if byte != c']':
        while True:
            code = scan_value(s, 0, byte)
            if code != TOKEN_OK:
                return code
            byte = skip_space(&s.reader)
            if byte == c']':
                break
            if byte != c',':
                return unexpected(&s.reader)
            s.reader.at += 1
            byte = skip_space(&s.reader)
    s.reader.at += 1
    s.depth -= 1
    return TOKEN_OK


cdef inline int scan_value(Scanner* s, int node, uint8_t byte) noexcept nogil:
    # A value that is only checked; `byte` is its first.
    cdef Span span
    cdef Number number
    if byte == c'"':
        s.reader.at += 1
        return read_string(&s.reader, &span)
    if byte == c'{':
        s.reader.at += 1
        return scan_object(s, node)
    if byte == c'[':
        s.reader.at += 1
        return scan_array(s)
    if is_digit(byte) or byte == c'-':
        return read_number(&s.reader, &number)
    if byte == c't':
        return read_word(&s.reader, b"true")
    if byte == c'f':
        return read_word(&s.reader, b"false")
    if byte == c'n':
        return read_word(&s.reader, b"null")
    return unexpected(&s.reader)


cdef inline int wrong_type(Scanner* s, const Entry* entry, uint8_t byte) noexcept nogil:
    # The claim's own fault where a value begins at all, else the fault of the JSON.
    if (is_digit(byte) or byte == c'"' or byte == c'-' or byte == c'{' or byte == c'['
            or byte == c't' or byte == c'f' or byte == c'n'):
        return entry.fault
    return unexpected(&s.reader)


cdef inline bint is_name(const uint8_t* text, const Span* span) noexcept nogil:
    cdef uint32_t i
    if not 0 < span.size <= MAX_NAME_BYTES:
        return False
    for i in range(span.size):
        if text[span.start + i] < 0x20:
            return False
    return True


cdef inline bint is_jwt_type(const uint8_t* text, const Span* span) noexcept nogil:
    # "JWT" in any letter case, "application/" before it or not: RFC 7515 section 4.1.10.
    cdef const char* full = b"application/jwt"
    cdef uint32_t skipped, i
    if span.size != 3 and span.size != 15:
        return False
    skipped = 15 - span.size
    for i in range(span.size):
        if (text[span.start + i] | 0x20) != <uint8_t> full[skipped + i]:
            return False
    return True


cdef inline void store(Scanner* s, const Entry* entry, const Span* span) noexcept nogil:
    if entry.slot != SLOT_NONE:
        s.found.spans[entry.slot] = span[0]
    if entry.region != SLOT_NONE:
        s.found.spans[entry.region] = span[0]
    if entry.grant != SLOT_NONE:
        s.found.spans[entry.grant] = span[0]


cdef inline int scan_text(Scanner* s, const Entry* entry) noexcept nogil:
    # r.at is at the opening quote.
    cdef Span span
    cdef int code
    s.reader.at += 1
    code = read_string(&s.reader, &span)
    if code != TOKEN_OK:
        return code
    if entry.shape == SHAPE_NAME and not is_name(s.reader.text, &span):
        return entry.fault
    if entry.slot == SLOT_AUD and span.size == 0:
        return entry.fault
    if entry.slot == SLOT_CTY and is_jwt_type(s.reader.text, &span):
        return TOKEN_NESTED
    store(s, entry, &span)
    return TOKEN_OK


cdef inline int scan_number(Scanner* s, const Entry* entry) noexcept nogil:
    # r.at is at a minus or a digit.
    cdef Number number
    cdef int code = read_number(&s.reader, &number)
    if code != TOKEN_OK:
        return code
    if entry.shape == SHAPE_IDENTIFIER:
        if not number.canonical:
            return entry.fault
        store(s, entry, &number.span)
    elif number.value < 0:
        return entry.fault
    else:
        s.found.integers[entry.slot] = number.value
    return TOKEN_OK


cdef inline int scan_claim(Scanner* s, const Entry* entry, uint8_t byte) noexcept nogil:
    # The value of a member that is looked up; `byte` is its first.
    cdef int shape = entry.shape
    if entry.required and byte != c'n':        # null says that there is none
        s.found.required |= entry.required
    if shape == SHAPE_ANY:
        return scan_value(s, entry.child, byte)
    if shape == SHAPE_INTEGER or (shape == SHAPE_IDENTIFIER and byte != c'"'):
        if is_digit(byte) or byte == c'-':
            return scan_number(s, entry)
        return wrong_type(s, entry, byte)
    if shape <= SHAPE_TEXTS and byte == c'"':
        return scan_text(s, entry)
    if shape == SHAPE_TEXTS and byte == c'[':
        return scan_texts(s, entry)
    if shape == SHAPE_OBJECT and byte == c'{':
        return scan_status(s, entry)
    if shape == SHAPE_PRESENCE:
        s.found.has_cnf = True
    elif shape == SHAPE_FLAG:
        if byte == c't' or byte == c'f':
            s.found.active = byte == c't'
    else:
        return wrong_type(s, entry, byte)
    return scan_value(s, 0, byte)


cdef inline int scan_texts(Scanner* s, const Entry* entry) noexcept nogil:
    # r.at is at the bracket. The array is packed where it stands: two octets of size, high
    # first, before each string. Bracket, quotes and commas leave room for exactly that.
    cdef Span span, text
    cdef uint8_t byte
    cdef uint8_t* out = s.reader.text + s.reader.at
    cdef int code, room = MAX_AUDIENCES if entry.slot == SLOT_AUD else MAX_SCOPES
    s.depth += 1
    if s.depth > s.max_depth:
        return TOKEN_TOO_DEEP
    span.start = <uint32_t> s.reader.at
    s.reader.at += 1
    byte = skip_space(&s.reader)
    if byte == c']' and entry.slot == SLOT_AUD:
        return entry.fault                     # for nobody: never the same as no `aud`
    while byte != c']' or out != s.reader.text + span.start:
        if byte != c'"':
            return wrong_type(s, entry, byte)
        s.reader.at += 1
        code = read_string(&s.reader, &text)
        if code != TOKEN_OK:
            return code
        if text.size == 0 or room == 0:
            return entry.fault
        room -= 1
        out[0] = <uint8_t> (text.size >> 8)
        out[1] = <uint8_t> (text.size & 0xFF)
        memmove(out + 2, s.reader.text + text.start, text.size)
        out += 2 + text.size
        byte = skip_space(&s.reader)
        if byte == c']':
            break
        if byte != c',':
            return unexpected(&s.reader)
        s.reader.at += 1
        byte = skip_space(&s.reader)
    s.reader.at += 1
    s.depth -= 1
    span.size = <uint32_t> (out - s.reader.text) - span.start
    store(s, entry, &span)
    s.found.lists |= <uint32_t> 1 << entry.slot
    return TOKEN_OK


cdef inline int scan_status(Scanner* s, const Entry* entry) noexcept nogil:
    # `status`, and `status_list` in it, which has both its members or is no reference.
    cdef int code
    s.reader.at += 1
    code = scan_object(s, entry.child)
    if code == TOKEN_OK and entry.slot == SLOT_STATUS_LIST and (
            s.found.integers[INTEGER_STATUS_IDX] < 0 or s.found.spans[SLOT_STATUS_URI].start == 0):
        return entry.fault
    return code


cdef inline int scan_document(Scanner* s, uint8_t* text, Py_ssize_t size, int node) noexcept nogil:
    # One object and nothing after it. Zeroes the END_PADDING octets behind the text.
    cdef uint8_t byte
    cdef int code
    memset(text + size, 0, END_PADDING)
    s.reader.text = text
    s.reader.end = size
    s.reader.at = 0
    s.depth = 0
    s.open_members = 0
    byte = skip_space(&s.reader)
    if byte != c'{':
        return TOKEN_JSON_TRUNCATED if s.reader.at >= size else TOKEN_NOT_OBJECT
    s.reader.at += 1
    code = scan_object(s, node)
    if code != TOKEN_OK:
        return code
    skip_space(&s.reader)
    return TOKEN_OK if s.reader.at == size else TOKEN_TRAILING_DATA
