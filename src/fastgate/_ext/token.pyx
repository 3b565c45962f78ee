"""Token: split, decode and read a compact JWS in one pass, without building objects.

Owns:      the text and JSON rules of tokens, and the decoded octets of one scan.
Called by: hotpath.native alone (the gate's cold path, OAuth routing, introspection answers).
Nothing here verifies a signature: every attribute is untrusted until the gate has done so.
Source:    RFC 7515 sections 2, 4, 7.1; RFC 7519 sections 3, 4; RFC 8725 section 3.

A scan decodes all three parts into one buffer, then reads header and claims there; the
result keeps spans of it, and each attribute builds its object anew when it is read. All
reading happens in C that checks before it reads (see json_text.pxd for the rule); the
object layer below only allocates, copies and gives out.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcpy

from fastgate._ext.base64url cimport DECODE_SLACK_BYTES, decode, decoded_size, fill_tables
from fastgate._ext.claim_names cimport ClaimNames, Header
from fastgate._ext.claim_scan cimport Scanner, scan_document
from fastgate._ext.claim_table cimport (
    CLAIMS_NODE, HEADER_NODE, INTEGER_EXP, INTEGER_IAT, INTEGER_NBF, INTEGER_STATUS_IDX,
    MAX_RANKED, SLOT_ALG, SLOT_AUD, SLOT_AZP, SLOT_CLIENT_ID, SLOT_GRANT, SLOT_ISS, SLOT_JTI,
    SLOT_KID, SLOT_REGION, SLOT_SCOPE, SLOT_SCP, SLOT_SESSION_ID, SLOT_SID, SLOT_STATUS_URI,
    SLOT_SUB, SLOT_TYP, Found, reset)
from fastgate._ext.ecdsa_der cimport MAX_DER_BYTES, put_signature
from fastgate._ext.json_text cimport END_PADDING, Span, is_ascii
from fastgate._ext.token_codes cimport *

cdef extern from "Python.h":
    str PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)

cdef enum:
    # An introspection answer: a token, its claims again, and room.
    MAX_DOCUMENT_BYTES = 65536
    SLACK_BYTES = END_PADDING + DECODE_SLACK_BYTES

CODES = {
    TOKEN_OK: "ok", TOKEN_TOO_LARGE: "too_large", TOKEN_NOT_THREE_PARTS: "not_three_parts",
    TOKEN_EMPTY_PART: "empty_part", TOKEN_BAD_LENGTH: "bad_length",
    TOKEN_BAD_ALPHABET: "bad_alphabet", TOKEN_SPARE_BITS: "spare_bits",
    TOKEN_NOT_OBJECT: "not_object", TOKEN_JSON_SYNTAX: "json_syntax",
    TOKEN_JSON_TRUNCATED: "json_truncated", TOKEN_TRAILING_DATA: "trailing_data",
    TOKEN_BAD_NUMBER: "bad_number", TOKEN_BAD_ESCAPE: "bad_escape",
    TOKEN_LONE_SURROGATE: "lone_surrogate", TOKEN_CONTROL_CHARACTER: "control_character",
    TOKEN_BAD_UTF8: "bad_utf8", TOKEN_DUPLICATE_MEMBER: "duplicate_member",
    TOKEN_TOO_DEEP: "too_deep", TOKEN_TOO_MANY_MEMBERS: "too_many_members",
    TOKEN_KEY_TOO_LONG: "key_too_long", TOKEN_MISSING_ALG: "missing_alg",
    TOKEN_BAD_ALG: "bad_alg", TOKEN_BAD_KID: "bad_kid", TOKEN_BAD_TYP: "bad_typ",
    TOKEN_BAD_CTY: "bad_cty", TOKEN_NESTED: "nested", TOKEN_CRIT: "crit", TOKEN_B64: "b64",
    TOKEN_ZIP: "zip", TOKEN_BAD_ISS: "bad_iss", TOKEN_BAD_AUD: "bad_aud",
    TOKEN_BAD_EXP: "bad_exp", TOKEN_BAD_NBF: "bad_nbf", TOKEN_BAD_IAT: "bad_iat",
    TOKEN_BAD_IDENTIFIER: "bad_identifier", TOKEN_BAD_SCOPE: "bad_scope",
    TOKEN_BAD_REGION: "bad_region", TOKEN_BAD_STATUS: "bad_status",
}


@cython.final
@cython.freelist(16)
@cython.no_gc                    # bytes and strings make no cycles
cdef class TokenScan:
    """What one token or document said. Untrusted until its signature was verified."""
    cdef readonly int code
    cdef readonly Py_ssize_t signing_input_end
    cdef uint8_t part            # 0 the text, 1 the header, 2 the claims
    cdef Header header
    cdef ClaimNames names
    cdef bytes decoded           # claims first, then signature, then perhaps the header
    cdef Py_ssize_t signature_at, signature_size
    cdef Found found

    def __init__(self):
        raise TypeError("a TokenScan comes from a scan")

    cdef str text(self, int slot):
        cdef Span* span = &self.found.spans[slot]
        if span.start == 0:
            return None
        return text_at(self.decoded, span.start, span.size)

    cdef int rank(self, int first) noexcept:
        # The first of MAX_RANKED slots that is filled; -1: none.
        cdef int rank
        for rank in range(MAX_RANKED):
            if self.found.spans[first + rank].start:
                return rank
        return -1

    cdef tuple packed(self, int slot):
        # An array as scan_texts left it, or a single string.
        cdef Span* span = &self.found.spans[slot]
        cdef const uint8_t* text = <const uint8_t*> PyBytes_AS_STRING(self.decoded)
        cdef uint32_t at = span.start, end = span.start + span.size, size
        cdef list entries
        if not self.found.lists >> slot & 1:
            return (text_at(self.decoded, span.start, span.size),)
        entries = []
        while at < end:
            size = <uint32_t> text[at] << 8 | text[at + 1]
            entries.append(text_at(self.decoded, at + 2, size))
            at += 2 + size
        return tuple(entries)

    cdef tuple words(self, int slot):
        # A string's words between spaces (U+0020 alone: RFC 6749 section 3.3).
        cdef Span* span = &self.found.spans[slot]
        cdef const char* text
        cdef const char* space
        cdef Py_ssize_t at = 0, size = span.size
        cdef list words = []
        if size == 0:
            return ()
        text = PyBytes_AS_STRING(self.decoded) + span.start
        while at < size:
            space = <const char*> memchr(text + at, c' ', size - at)
            if space == NULL:
                space = text + size
            if space > text + at:
                words.append(text_at(self.decoded, span.start + at, space - text - at))
            at = space - text + 1
        return tuple(words)

    @property
    def name(self):
        return CODES[self.code]

    @property
    def where(self):
        return "token" if self.part == 0 else "header" if self.part == 1 else "claims"

    @property
    def alg(self):
        return "" if self.header is None else self.header.alg

    @property
    def kid(self):
        return None if self.header is None else self.header.kid

    @property
    def typ(self):
        return None if self.header is None else self.header.typ

    @property
    def iss(self):
        return self.text(SLOT_ISS)

    @property
    def sub(self):
        return self.text(SLOT_SUB)

    @property
    def jti(self):
        return self.text(SLOT_JTI)

    @property
    def sid(self):
        return self.text(SLOT_SID if self.found.spans[SLOT_SID].start else SLOT_SESSION_ID)

    @property
    def client_id(self):
        return self.text(SLOT_CLIENT_ID if self.found.spans[SLOT_CLIENT_ID].start else SLOT_AZP)

    @property
    def grant(self):
        cdef int rank = self.rank(SLOT_GRANT)
        return None if rank < 0 else self.text(SLOT_GRANT + rank)

    @property
    def region(self):
        cdef int rank = self.rank(SLOT_REGION)
        return None if rank < 0 else self.text(SLOT_REGION + rank)

    @property
    def region_claim(self):
        cdef int rank = self.rank(SLOT_REGION)
        return None if rank < 0 else self.names.region[rank]

    @property
    def aud(self):
        return self.packed(SLOT_AUD) if self.found.spans[SLOT_AUD].start else ()

    @property
    def scope(self):
        if self.found.spans[SLOT_SCOPE].start:
            return self.words(SLOT_SCOPE)
        if self.found.lists >> SLOT_SCP & 1:
            return self.packed(SLOT_SCP)
        return self.words(SLOT_SCP)

    @property
    def has_scope(self):
        return bool(self.found.spans[SLOT_SCOPE].start or self.found.spans[SLOT_SCP].start)

    @property
    def exp(self):
        return self.found.integers[INTEGER_EXP]

    @property
    def nbf(self):
        return self.found.integers[INTEGER_NBF]

    @property
    def iat(self):
        return self.found.integers[INTEGER_IAT]

    @property
    def status_idx(self):
        return self.found.integers[INTEGER_STATUS_IDX]

    @property
    def status_uri(self):
        return self.text(SLOT_STATUS_URI)

    @property
    def active(self):
        return None if self.found.active < 0 else self.found.active == 1

    @property
    def has_cnf(self):
        return self.found.has_cnf != 0

    @property
    def has_all_required(self):
        return self.code == TOKEN_OK and self.found.required == self.names.all_required

    def header_and_times(self):
        return self.alg, self.kid, self.typ, self.exp, self.nbf, self.iat

    def claims(self):
        return (self.sub, self.jti, self.sid, self.client_id, self.grant, self.region,
                self.aud, self.scope)

    def signature(self):
        if self.signature_size == 0:
            return b""
        return PyBytes_AS_STRING(self.decoded)[
            self.signature_at:self.signature_at + self.signature_size]


cdef inline str text_at(bytes decoded, Py_ssize_t start, Py_ssize_t size):
    # The text was found to be well-formed UTF-8 by the scan; nearly always it is ASCII.
    cdef const char* text = PyBytes_AS_STRING(decoded) + start
    cdef str out
    if not is_ascii(<const uint8_t*> text, size):
        return PyUnicode_DecodeUTF8(text, size, NULL)
    out = PyUnicode_New(size, 0x7F)
    memcpy(PyUnicode_DATA(out), text, size)
    return out


def scan(bytes token not None, ClaimNames names not None):
    cdef TokenScan out = TokenScan.__new__(TokenScan)
    reset(&out.found)
    out.names = names
    out.code = scan_token(out, token, names)
    if out.code != TOKEN_OK:
        forget(out)
    return out


def scan_unverified(bytes token not None, ClaimNames names not None):
    return scan(token, names)


def scan_json(bytes document not None, ClaimNames names not None):
    cdef TokenScan out = TokenScan.__new__(TokenScan)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(document)
    cdef Scanner scanner
    reset(&out.found)
    out.names = names
    out.part = 2
    if size > MAX_DOCUMENT_BYTES:
        out.code = TOKEN_TOO_LARGE
        return out
    out.decoded = PyBytes_FromStringAndSize(NULL, size + SLACK_BYTES)
    memcpy(PyBytes_AS_STRING(out.decoded), PyBytes_AS_STRING(document), size)
    prepare(&scanner, names, &out.found)
    out.code = scan_document(
        &scanner, <uint8_t*> PyBytes_AS_STRING(out.decoded), size, CLAIMS_NODE)
    if out.code != TOKEN_OK:
        forget(out)
    return out


cdef int scan_token(TokenScan out, bytes token, ClaimNames names) except -1:
    # Faults are found in this order: the whole text, the header, the claims.
    cdef const uint8_t* text = <const uint8_t*> PyBytes_AS_STRING(token)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(token), claims_size, signature_size
    cdef const uint8_t* dot
    cdef const uint8_t* dot2
    cdef uint8_t* room
    cdef Py_ssize_t header_at, decoded_header_size
    cdef Scanner scanner
    cdef int code
    if size > names.max_token_bytes:
        return TOKEN_TOO_LARGE
    dot = <const uint8_t*> memchr(text, c'.', size)
    if dot == NULL:
        return TOKEN_NOT_THREE_PARTS
    dot2 = <const uint8_t*> memchr(dot + 1, c'.', text + size - dot - 1)
    if dot2 == NULL or memchr(dot2 + 1, c'.', text + size - dot2 - 1) != NULL:
        return TOKEN_NOT_THREE_PARTS
    claims_size = dot2 - dot - 1
    signature_size = text + size - dot2 - 1
    if dot == text or claims_size == 0 or signature_size == 0:
        return TOKEN_EMPTY_PART      # an unsecured token ends in a dot: RFC 8725 section 3.2
    out.header = names.recall(text, dot - text)
    decoded_header_size = 0 if out.header is not None else decoded_size(dot - text)
    out.signature_at = decoded_size(claims_size) + SLACK_BYTES
    out.signature_size = decoded_size(signature_size)
    header_at = out.signature_at + out.signature_size + SLACK_BYTES
    out.decoded = PyBytes_FromStringAndSize(NULL, header_at + decoded_header_size + SLACK_BYTES)
    room = <uint8_t*> PyBytes_AS_STRING(out.decoded)
    if out.header is None:
        code = decode(text, dot - text, room + header_at)
        if code != TOKEN_OK:
            return code
    code = decode(dot + 1, claims_size, room)
    if code != TOKEN_OK:
        return code
    code = decode(dot2 + 1, signature_size, room + out.signature_at)
    if code != TOKEN_OK:
        return code
    prepare(&scanner, names, &out.found)
    if out.header is None:
        out.part = 1
        code = scan_document(&scanner, room + header_at, decoded_header_size, HEADER_NODE)
        if code != TOKEN_OK:
            return code
        if out.found.spans[SLOT_ALG].start == 0:
            return TOKEN_MISSING_ALG
        out.header = read_header(out, header_at, token[:dot - text])
        names.remember(out.header)
    out.part = 2
    out.signing_input_end = dot2 - text
    return scan_document(&scanner, room, decoded_size(claims_size), CLAIMS_NODE)


cdef Header read_header(TokenScan scan, Py_ssize_t at, bytes encoded):
    cdef Header header = Header.__new__(Header)
    cdef Span* spans = scan.found.spans
    header.encoded = encoded
    header.alg = text_at(scan.decoded, at + spans[SLOT_ALG].start, spans[SLOT_ALG].size)
    if spans[SLOT_KID].start:
        header.kid = text_at(scan.decoded, at + spans[SLOT_KID].start, spans[SLOT_KID].size)
    if spans[SLOT_TYP].start:
        header.typ = text_at(scan.decoded, at + spans[SLOT_TYP].start, spans[SLOT_TYP].size)
    return header


cdef inline void prepare(Scanner* scanner, ClaimNames names, Found* found) noexcept:
    scanner.table = &names.table
    scanner.found = found
    scanner.max_depth = names.max_depth
    scanner.max_members = <uint32_t> names.max_members
    scanner.max_key_bytes = <uint32_t> names.max_key_bytes


cdef int forget(TokenScan scan) except -1:
    # Nothing of a refused token is given out.
    reset(&scan.found)
    scan.header = None
    scan.decoded = None
    scan.signature_size = 0
    scan.signing_input_end = 0
    return 0


def der_signature(bytes raw not None, int size):
    cdef uint8_t out[MAX_DER_BYTES]
    cdef int written
    if size != 32 and size != 48:
        raise ValueError("size must be 32 or 48")
    if PyBytes_GET_SIZE(raw) != 2 * size:
        return None
    written = put_signature(out, <const uint8_t*> PyBytes_AS_STRING(raw), size)
    return None if written == 0 else (<char*> out)[:written]


fill_tables()
# A cimported class is no name of this module by itself; callers take it from here.
globals()["ClaimNames"] = ClaimNames
