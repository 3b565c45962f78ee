"""ClaimNames: what an issuer profile reads from a token, compiled into one table.

Owns:      the table of names (claim_table.pxd), and the headers seen lately.
Called by: token.pyx. Built once per issuer profile, at start and at reload.
Source:    RFC 7515 section 4 (header); RFC 7519 section 4 (claims).
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from fastgate._ext.claim_scan cimport MAX_OPEN_MEMBERS
from fastgate._ext.claim_table cimport *
from fastgate._ext.token_codes cimport *

cdef enum:
    # 16 KiB is the most that a request head of 32 KiB can sensibly carry.
    MAX_TOKEN_BYTES = 16384
    # Issuers use one header per key and kind of token; the rest is scanned anew.
    REMEMBERED_HEADERS = 4
    REMEMBERED_HEADER_BYTES = 512

# Members of the header that are read or forbidden; jku, x5u, jwk and x5c are not looked at.
HEADER_MEMBERS = (
    (b"alg", SHAPE_NAME, TOKEN_BAD_ALG, SLOT_ALG),
    (b"kid", SHAPE_NAME, TOKEN_BAD_KID, SLOT_KID),
    (b"typ", SHAPE_NAME, TOKEN_BAD_TYP, SLOT_TYP),
    (b"cty", SHAPE_TEXT, TOKEN_BAD_CTY, SLOT_CTY),
    (b"crit", SHAPE_FORBIDDEN, TOKEN_CRIT, SLOT_NONE),
    (b"b64", SHAPE_FORBIDDEN, TOKEN_B64, SLOT_NONE),
    (b"zip", SHAPE_FORBIDDEN, TOKEN_ZIP, SLOT_NONE),
)
CLAIMS = (
    (b"iss", SHAPE_TEXT, TOKEN_BAD_ISS, SLOT_ISS),
    (b"sub", SHAPE_IDENTIFIER, TOKEN_BAD_IDENTIFIER, SLOT_SUB),
    (b"aud", SHAPE_TEXTS, TOKEN_BAD_AUD, SLOT_AUD),
    (b"exp", SHAPE_INTEGER, TOKEN_BAD_EXP, INTEGER_EXP),
    (b"nbf", SHAPE_INTEGER, TOKEN_BAD_NBF, INTEGER_NBF),
    (b"iat", SHAPE_INTEGER, TOKEN_BAD_IAT, INTEGER_IAT),
    (b"jti", SHAPE_IDENTIFIER, TOKEN_BAD_IDENTIFIER, SLOT_JTI),
    (b"sid", SHAPE_IDENTIFIER, TOKEN_BAD_IDENTIFIER, SLOT_SID),
    (b"session_id", SHAPE_IDENTIFIER, TOKEN_BAD_IDENTIFIER, SLOT_SESSION_ID),
    (b"client_id", SHAPE_IDENTIFIER, TOKEN_BAD_IDENTIFIER, SLOT_CLIENT_ID),
    (b"azp", SHAPE_IDENTIFIER, TOKEN_BAD_IDENTIFIER, SLOT_AZP),
    (b"scope", SHAPE_TEXT, TOKEN_BAD_SCOPE, SLOT_SCOPE),
    (b"scp", SHAPE_TEXTS, TOKEN_BAD_SCOPE, SLOT_SCP),
    (b"status", SHAPE_OBJECT, TOKEN_BAD_STATUS, SLOT_NONE),
    (b"cnf", SHAPE_PRESENCE, TOKEN_UNSET, SLOT_NONE),
    (b"active", SHAPE_FLAG, TOKEN_UNSET, SLOT_NONE),
)
STATUS_LIST_MEMBERS = (
    (b"idx", SHAPE_INTEGER, TOKEN_BAD_STATUS, INTEGER_STATUS_IDX),
    (b"uri", SHAPE_TEXT, TOKEN_BAD_STATUS, SLOT_STATUS_URI),
)


@cython.final
cdef class Header:
    """What one header said; shared by the scans of all tokens that carry it."""


@cython.final
cdef class ClaimNames:
    """Which claims an issuer profile reads besides the fixed ones, and the size limits."""

    def __init__(self, *, region, grant=("grant_id",), require=(), int max_token_bytes=8192,
                 int max_depth=16, int max_members=128, int max_key_bytes=256):
        if self.kept is not None:
            raise TypeError("ClaimNames is immutable")
        check_limit("max_token_bytes", max_token_bytes, MAX_TOKEN_BYTES)
        check_limit("max_depth", max_depth, 32)
        check_limit("max_members", max_members, 256)
        check_limit("max_key_bytes", max_key_bytes, 1024)
        if max_depth * max_members > MAX_OPEN_MEMBERS:
            raise ValueError(f"max_depth * max_members must be at most {MAX_OPEN_MEMBERS}")
        self.region, self.grant, self.require = tuple(region), tuple(grant), tuple(require)
        if len(self.region) > MAX_RANKED or len(self.grant) > MAX_RANKED:
            raise ValueError(f"region and grant take at most {MAX_RANKED} names each")
        if len(self.require) > 32:
            raise ValueError("require takes at most 32 names")
        self.max_token_bytes, self.max_depth = max_token_bytes, max_depth
        self.max_members, self.max_key_bytes = max_members, max_key_bytes
        self.kept, self.headers, self.nodes = [], [], CLAIMS_NODE
        self.table.multiplier = int.from_bytes(os.urandom(8), "little") | 1
        self._add_fixed_names()
        self._add_configured_names()

    cdef int _add_fixed_names(self) except -1:
        cdef Entry* entry
        for node, members in ((HEADER_NODE, HEADER_MEMBERS), (CLAIMS_NODE, CLAIMS)):
            for name, shape, fault, slot in members:
                self._fix(self._entry(node, name), shape, fault, slot)
        entry = self._entry(CLAIMS_NODE, b"status")
        entry = self._entry(self._child(entry, "status"), b"status_list")
        self._fix(entry, SHAPE_OBJECT, TOKEN_BAD_STATUS, SLOT_STATUS_LIST)
        for name, shape, fault, slot in STATUS_LIST_MEMBERS:
            self._fix(self._entry(self._child(entry, "status_list"), name), shape, fault, slot)
        return 0

    cdef int _add_configured_names(self) except -1:
        cdef Entry* entry
        cdef int rank
        for rank, name in enumerate(self.region):
            entry = self._path(name)
            if entry.shape == SHAPE_ANY or entry.shape == SHAPE_IDENTIFIER:
                entry.shape, entry.fault = SHAPE_TEXT, TOKEN_BAD_REGION
            if entry.child or entry.shape != SHAPE_TEXT or entry.region != SLOT_NONE:
                raise ValueError(f"region claim {name!r} has another use or stands twice")
            entry.region = <int8_t> (SLOT_REGION + rank)
        for rank, name in enumerate(self.grant):
            entry = self._path(name)
            if entry.shape == SHAPE_ANY:
                entry.shape, entry.fault = SHAPE_IDENTIFIER, TOKEN_BAD_IDENTIFIER
            if (entry.child or entry.grant != SLOT_NONE
                    or entry.shape not in (SHAPE_TEXT, SHAPE_IDENTIFIER)):
                raise ValueError(f"grant claim {name!r} has another use or stands twice")
            entry.grant = <int8_t> (SLOT_GRANT + rank)
        for rank, name in enumerate(self.require):
            entry = self._entry(CLAIMS_NODE, encode_name(name))
            entry.required |= <uint64_t> 1 << rank
            self.all_required |= <uint64_t> 1 << rank
        return 0

    cdef int _fix(self, Entry* entry, int shape, int fault, int slot) except -1:
        entry.shape, entry.fault = <uint8_t> shape, <uint8_t> fault
        entry.slot = <int8_t> slot
        return 0

    cdef Entry* _entry(self, int node, bytes name) except NULL:
        cdef Entry* entry
        cdef bytes padded = name + bytes(8)
        entry = add(&self.table, node, <const uint8_t*> PyBytes_AS_STRING(padded),
                    <uint32_t> len(name))
        if entry == NULL:
            raise ValueError("too many claim names")
        self.kept.append(padded)
        return entry

    cdef int _child(self, Entry* entry, name) except -1:
        # The object that this member opens.
        if entry.shape != SHAPE_ANY and entry.shape != SHAPE_OBJECT and not entry.child:
            raise ValueError(f"claim {name!r} is no object: nothing in it can be named")
        if not entry.child:
            self.nodes += 1
            entry.child = <uint8_t> self.nodes
        return entry.child

    cdef Entry* _path(self, name) except NULL:
        # `org.region` is `region` in the object `org`. A URL is one name: namespaced claims
        # ("https://example.com/region") have dots that descend into nothing.
        cdef int node = CLAIMS_NODE
        cdef list parts = [name] if "://" in name else name.split(".")
        for part in parts[:-1]:
            node = self._child(self._entry(node, encode_name(part)), part)
        return self._entry(node, encode_name(parts[-1]))

    cdef Header recall(self, const uint8_t* encoded, Py_ssize_t size):
        cdef Header header
        for header in self.headers:
            if (PyBytes_GET_SIZE(header.encoded) == size
                    and memcmp(PyBytes_AS_STRING(header.encoded), encoded, size) == 0):
                return header
        return None

    cdef int remember(self, Header header) except -1:
        if PyBytes_GET_SIZE(header.encoded) > REMEMBERED_HEADER_BYTES:
            return 0
        if len(self.headers) < REMEMBERED_HEADERS:
            self.headers.append(header)
            return 0
        self.headers[self.oldest] = header
        self.oldest = (self.oldest + 1) % REMEMBERED_HEADERS
        return 0


cdef bytes encode_name(name):
    encoded = name.encode()
    if not 0 < len(encoded) <= 256:
        raise ValueError(f"claim name {name!r} must have 1 to 256 octets")
    return encoded


cdef int check_limit(name, int value, int most) except -1:
    if not 1 <= value <= most:
        raise ValueError(f"{name} must be from 1 to {most}")
    return 0
