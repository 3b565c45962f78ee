# C types of failures.py, for gate.py, which asks it before every verification.

cimport cython

cdef unsigned long long _ALL, _MIX_1, _MIX_2, _IPV4, _NOBODY
cdef Py_ssize_t _WAYS, _SETS
cdef int _SET_BITS, _REMEMBERED, _MOST_OCTET, _DOTS


cdef class Failures:
    cdef unsigned long long _secret
    cdef object _rate_per_s
    cdef long long _burst
    cdef long long _step_ns
    cdef unsigned long long[::1] _clients
    cdef long long[::1] _paid_ns
    cdef dict _known

    @cython.locals(client=cython.ulonglong, place=Py_ssize_t)
    cpdef bint admits(self, str peer, long long now_ns) except -1
    @cython.locals(client=cython.ulonglong, place=Py_ssize_t, paid_ns=cython.longlong)
    cpdef object charge(self, str peer, long long now_ns, long long count=*)
    @cython.locals(client=cython.ulonglong, place=Py_ssize_t)
    cpdef object refund(self, str peer)
    @cython.locals(first=Py_ssize_t, place=Py_ssize_t)
    cdef Py_ssize_t _find(self, unsigned long long client)
    @cython.locals(first=Py_ssize_t, place=Py_ssize_t, best=Py_ssize_t)
    cdef Py_ssize_t _take(self, unsigned long long client)
    @cython.locals(mixed=cython.ulonglong)
    cdef Py_ssize_t _set(self, unsigned long long client)

    @cython.locals(value=cython.ulonglong, octet=cython.int, dots=cython.int, digits=cython.int,
                   character=cython.Py_UCS4)
    cdef unsigned long long _client(self, str peer) except? 1
    cdef object _remembered(self, str peer)


cdef object _client_of_ipv6(str peer)
