"""The writer of the revocation index, as other compiled modules call it.

Owns:      nothing; _ext.revocations has the methods and their reasons.
Called by: _ext.events, once an event.
"""

from libc.stdint cimport int64_t, uint64_t

from fastgate._ext.revocation_index cimport Index


cdef class RevocationWriter:
    cdef tuple pins
    cdef object free
    cdef const uint64_t* workers
    cdef Index index
    cdef uint64_t cleared            # bytes of the idle arena that were freed, from its end
    cdef int waited                  # calls of `maintain` since workers were asked to move on
    cdef int64_t census_s            # when the next count of the expired begins
    cdef uint64_t refused

    cdef int draw(self, uint64_t* seeds) except -1
    cdef int clear(self, int which, uint64_t budget) except -1
    cdef int rebuild(self, uint64_t entries) except -1
    cdef bint relieve(self) except -1
    cdef int take(self, uint64_t lo, uint64_t hi, uint64_t meta) except -1
