"""The compiled lane's own; see http1_lane.pyx."""

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
    cdef Py_ssize_t connections


cdef class PlainLane(Acceptor):
    cdef object desk
    cdef object decide
    cdef object boot_ns
    cdef object wall_s
    cdef object tally
    cdef object request_head
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
