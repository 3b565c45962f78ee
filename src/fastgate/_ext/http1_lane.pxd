"""The compiled lane's own; see http1_lane.pyx."""

from libc.stdint cimport int64_t

from fastgate._ext.counters cimport Column, Served
from fastgate._ext.http1_build cimport Names, Out, RequestIds
from fastgate._ext.http1_front cimport Acceptor
from fastgate._ext.http1_upstream cimport Pool


cdef class Plan:
    cdef object route
    cdef tuple addresses
    cdef bint takes
    cdef bint limited
    cdef bint own_credentials
    cdef double connect_s
    cdef double first_byte_s
    cdef double idle_s
    cdef int64_t every_ns       # how often an answer that goes on is judged again
    cdef Py_ssize_t connections
    cdef Py_ssize_t index
    cdef object tally           # what the rest was found under
    cdef Column in_flight
    cdef Served served          # counts requests like the last one, which were told by:
    cdef str method
    cdef str kind
    cdef str cache
    cdef object source
    cdef int status
    cdef bytes form             # of the access lines of the same, under one key
    cdef str form_kid

    cdef int count_by(self, tally) except -1
    cdef Served served_like(self, decision, str method, int status)
    cdef bytes form_like(self, desk, snapshot, decision, str method, int status)


cdef class PlainLane(Acceptor):
    cdef object desk
    cdef object decide
    cdef object boot_ns
    cdef object wall_s
    cdef object choose
    cdef object succeeded
    cdef object counting
    cdef object plain_head
    cdef object allow
    cdef object deny
    cdef dict status_lines
    cdef Names from_client
    cdef Names from_upstream
    cdef Out out
    cdef RequestIds ids
    cdef dict pools
    cdef dict plans
    cdef object planned

    cdef Plan plan_of(self, snapshot, route, int region)
    cdef Pool pool_of(self, str base)
