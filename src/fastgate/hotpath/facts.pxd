# C types of facts.py, for gate.py, which reads them on every request.


cimport cython


cdef class Facts:
    cdef readonly bytes thumbprint
    cdef readonly str kid
    cdef readonly long long exp
    cdef readonly long long nbf
    cdef readonly long long iat
    cdef readonly frozenset audience
    cdef readonly frozenset scope
    cdef readonly int issuer
    cdef readonly int region
    cdef readonly int named
    cdef readonly bytes revocation_keys
    cdef readonly object revocation_iat
    cdef readonly tuple identity
    cdef readonly Py_ssize_t weight_bytes


cdef class FactsMaker:
    cdef int _issuer
    cdef tuple _names
    cdef dict _indices
    cdef bytes _issuer_key
    cdef object _begin_kid, _begin_client, _begin_jti, _begin_sid, _begin_sub, _begin_grant
    cdef dict _kids
    cdef dict _clients
    cdef dict _sets

    @cython.locals(region=int, named=int, keys=list, facts=Facts, sub=str, jti=str,
                   sid=str, client=str, grant=str, claim=str, aud=tuple, scope=tuple)
    cpdef Facts make(self, object scanned, bytes thumbprint, str kid, long long exp,
                     long long nbf, long long iat)
    cdef frozenset _set(self, tuple values)


@cython.locals(pairs=list)
cpdef tuple identity_headers(str subject, str client, tuple scope, str region, str token_id)
cdef bytes _repeating(dict memo, object begin, str value)
@cython.locals(raw=bytes)
cdef bytes _hashed(object begin, str value)
cdef str _encoded(str text)
@cython.locals(total=Py_ssize_t, value=str)
cdef Py_ssize_t _text_bytes(tuple identity) except -1
