# C fields of plan.py, for gate.py, which reads them on every request.

cimport cython

from fastgate.hotpath.facts cimport FactsMaker
from fastgate.hotpath.token_rules cimport TokenRules


cdef class Plan:
    cdef readonly object route
    cdef readonly object profile
    cdef readonly TokenRules rules
    cdef readonly FactsMaker maker
    cdef readonly tuple offered
    cdef readonly bytes digest
    cdef readonly bytes phantom_digest
    cdef readonly object keys
    cdef readonly dict by_kid
    cdef readonly frozenset thumbprints
    cdef readonly frozenset audience
    cdef readonly frozenset scope
    cdef readonly object max_staleness_ns
    cdef readonly object global_max_staleness_ns
    cdef readonly object home_origin
    cdef readonly object claim_names
    cdef readonly long long leeway_s
    cdef readonly long long max_token_bytes
    cdef readonly bint oauth
    cdef readonly bint open
    cdef readonly bint accept_jwt
    cdef readonly bint wrapped
    cdef readonly bint encoded_slashes


cdef class Table:
    cdef readonly object snapshot
    cdef readonly object regions
    cdef readonly tuple origins
    cdef readonly object every_origin
    cdef readonly object region_names
    cdef readonly bint ages
    cdef dict plans
    cdef Plan root
    cdef int depth

    @cython.locals(end=Py_ssize_t, plan=Plan)
    cpdef Plan match(self, str path)
