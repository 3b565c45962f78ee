# Layout of ClaimNames, for the scanner: token.pyx reads its table and remembers headers.

from libc.stdint cimport uint8_t, uint64_t

from fastgate._ext.claim_table cimport Entry, Table


cdef class Header:
    cdef bytes encoded           # the part as it stood in the token
    cdef str alg
    cdef str kid
    cdef str typ


cdef class ClaimNames:
    cdef readonly tuple region
    cdef readonly tuple grant
    cdef readonly tuple require
    cdef readonly int max_token_bytes
    cdef readonly int max_depth
    cdef readonly int max_members
    cdef readonly int max_key_bytes
    cdef Table table
    cdef uint64_t all_required
    cdef int nodes
    cdef list kept               # padded names; entries of the table point into them
    # The only thing that changes: headers seen lately that were in order. Bounded; it
    # saves time and decides nothing.
    cdef list headers
    cdef int oldest

    cdef int _add_fixed_names(self) except -1
    cdef int _add_configured_names(self) except -1
    cdef int _fix(self, Entry* entry, int shape, int fault, int slot) except -1
    cdef Entry* _entry(self, int node, bytes name) except NULL
    cdef int _child(self, Entry* entry, name) except -1
    cdef Entry* _path(self, name) except NULL
    cdef Header recall(self, const uint8_t* encoded, Py_ssize_t size)
    cdef int remember(self, Header header) except -1
