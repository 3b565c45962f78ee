"""Event frame: what other compiled modules read of a batch.

Owns:      the shape of one event while its frame is held.
Called by: _ext.event_sums and _ext.events.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    F_URGENT = 1
    F_OPTIONAL = 2
    F_CUTOFF = 4
    F_ORIGIN = 8
    F_REASON = 16
    F_HAND = 32
    F_LIFT = 64
    KIND_KID = 6

cdef struct EventView:               # pointers into the payload
    const unsigned char* key
    const unsigned char* id
    const unsigned char* origin      # NULL: the frame's
    const unsigned char* lifts
    const unsigned char* reason
    const unsigned char* hand
    uint64_t at_ms
    uint32_t expires
    uint32_t cutoff
    uint16_t reason_size
    uint8_t id_size
    uint8_t origin_size
    uint8_t lifts_size
    uint8_t hands
    uint8_t kind                     # 0: of no kind that is known, and to be skipped
    uint8_t flags


cdef class EventFrame:
    cdef bytes payload
    cdef EventView* events
    cdef readonly Py_ssize_t count
    cdef readonly uint64_t seq
    cdef readonly str origin
    cdef readonly str publisher
    cdef readonly str key_id
    cdef readonly bint ack
    cdef readonly bint special
