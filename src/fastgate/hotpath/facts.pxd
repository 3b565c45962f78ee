# C types of facts.py, for gate.py and plan.py; the gate reads them on every request.

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
    cdef readonly bytes identity_lines
    cdef readonly str status_name
    cdef readonly long long status_index
    cdef readonly Py_ssize_t weight_bytes


cdef class FactsMaker:
    cdef int _issuer
    cdef dict _regions
    cdef tuple _region_lines
    cdef bytes _issuer_key
    cdef str _name_of_issuer
    cdef tuple _old_hashers
    cdef object _begin_kid, _begin_client, _begin_jti, _begin_sid, _begin_sub, _begin_grant
    cdef str _lists
    cdef dict _list_names
    cdef dict _kids
    cdef dict _clients
    cdef dict _audiences
    cdef dict _scopes

    @cython.locals(facts=Facts, sub=str, jti=str, sid=str, client=str, grant=str, claim=str,
                   aud=tuple, scope=tuple, subject=bytes, token_id=bytes)
    cpdef Facts make(self, object scanned, bytes thumbprint, str kid, long long exp,
                     long long nbf, long long iat)
    @cython.locals(named=int, keys=list)
    cdef object _name(self, Facts facts, str client, bytes token_id, str sid, bytes subject,
                      str grant)
    @cython.locals(lines=list, line=bytes)
    cdef object _introduce(self, Facts facts, bytes subject, str client, tuple scope,
                           bytes token_id)
    @cython.locals(uri=str, name=str)
    cdef object _point(self, Facts facts, object scanned)
    cdef bytes _kid_key(self, str kid)
    cdef tuple _client(self, str client)
    cdef frozenset _audience(self, tuple values)
    cdef tuple _scope(self, tuple values)


cdef object _bound(dict memo)
cdef bytes _hashed(object begin, bytes raw)
@cython.locals(byte=cython.uchar)
cdef bytes _visible(bytes raw)
